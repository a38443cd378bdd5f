"""Telling: records go from the durable store to every sink, in order per account, for as long as it takes.

There is no queue to lose. The chained records are the outbox; a sink's cursor says how far it has got in an account's
chain, and only moves after the sink has taken a record. A crash repeats at most what was taken and not yet noted.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping

from gateway_core.errors import OutsideError, StoreError
from gateway_core.outbox_queue import AccountQueue
from gateway_core.ports import Clock, SinkReport
from gateway_core.store_ports import Behind, RecordQuery, SinkFailure, Store
from gateway_core.types import Record

log = logging.getLogger(__name__)

Emit = Callable[[Record], Awaitable[None]]
Wants = Callable[[str], Awaitable[bool]]

BATCH = 200
"""Records that are read at once, and that a crash can repeat."""
AT_ONCE = 8
"""Accounts that one sink is told of at the same time: those that do not answer hold up no others."""
GATHER = 0.05
"""Seconds between two looks, so that a busy gateway reads its records in batches."""
LOOK = 5.0
"""Seconds after which a sink that waits looks whether it wants other accounts by now."""
ATTEMPT = 30.0
"""Seconds that a sink may take for one record."""
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 300.0
_PAGE = 500


class SinkLine:
    """One sink: how to tell it, whose records it wants, and what waits for it."""

    def __init__(self, name: str, emit: Emit, wants: Wants | None) -> None:
        self.name = name
        self.emit = emit
        self.wants = wants
        self.queue = AccountQueue()
        #: The generation of the instances when the store was last looked through for this sink.
        self.looked = -1


class Outbox:
    """Delivers every account's records to every sink that wants them."""

    def __init__(
        self,
        store: Store,
        sinks: Iterable[tuple[str, Emit]],
        clock: Clock,
        wants: Mapping[str, Wants] | None = None,
        *,
        gather: float = GATHER,
        look: float = LOOK,
        attempt: float = ATTEMPT,
    ) -> None:
        self._store = store
        self._clock = clock
        self._gather = gather
        self._longest_look = look
        self._attempt = attempt
        self._lines = [SinkLine(name, emit, (wants or {}).get(name)) for name, emit in sinks]
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def sinks(self) -> tuple[str, ...]:
        """The sinks' names, in their order."""
        return tuple(line.name for line in self._lines)

    @property
    def failing(self) -> bool:
        """Whether any sink did not take a record when it was last asked."""
        return any(line.queue.paused for line in self._lines)

    async def start(self) -> None:
        """Takes up what the last run left, and runs until `stop`."""
        for line in self._lines:
            self._tasks.append(asyncio.create_task(self._run(line), name=f"sink {line.name}"))

    async def stop(self) -> None:
        """Stops delivering; what is not delivered waits for the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def note(self, account_id: str, _sequence: int) -> None:
        """A record was committed."""
        for line in self._lines:
            if account_id not in line.queue.waiting:  # as nearly every account is that calls often
                line.queue.add(account_id)

    def retry(self, sink: str | None = None) -> None:
        """Asks again at once, whatever pauses there are."""
        for line in self._lines:
            if sink in (None, line.name):
                line.queue.resume_all()

    # ------------------------------------------------------------ what is seen of it

    async def reports(self) -> list[SinkReport]:
        """How far each sink is behind."""
        return [_report(line.name, await self.behind(line.name)) for line in self._lines]

    async def behind(self, sink: str, *, after: str = "", limit: int | None = None) -> list[Behind]:
        """The accounts that a sink is behind on, of those that it wants, by id; at most `limit`."""
        (line,) = [each for each in self._lines if each.name == sink]
        found: list[Behind] = []
        while page := await self._store.records.behind(sink, after=after, limit=_PAGE):
            for row in page:
                if await self._wanted(line, row.account_id):
                    found.append(row)
                    if len(found) == limit:
                        return found
            after = page[-1].account_id
            await asyncio.sleep(0)  # answers from memory do not wait, and others have to
        return found

    async def floor(self, account_id: str) -> int | None:
        """The last sequence that every sink has taken which wants this account; None where none does."""
        cursors = [
            await self._store.records.cursor(line.name, account_id)
            for line in self._lines
            if await self._wanted(line, account_id)
        ]
        return min(cursors, default=None)

    # ------------------------------------------------------------ delivering

    async def _run(self, line: SinkLine) -> None:
        async with asyncio.TaskGroup() as deliveries:
            while True:
                await self._until_ready(line)
                for account_id in line.queue.take(AT_ONCE):
                    deliveries.create_task(self._deliver(line, account_id))
                await asyncio.sleep(self._gather)

    async def _until_ready(self, line: SinkLine) -> None:
        """Waits for something new, for the first account whose pause is over, or for other wants."""
        queue = line.queue
        while True:
            queue.wake.clear()
            await self._look(line)
            now = self._clock.monotonic()
            queue.resume(now)
            if queue.waiting and len(queue.busy) < AT_ONCE:
                return
            due = queue.next_due()
            pause = self._longest_look if due is None else min(self._longest_look, max(0.0, due - now))
            # Not wait_for: before Python 3.12 that loses a cancellation which comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await queue.wake.wait()

    async def _look(self, line: SinkLine) -> None:
        """Finds what is undelivered in the store: at the start, and when other accounts may have a home elsewhere."""
        generation = self._store.instances.generation
        if line.looked == generation or (line.looked >= 0 and line.wants is None):
            return
        try:
            now_ms, now = self._clock.now_ms(), self._clock.monotonic()
            for row in await self.behind(line.name):
                failure = row.failure
                wait = 0.0 if failure is None else (failure.next_attempt_at - now_ms) / 1000
                if failure is not None and wait > 0:
                    # The wall clock may have been set meanwhile.
                    line.queue.pause(row.account_id, failure, now + min(wait, LONGEST_PAUSE))
                else:
                    line.queue.add(row.account_id)
        except StoreError as error:
            log.warning("sink %s: what waits for it could not be read: %s", line.name, error)
            return
        line.looked = generation

    async def _wanted(self, line: SinkLine, account_id: str) -> bool:
        if line.wants is None:
            return True
        try:
            return bool(await line.wants(account_id))
        except Exception:  # noqa: BLE001  # a sink is isolated: one that cannot say is asked when its turn comes
            return True

    async def _deliver(self, line: SinkLine, account_id: str) -> None:
        """One batch of one account's records; a failure pauses this account and no other."""
        taken = 0
        more = False
        try:
            if line.wants is None or await line.wants(account_id):
                cursor = await self._store.records.cursor(line.name, account_id)
                batch = await self._store.records.read(RecordQuery(account_id=account_id, after=cursor, limit=BATCH))
                more = len(batch) == BATCH
                try:
                    for record in batch:
                        async with asyncio.timeout(self._attempt):
                            await line.emit(record)
                        taken = record.sequence
                finally:
                    if taken:
                        await self._store.records.advance(line.name, account_id, taken)
        except Exception as error:  # noqa: BLE001  # a sink is isolated: whatever it raises, it is asked again later
            await self._pause(line, account_id, error, progress=taken > 0)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            await self._pause(line, account_id, error, progress=taken > 0)  # the sink's own, not ours
        else:
            failed = line.queue.done(account_id, more=more)
            if failed is not None:
                log.info("sink %s, account %s: takes records again", line.name, account_id)

    async def _pause(self, line: SinkLine, account_id: str, error: BaseException, *, progress: bool) -> None:
        last = line.queue.failures.get(account_id)
        attempts = 1 if last is None or progress else last.attempts + 1
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempts - 1, 16))
        # Half of it by chance, so that what failed together does not come back together.
        pause = longest * random.uniform(0.5, 1.0)  # noqa: S311  # jitter is no secret
        failure = SinkFailure(attempts, self._reason(error), self._clock.now_ms() + round(pause * 1000))
        line.queue.pause(account_id, failure, self._clock.monotonic() + pause)
        if attempts & (attempts - 1) == 0:  # a sink that is down for a week is no reason to fill the log
            log.warning(
                "sink %s, account %s: %s; attempt %d, the next in %ds",
                line.name, account_id, failure.reason, attempts, pause,
            )  # fmt: skip
        with contextlib.suppress(StoreError):  # a restart then tries sooner, and nothing is lost
            await self._store.records.postpone(line.name, account_id, failure)

    def _reason(self, error: BaseException) -> str:
        """What an operator may read: never an exception's own text, which may repeat a record or an address."""
        if isinstance(error, OutsideError):
            return str(error)[:200]
        if isinstance(error, TimeoutError):
            return f"took longer than {self._attempt:g}s"
        return "the store" if isinstance(error, StoreError) else type(error).__name__


def _report(sink: str, behind: list[Behind]) -> SinkReport:
    failures = [row.failure for row in behind if row.failure is not None]
    worst = max(failures, key=lambda failure: failure.attempts, default=None)
    return SinkReport(
        sink=sink,
        accounts_behind=len(behind),
        records_behind=sum(row.records for row in behind),
        oldest_at=min((row.oldest_at for row in behind), default=None),
        accounts_failing=len(failures),
        attempts=0 if worst is None else worst.attempts,
        last_error=None if worst is None else worst.reason,
        next_attempt_at=min((failure.next_attempt_at for failure in failures), default=None),
    )
