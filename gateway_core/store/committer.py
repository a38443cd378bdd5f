"""Group commit: the loop forms batches, one thread writes them, one call back a batch.

A commit begins when none runs and either the last one was a window ago or the rows that wait reach
min(32, the recent peak of expected + waiting + committing), which decays by one a commit. So a lone call waits for
nothing, and under load as many rows share a commit as are on their way. The window counts from the last one's end
where all that is expected fits into one commit, else from its beginning; and from the first row that comes back, where
that is no later than a window after the last one's end: else it would go alone, and the others behind it.
"""

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from gateway_core.errors import SplError, StoreCorrupt, StoreError, Unwritable

log = logging.getLogger("gateway_core.store")

MOST_AWAITED = 32
"""A commit never waits for more rows than this."""

DEFERRED = 0.1
"""Seconds that a row which nobody waits for may wait for the one that makes it needless."""

_RETRY_AFTER = (0.02, 0.1, 0.3)
"""Seconds before each retry of a commit whose fate is unknown."""

_PROBE_SECONDS = 0.25

_TRANSIENT = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Op:
    """One thing to write (or to read in the writer's order). `future` is done when it is on disk."""

    __slots__ = ("future", "taken")

    def __init__(self, future: "asyncio.Future[Any]") -> None:
        self.future = future
        #: In a batch already: too late to change it.
        self.taken = False

    def apply(self, books: Any) -> Any:
        """In the writer's thread. Raising a SplError must come before anything was written."""
        raise NotImplementedError

    def undone(self) -> None:
        """In the writer's thread: what was applied is known not to be there."""

    def landed(self, result: Any, *, retried: bool) -> None:  # noqa: ARG002  # for subclasses
        """On the loop, in the batch's order, before anyone else is told."""
        if not self.future.done():
            self.future.set_result(result)

    def failed(self, error: Exception) -> None:
        """On the loop."""
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # whoever awaits it still gets it; nobody is a valid choice


class Books(Protocol):
    """What a batch is applied to: one transaction at a time, in the writer's thread."""

    def begin(self) -> None: ...
    def commit(self) -> None: ...
    def rollback(self) -> None:
        """Undoes the transaction and forgets everything that was remembered of the database.

        What the next one writes may be there already: it looks first.
        """

    def reopen(self) -> None:
        """A new connection, after one that failed."""

    def close(self) -> None: ...


class Outcome:
    """What became of a batch: a result or an error an op, in order."""

    __slots__ = ("fatal", "results", "retried")

    def __init__(self, results: list[Any], *, retried: bool = False, fatal: bool = False) -> None:
        self.results = results
        self.retried = retried
        self.fatal = fatal


class Committer:
    """The loop's side of the writer. `submit` never waits: the op's future does."""

    def __init__(self, books: Books, window_ms: float, probe: Callable[[], Op]) -> None:
        self._books = books
        self._window = window_ms / 1000
        self._probe = probe
        self._queue: queue.SimpleQueue[list[Op] | None] = queue.SimpleQueue()
        self._waiting: list[Op] = []
        self._deferred: dict[Op, float] = {}
        self._riders: list[Op] = []
        self._committing = 0
        self._began = self._ended = float("-inf")
        #: When the first row came after the last commit's end.
        self._came = float("-inf")
        self._peak = 1
        #: Rows at which another look is worth it: until then the timer or the commit that runs will see to it.
        self._enough = 0
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = 0.0
        #: What the last timer was set for, which has passed.
        self._passed = float("-inf")
        self._idle = asyncio.Event()
        self._idle.set()
        #: False from a commit that failed for good until one has landed again, and when it is closed.
        self.healthy = True
        self._closed = False
        #: Rows that will come: calls that are open and not yet being settled. Kept by the ledger.
        self.expected = 0
        #: When the last commit landed, by the loop's clock.
        self.landed_at = float("-inf")
        self._loop = loop = asyncio.get_running_loop()
        #: Seconds by the loop's clock; a new future of the loop.
        self.time, self.future = loop.time, loop.create_future
        self._thread = threading.Thread(target=self._write, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, op: Op) -> None:
        """Puts the op into the next commit."""
        if not self.healthy:
            op.failed(self._refusal())
            return
        self._waiting.append(op)
        if len(self._waiting) >= self._enough:
            self._maybe_begin()

    def defer(self, op: Op) -> None:
        """Puts the op into a commit that begins DEFERRED seconds from now: it may be superseded until then."""
        if not self.healthy:
            op.failed(self._refusal())
            return
        self._deferred[op] = due = self.time() + DEFERRED
        if self._timer is None:
            self._arm(due)

    def hasten(self, op: Op) -> None:
        """Makes a deferred op wait no longer."""
        if self._deferred.pop(op, None) is not None:
            self._waiting.append(op)
            if len(self._waiting) >= self._enough:
                self._maybe_begin()

    def withdraw(self, op: Op) -> bool:
        """Takes back an op that is in no batch yet. False where it is too late."""
        if op.taken:
            return False
        if self._deferred.pop(op, None) is None and op in self._waiting:
            self._waiting.remove(op)
        return True

    def ride(self, op: Op) -> None:
        """Puts the op into whichever commit comes next, causing none."""
        self._riders.append(op)

    async def drain(self) -> None:
        """Returns when nothing waits."""
        while self.healthy and (self._waiting or self._deferred or self._committing):
            for op in list(self._deferred):
                self.hasten(op)
            self._maybe_begin(due=True)
            await self._idle.wait()

    async def close(self) -> None:
        """Commits what waits, then ends the thread and closes the connection."""
        if self._closed:
            return
        if self._riders:
            self._waiting.extend(self._riders)
            self._riders = []
        await self.drain()
        await self._idle.wait()
        self._closed, self.healthy = True, False
        if self._timer:
            self._timer.cancel()
        self._fail_waiting()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    # ------------------------------------------------------------ on the loop

    def _refusal(self) -> StoreError:
        why = "the store is closed" if self._closed else "the store cannot commit now; it is tried again by itself"
        return StoreError(f"Nothing was written: {why}.")

    def _maybe_begin(self, *, due: bool = False) -> None:
        if self._committing or not self.healthy:
            return
        waiting = len(self._waiting)
        load = self.expected + waiting
        if load > self._peak:
            self._peak = load
        now = max(self.time(), self._passed)
        # Where one commit holds all that is expected, those whom the last one has let go come back in the next.
        since = self._ended if self._peak <= MOST_AWAITED else self._began
        if waiting:
            if self._came < self._ended:
                self._came = now
            ripe = max(since, min(self._came, self._ended + self._window)) + self._window
            enough = min(MOST_AWAITED, self._peak)
            if due or waiting >= enough or now >= ripe:
                self._begin(now)
            else:
                self._enough = enough
                self._arm(ripe)
        elif self._deferred:
            ripens = next(iter(self._deferred.values()))
            if ripens <= now:
                self._begin(now)
            else:
                self._arm(ripens)

    def _begin(self, now: float) -> None:
        self._enough = 1 << 62
        batch, self._waiting = self._waiting, []
        ripe = []
        for op, due in self._deferred.items():
            if due > now:
                break
            ripe.append(op)
        for op in ripe:
            del self._deferred[op]
        batch += ripe
        if self._riders:
            batch += self._riders
            self._riders = []
        for op in batch:
            op.taken = True
        self._committing = len(batch)
        self._began = now
        self._peak = max(1, self._peak - 1)
        self._idle.clear()
        self._queue.put(batch)

    def _arm(self, when: float) -> None:
        if self._timer:
            if self._fires_at <= when:
                return
            self._timer.cancel()
        self._fires_at = when
        self._timer = self._loop.call_at(when, self._fired)

    def _fired(self) -> None:
        # The loop's clock has whole milliseconds: it may say a little less, and would fire anew until it does not.
        self._passed = self._fires_at
        self._timer, self._enough = None, 0
        self._maybe_begin()

    def _landed(self, batch: list[Op], outcome: Outcome) -> None:
        load = self.expected + len(self._waiting) + self._committing
        if load > self._peak:
            self._peak = load
        self._committing = self._enough = 0
        self._ended = self.time()
        retried = outcome.retried
        for op, result in zip(batch, outcome.results, strict=True):
            if isinstance(result, Exception):
                op.failed(result)
            else:
                op.landed(result, retried=retried)
        if outcome.fatal:
            self._turn_unhealthy(next(result for result in outcome.results if isinstance(result, StoreError)))
        else:
            self.landed_at = self._ended
            if not self.healthy and not self._closed:
                log.warning("the store commits again")
                self.healthy = True
        self._idle.set()
        self._maybe_begin()

    def _turn_unhealthy(self, error: Exception) -> None:
        if self.healthy:
            log.error("the store cannot commit: %s", error)
        self.healthy = False
        self._fail_waiting()
        if not self._closed:
            self._loop.call_later(_PROBE_SECONDS, self._send_probe)

    def _send_probe(self) -> None:
        if not self._closed and not self._committing:
            self._waiting = [self._probe()]
            self._begin(self.time())

    def _fail_waiting(self) -> None:
        stranded = [*self._waiting, *self._deferred]
        self._waiting = []
        self._deferred.clear()
        for op in stranded:
            op.failed(self._refusal())

    # ------------------------------------------------------------ in the writer's thread

    def _write(self) -> None:
        while (batch := self._queue.get()) is not None:
            outcome = self._commit(batch)
            try:
                self._loop.call_soon_threadsafe(self._landed, batch, outcome)
            except RuntimeError:  # the loop was closed under us: nobody is left to tell
                break
        self._books.close()

    def _commit(self, batch: Sequence[Op]) -> Outcome:
        error: Exception = StoreError("the store cannot commit")
        attempt, looked = 0, False
        while attempt <= len(_RETRY_AFTER):
            try:
                if attempt:
                    self._books.reopen()
                return Outcome(self._attempt(batch), retried=attempt > 0)
            except Exception as caught:  # noqa: BLE001  # whatever an op raises must not end the only writer
                error = caught
                self._undo()
                if _code(caught) in _CORRUPT:
                    error = StoreCorrupt(
                        "The store is damaged (SQLite: " + str(caught) + "). Stop the server and restore a backup: "
                        "spl restore FILE"
                    )
                    break
                if _code(caught) not in _TRANSIENT:
                    for op in batch:
                        op.undone()
                    if looked:
                        return self._each_alone(batch, caught, retried=attempt > 0)
                    looked = True  # nothing of it was written: once more, with a look at what is there
                    continue
                if attempt < len(_RETRY_AFTER):
                    time.sleep(_RETRY_AFTER[attempt])
                attempt += 1
        if not isinstance(error, StoreError):
            error = StoreError(f"The store could not commit (SQLite: {error}). Look at the disk that holds the home.")
        return Outcome([error] * len(batch), retried=True, fatal=True)

    def _attempt(self, batch: Sequence[Op]) -> list[Any]:
        books = self._books
        books.begin()
        results: list[Any] = []
        for op in batch:
            try:
                results.append(op.apply(books))
            except SplError as refusal:
                results.append(refusal)
        books.commit()
        return results

    def _undo(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # the retry takes a new connection
            self._books.rollback()

    def _each_alone(self, batch: Sequence[Op], error: Exception, *, retried: bool) -> Outcome:
        """One op is at fault: each gets a transaction of its own, so that only that one fails."""
        if len(batch) == 1:
            log.error("a row cannot be written: %s: %s", type(batch[0]).__name__, error)
            return Outcome([Unwritable(f"This cannot be written: {error}")], retried=retried)
        alone = [self._commit([op]) for op in batch]
        return Outcome(
            [outcome.results[0] for outcome in alone],
            retried=retried or any(outcome.retried for outcome in alone),
            fatal=any(outcome.fatal for outcome in alone),
        )


def _code(error: Exception) -> int | None:
    """SQLite's primary result code of an error, where it is one of SQLite's."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
