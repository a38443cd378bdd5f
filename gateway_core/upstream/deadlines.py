"""Deadlines without a timer each: what is due within 100 ms of each other is looked at together, and nothing else."""

import asyncio
import math
from types import TracebackType
from typing import Any, Protocol

from gateway_core.errors import Unavailable
from gateway_core.slots import Slots

INTERVAL = 0.1
"""Seconds between two looks: how late a deadline may be."""


class Timed(Protocol):
    """What has a deadline."""

    loop: asyncio.AbstractEventLoop
    #: On the loop's clock. May become later at any time; whoever makes it sooner than `looked_at` adds it again.
    due: float
    #: When the sweep will look at it; math.inf where it does not. The sweep's own.
    looked_at: float

    def expire(self) -> None:
        """The deadline has passed; it is looked at no longer."""


class Sweep:
    """What has a deadline in one event loop."""

    def __init__(self) -> None:
        self._waits: Slots[Timed] = Slots(INTERVAL)
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = math.inf

    def add(self, wait: Timed) -> None:
        """Looks at it when it is due, which is before it would have been looked at."""
        self.discard(wait)
        self._put(wait)
        self._arm(wait.loop)

    def discard(self, wait: Timed) -> None:
        """Stops looking at it."""
        if wait.looked_at != math.inf:
            self._waits.drop(wait, wait.looked_at)
            wait.looked_at = math.inf

    def _put(self, wait: Timed) -> None:
        wait.looked_at = wait.due
        if wait.due != math.inf:
            self._waits.put(wait, wait.due)

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        """One timer for all: for the end of the first slot that anything stands in."""
        at = self._waits.next_end()
        if at is not None and at < self._fires_at:
            if self._timer is not None:
                self._timer.cancel()
            self._fires_at = at
            self._timer = loop.call_at(at, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer, self._fires_at = None, math.inf
        now = loop.time()
        for wait in self._waits.take(now):
            if wait.looked_at == math.inf:
                continue  # it was discarded by what another's end did
            if wait.due <= now:
                wait.looked_at = math.inf
                wait.expire()
            else:
                self._put(wait)
        self._arm(loop)


class Wait:
    """One wait with a deadline, as a context manager: raises Unavailable with `complaint` when it is over.

    Like asyncio.timeout it cancels the task that waits, and a cancellation from elsewhere stays one.
    """

    __slots__ = ("_before", "_complaint", "_expired", "_sweep", "_task", "due", "looked_at", "loop")

    def __init__(self, sweep: Sweep, loop: asyncio.AbstractEventLoop, due: float, complaint: str) -> None:
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a deadline needs a task to cancel")
        self._sweep = sweep
        self._task = task
        self._before = task.cancelling()
        self._complaint = complaint
        self._expired = False
        self.loop = loop
        #: On the loop's clock.
        self.due = due
        self.looked_at = math.inf

    def expire(self) -> None:
        """The deadline has passed."""
        self._expired = True
        self._task.cancel()

    def __enter__(self) -> None:
        if self.due <= self.loop.time():
            raise Unavailable(self._complaint)
        self._sweep.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sweep.discard(self)
        if self._expired and self._task.uncancel() <= self._before:
            raise Unavailable(self._complaint) from None


class TaskDeadlines:
    """The same of tasks, each of which has one deadline at a time: for what every call does, without an object for it.

    One whose deadline has passed is cancelled, and told so by `end`.
    """

    def __init__(self) -> None:
        #: On the loop's clock; -inf where it has passed.
        self._due: dict[asyncio.Task[Any], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, task: asyncio.Task[Any], due: float, loop: asyncio.AbstractEventLoop) -> None:
        """Starts looking at it."""
        self._due[task] = due
        if self._timer is None:
            self._timer = loop.call_later(INTERVAL, self._look, loop)

    def end(self, task: asyncio.Task[Any]) -> bool:
        """Stops looking at it. Whether its deadline has passed: then `uncancel` is the caller's."""
        return self._due.pop(task) == -math.inf

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for task in [task for task, due in self._due.items() if -math.inf < due <= now]:
            self._due[task] = -math.inf
            task.cancel()
        self._timer = loop.call_later(INTERVAL, self._look, loop) if self._due else None
