"""What settling costs: hold, open row, settlement, record, totals and the durable commit that is awaited.

    .venv/bin/python -m scripts.benchmark.settlement [--calls N] [--other µs] [--at-once 16,64]

Without a socket, in one process with the gateway's own settler and store on a real file. `--other` is what the rest of
a call keeps the loop busy with: the writer's thread then has somebody to wait for, as it has in a gateway.
"""

import argparse
import asyncio
import gc
import itertools
import os
import tempfile
import time
from pathlib import Path

import msgspec
import uvloop

from gateway_core import config_file
from gateway_core.clock import month_of
from gateway_core.gateway import Gateway
from gateway_core.home import Home
from gateway_core.ids import request_id
from gateway_core.settle import End
from gateway_core.standing import Standing
from gateway_core.types import Call, Route, Usage
from scripts.benchmark.gates import CONFIG, prepared_call

USAGE = Usage(input=18, output=12, cached=4)


class Settling:
    """Calls that are held, opened and settled, so many at once."""

    def __init__(self, gateway: Gateway, call: Call, standing: Standing, other: float) -> None:
        self._gateway = gateway
        self._call = call
        self._standing = standing
        self._other = other
        self.left = 0

    async def one(self) -> None:
        """One call, from its hold to what the pipeline does when its row is on disk."""
        gateway, services = self._gateway, self._gateway.services
        now = services.clock.now_ms()
        call = msgspec.structs.replace(self._call, id=request_id(), started_at=now, month=month_of(now))
        hold, _ = await gateway.settler.hold(call, self._standing)
        opened = services.store.ledger.open(hold)
        await self._rest()
        end = End(usage=USAGE, generated=USAGE, outcome="ok", route=Route("openai", "gpt-4o-2026"))
        settlement = gateway.settler.draw_up(hold, end)
        gateway.losses.note(settlement)
        row = await gateway.settler.post(settlement)
        gateway.outbox.note(hold.account_id, row.sequence)
        assert opened.done()

    async def _rest(self) -> None:
        """What else the loop does for a call, in two pieces with a wait between them."""
        for _ in range(2):
            until = time.thread_time() + self._other / 2
            while time.thread_time() < until:
                sum(itertools.repeat(1, 50))
            await asyncio.sleep(0)

    async def caller(self) -> None:
        """One connection's calls."""
        while self.left > 0:
            self.left -= 1
            await self.one()

    async def run(self, calls: int, at_once: int) -> None:
        """All of them."""
        self.left = calls
        await asyncio.gather(*[self.caller() for _ in range(at_once)])


async def measure(folder: Path, options: argparse.Namespace) -> None:
    """Prints a line for each concurrency: CPU a call in the loop and in the other threads, and rows a commit."""
    file = folder / "bench.toml"
    file.write_text(CONFIG)
    home = Home(folder / "home")
    home.ensure()
    gateway = Gateway.assemble(config_file.load(file, home), home)
    await gateway.start()
    try:
        call, standing, _ = await prepared_call(gateway)
        settling = Settling(gateway, call, standing, options.other / 1e6)
        await settling.run(500, 16)
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        for at_once in options.at_once:
            await rounds(settling, options.calls, at_once)
    finally:
        await gateway.stop()


async def rounds(settling: Settling, calls: int, at_once: int) -> None:
    """The quietest of five rounds."""
    seen = []
    for _ in range(5):
        began, loop_began, wall = time.process_time(), time.thread_time(), time.perf_counter()
        await settling.run(calls, at_once)
        loop, whole = time.thread_time() - loop_began, time.process_time() - began
        seen.append((whole / calls * 1e6, loop / calls * 1e6, calls / (time.perf_counter() - wall)))
    whole, loop, rate = min(seen)
    print(f"{at_once:4} at once: {whole:6.1f} µs a call; loop {loop:6.1f}, writer {whole - loop:6.1f}; {rate:,.0f}/s")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=4000, help="calls a round (default: %(default)s)")
    parser.add_argument("--other", type=float, default=0, help="µs that the rest of a call takes (default: 0)")
    parser.add_argument("--at-once", default="16,64", help="how many at once (default: %(default)s)")
    options = parser.parse_args()
    options.at_once = [int(number) for number in options.at_once.split(",")]
    return options


def main() -> None:
    """In a folder of its own, removed afterwards."""
    options = arguments()
    os.environ.setdefault("OPENAI_API_KEY", "none-is-needed")
    with tempfile.TemporaryDirectory(prefix="spl-settlement-") as folder:
        uvloop.run(measure(Path(folder), options))


if __name__ == "__main__":
    main()
