"""A sink that is down for a week: nothing is dropped, memory stays flat, and afterwards it gets all of it in order.

The clock is turned by hand, the store and the outbox are the real ones. `python -m scripts.trials.sink_week` runs it
with as many records as wanted: 10 calls a second for a week are 6,048,000.
"""

import argparse
import asyncio
import resource
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from gateway_core.outbox import LONGEST_PAUSE, Outbox
from gateway_core.ports import SinkReport
from gateway_core.store.sqlite import SqliteStore
from gateway_core.testing.clock import ManualClock
from gateway_core.types import AUDIT_THREAD, Record

WEEK = 7 * 86_400.0
ACCOUNTS = ("acct_a", "acct_b", "acct_c")


class Sink:
    """Refuses while it is down, and remembers how far each account came and whether anything came out of order."""

    def __init__(self) -> None:
        self.down = True
        self.refused = 0
        self.taken = dict.fromkeys(ACCOUNTS, 0)
        self.out_of_order = 0
        self.changed = asyncio.Event()

    async def emit(self, record: Record) -> None:
        """One record."""
        self.changed.set()
        if self.down:
            self.refused += 1
            raise ConnectionError
        if record.sequence != self.taken[record.account_id] + 1:
            self.out_of_order += 1
        self.taken[record.account_id] = record.sequence

    async def until(self, refused: int = 0, taken: int = 0, patience: float = 600.0) -> None:
        """Waits until it refused and took so many."""
        async with asyncio.timeout(patience):
            while self.refused < refused or sum(self.taken.values()) < taken:
                self.changed.clear()
                await self.changed.wait()


@dataclass
class Week:
    """What was seen."""

    written: int
    attempts: int
    #: What an operator sees when the week is over.
    report: SinkReport
    delivered: int
    out_of_order: int
    #: Bytes of a record on disk, and the process's largest size in KiB: after a tenth of the week, and at the end.
    bytes_on_disk: int
    peaks: list[int] = field(default_factory=list)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def week(folder: Path, records: int, steps: int) -> Week:
    """One week in `steps` steps, `records` in all, for three accounts."""
    clock = ManualClock()
    store = SqliteStore(folder / "store.sqlite3", clock)
    await store.open()
    sink = Sink()
    outbox = Outbox(store, [("sink", sink.emit)], clock, gather=0.0, look=0.001)
    await outbox.start()
    try:
        written, peaks = 0, []
        for step in range(steps):
            before = sink.refused
            clock.advance(WEEK / steps)
            due = records * (step + 1) // steps - written
            for number in range(written, written + due, 500):
                await asyncio.gather(
                    *[_write(store, outbox, each) for each in range(number, min(number + 500, written + due))]
                )
            written += due
            if WEEK / steps >= LONGEST_PAUSE and due >= len(ACCOUNTS):
                await sink.until(refused=before + 1)
            if step == steps // 10:
                peaks.append(_peak())
        (report,) = await outbox.reports()
        attempts = sink.refused
        sink.down = False
        outbox.retry()
        await sink.until(taken=written, patience=3600.0)
        peaks.append(_peak())
    finally:
        await outbox.stop()
        await store.close()
    size = (folder / "store.sqlite3").stat().st_size
    return Week(written, attempts, report, sum(sink.taken.values()), sink.out_of_order, size // max(1, written), peaks)


async def _write(store: SqliteStore, outbox: Outbox, number: int) -> None:
    account = ACCOUNTS[number % len(ACCOUNTS)]
    body = b'{"cost_usd":"0.0061","model":"demo","tokens_input":120,"tokens_output":48,"tier":"paid"}'
    record = await store.records.append(account, AUDIT_THREAD, f"rec_{number:09}", body, "trial")
    outbox.note(account, record.sequence)


def main() -> int:
    """The trial from the command line. Exits with 1 where anything was lost or came out of order."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--records", type=int, default=604_800, help="in all; default: 1 a second")
    parser.add_argument("--steps", type=int, default=2016, help="of the clock; default: 5 minutes each")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="spl-week-") as folder:
        seen = asyncio.run(week(Path(folder), options.records, options.steps))
    print(f"{seen.written} records in {time.monotonic() - began:.0f}s: {seen.delivered} delivered, ", end="")
    print(f"{seen.out_of_order} out of order, {seen.attempts} attempts while it was down, ", end="")
    print(f"{seen.bytes_on_disk} bytes each on disk, largest size {seen.peaks[0]} then {seen.peaks[-1]} KiB")
    print(seen.report)
    return 0 if seen.delivered == seen.written and not seen.out_of_order else 1


if __name__ == "__main__":
    sys.exit(main())
