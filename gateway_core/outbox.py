"""Telling: records go from the durable store to every sink, in order per account, for as long as it takes.

There is no queue to lose. The chained records are the outbox; a sink's cursor says how far it has got in an account's
chain, and only moves after the sink has taken a record. A crash repeats at most what was taken and not yet noted.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from gateway_core.errors import StoreError
from gateway_core.ports import Clock, RecordQuery, Store
from gateway_core.types import Record

log = logging.getLogger(__name__)

Emit = Callable[[Record], Awaitable[None]]

BATCH = 200
GATHER = 0.05
"""Seconds between two looks, so that a busy gateway reads its records in batches."""
ATTEMPT = 30.0
"""Seconds that a sink may take for one record."""
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 300.0


class SinkState:
    """One sink's progress: the accounts it is behind on, and when each may be tried again."""

    def __init__(self, name: str, emit: Emit) -> None:
        self.name = name
        self.emit = emit
        #: Account → the sequence to reach.
        self.behind: dict[str, int] = {}
        #: Account → (earliest monotonic second of the next attempt, failures in a row, the last failure's type).
        self.failures: dict[str, tuple[float, int, str]] = {}
        self.wake = asyncio.Event()


class Outbox:
    """Delivers every account's records to every sink."""

    def __init__(self, store: Store, sinks: Iterable[tuple[str, Emit]], clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.sinks = [SinkState(name, emit) for name, emit in sinks]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Takes up what the last run left, and runs until `stop`."""
        if not self.sinks:
            return
        heads = await self._store.records.heads()
        for sink in self.sinks:
            for account_id, sequence in heads.items():
                if await self._store.records.cursor(sink.name, account_id) < sequence:
                    sink.behind[account_id] = sequence
            sink.wake.set()
            self._tasks.append(asyncio.create_task(self._run(sink), name=f"sink {sink.name}"))

    async def stop(self) -> None:
        """Stops delivering; what is not delivered waits for the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def note(self, account_id: str, sequence: int) -> None:
        """A record was committed."""
        for sink in self.sinks:
            if sequence > sink.behind.get(account_id, 0):
                sink.behind[account_id] = sequence
                sink.wake.set()

    async def _run(self, sink: SinkState) -> None:
        while True:
            await self._until_due(sink)
            sink.wake.clear()
            for account_id in list(sink.behind):
                if self._due(sink, account_id):
                    await self._deliver(sink, account_id)
            await asyncio.sleep(GATHER)

    async def _until_due(self, sink: SinkState) -> None:
        """Waits for something new, or for the first account whose pause is over."""
        if any(self._due(sink, account_id) for account_id in sink.behind):
            return
        pauses = [at - self._clock.monotonic() for at, _, _ in sink.failures.values()]
        try:
            await asyncio.wait_for(sink.wake.wait(), max(0.0, min(pauses)) if pauses else None)
        except TimeoutError:
            return

    def _due(self, sink: SinkState, account_id: str) -> bool:
        failure = sink.failures.get(account_id)
        return failure is None or failure[0] <= self._clock.monotonic()

    async def _deliver(self, sink: SinkState, account_id: str) -> None:
        """One batch of one account's records; a failure pauses this account and no other."""
        taken = 0
        try:
            cursor = await self._store.records.cursor(sink.name, account_id)
            batch = await self._store.records.read(RecordQuery(account_id=account_id, after=cursor, limit=BATCH))
            try:
                for record in batch:
                    async with asyncio.timeout(ATTEMPT):
                        await sink.emit(record)
                    taken = record.sequence
            finally:
                if taken:
                    await self._store.records.advance(sink.name, account_id, taken)
        except Exception as error:  # noqa: BLE001  # a sink is isolated: whatever it raises, it is asked again later
            self._pause(sink, account_id, error)
            return
        sink.failures.pop(account_id, None)
        if len(batch) < BATCH and max(taken, cursor) >= sink.behind.get(account_id, 0):
            sink.behind.pop(account_id, None)

    def _pause(self, sink: SinkState, account_id: str, error: Exception) -> None:
        _, count, _ = sink.failures.get(account_id, (0.0, 0, ""))
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(count, 16))
        reason = "the store" if isinstance(error, StoreError) else type(error).__name__
        sink.failures[account_id] = (self._clock.monotonic() + pause, count + 1, reason)
        log.warning("sink %s, account %s: %s; next attempt in %ds", sink.name, account_id, reason, pause)
