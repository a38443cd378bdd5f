"""A process that loads a store and says on standard output what was acknowledged: `store_load.py HOME full|kill`."""

import asyncio
import resource
import sys
from pathlib import Path

from gateway_core.clock import SystemClock
from gateway_core.errors import StoreError
from gateway_core.ids import request_id
from gateway_core.store.sqlite import SqliteStore
from gateway_core.store_ports import Store
from gateway_core.testing.calls import hold, settlement

LIMIT = 400_000


def say(what: str, call_id: str) -> None:
    sys.stdout.write(f"{what} {call_id}\n")
    sys.stdout.flush()


async def one(store: Store, number: int) -> None:
    """One call; every third is a stream, whose open row is awaited and which takes its time."""
    held = hold(request_id(), 100, stream=number % 3 == 0, account_id=f"acct_{number % 5}")
    await store.ledger.hold(held)
    opened = store.ledger.open(held)
    if held.stream:
        await opened
        say("open", held.id)
        await asyncio.sleep(0.003)
    await store.ledger.settle(settlement(held, number % 100))
    say("settled", held.id)


async def worker(store: Store, first: int) -> None:
    number = first
    while True:
        await one(store, number)
        number += 16


async def fill_the_disk(store: Store) -> None:
    """Calls until the file may not grow any further, refusals meanwhile, and calls again once it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    number = 1
    try:
        while True:
            await one(store, number)
            number += 3
    except StoreError:
        say("refused", str(number))
    say("ready" if await store.ready() else "not-ready", "full")
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    while not await store.ready():  # noqa: ASYNC110  # the store recovers by itself and tells nobody
        await asyncio.sleep(0.05)
    for later in range(10):
        await one(store, later)
    say("recovered", "")


async def main(home: Path, mode: str) -> None:
    store = SqliteStore(home / "store.sqlite3", SystemClock())
    await store.open()
    if mode == "full":
        await fill_the_disk(store)
        await store.close()
    else:
        await asyncio.gather(*(worker(store, number) for number in range(16)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
