"""Telling, from the real store: in order per account, again after failures and restarts, sinks apart from another."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway_core import outbox as module
from gateway_core.ids import request_id
from gateway_core.outbox import Outbox
from gateway_core.store.sqlite import SqliteStore
from gateway_core.testing import calls, samples
from gateway_core.testing.clock import ManualClock
from gateway_core.types import Record

PATIENCE = 20.0


class Heard:
    """A sink that remembers what it took, and refuses while told to."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, int]] = []
        self.refuses: set[str] = set()
        self.came = asyncio.Event()

    async def emit(self, record: Record) -> None:
        self.came.set()
        if record.account_id in self.refuses:
            raise ConnectionError("the sink is down")
        self.taken.append((record.account_id, record.sequence))

    async def until(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.taken) < count:
                self.came.clear()
                await self.came.wait()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(samples.STARTED_AT)


@pytest.fixture
async def store(tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(tmp_path / "store.sqlite3", clock)
    await made.open()
    for name in ("a", "b"):
        await made.directory.create_account(samples.account(id=f"acct_{name}", name=name), "test")
    yield made
    await made.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GATHER", 0.0)


async def post(store: SqliteStore, outbox: Outbox | None, account_id: str, count: int) -> None:
    for _ in range(count):
        held = calls.hold(request_id(), account_id=account_id)
        await store.ledger.hold(held)
        settled = await store.ledger.settle(calls.settlement(held))
        if outbox is not None:
            outbox.note(account_id, settled.sequence)


async def test_every_sink_hears_every_account_in_order(store: SqliteStore, clock: ManualClock) -> None:
    one, two = Heard(), Heard()
    outbox = Outbox(store, [("one", one.emit), ("two", two.emit)], clock)
    await post(store, None, "acct_a", 3)  # from before this start
    await outbox.start()
    await post(store, outbox, "acct_b", 2)
    await post(store, outbox, "acct_a", 2)
    for sink in (one, two):
        await sink.until(7)
        assert [number for account, number in sink.taken if account == "acct_a"] == [1, 2, 3, 4, 5]
        assert [number for account, number in sink.taken if account == "acct_b"] == [1, 2]
    await outbox.stop()


async def test_28_a_sink_that_is_down_for_one_account_holds_up_nothing_else(
    store: SqliteStore, clock: ManualClock
) -> None:
    sink, other = Heard(), Heard()
    sink.refuses.add("acct_a")
    outbox = Outbox(store, [("sink", sink.emit), ("other", other.emit)], clock)
    await outbox.start()
    await post(store, outbox, "acct_a", 3)
    await post(store, outbox, "acct_b", 3)
    await sink.until(3)
    await other.until(6)
    assert [account for account, _ in sink.taken] == ["acct_b"] * 3
    sink.refuses.clear()
    clock.advance(module.LONGEST_PAUSE)  # its pause is over
    await post(store, outbox, "acct_b", 1)
    await sink.until(7)
    assert [number for account, number in sink.taken if account == "acct_a"] == [1, 2, 3]
    await outbox.stop()


async def test_a_restart_goes_on_where_the_last_run_stopped(store: SqliteStore, clock: ManualClock) -> None:
    first = Heard()
    outbox = Outbox(store, [("sink", first.emit)], clock)
    await outbox.start()
    await post(store, outbox, "acct_a", 4)
    await first.until(4)
    await outbox.stop()
    await post(store, None, "acct_a", 2)
    again = Heard()
    outbox = Outbox(store, [("sink", again.emit)], clock)
    await outbox.start()
    await again.until(2)
    assert again.taken[-2:] == [("acct_a", 5), ("acct_a", 6)]
    await outbox.stop()
