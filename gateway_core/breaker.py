"""A circuit breaker: when a route that keeps failing is left alone, and when it is tried again.

    closed ──(failures in a row, or too many of the last)──▶ open ──(its pause is over)──▶ one probe ──▶ closed
                                                              ▲                               │
                                                              └──── it failed: longer ────────┘

A pure model: time is given to it, so it can be tested without waiting. Who is let in gets a ticket and answers for it;
what comes from before the last change of state says nothing of the route as it is now.
"""

from collections import deque
from typing import Literal

import msgspec

State = Literal["closed", "open", "half_open", "throttled"]


class BreakerSettings(msgspec.Struct, frozen=True):
    """When it opens, and for how many seconds. `failures` 0: never."""

    failures: int = 10
    ratio: float = 0.5
    window: int = 50
    pause: float = 5.0
    longest_pause: float = 60.0


class Breaker:
    """The breaker of one route. Times are monotonic seconds."""

    __slots__ = (
        "_era",
        "_failed",
        "_in_a_row",
        "_openings",
        "_probing",
        "_recent",
        "_settings",
        "_throttled",
        "_until",
    )

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        #: Counts changes of state: a ticket is the era that it was given in.
        self._era = 0
        self._in_a_row = 0
        self._recent: deque[bool] = deque(maxlen=settings.window)
        self._failed = 0
        #: When a probe may go; None while closed.
        self._until: float | None = None
        self._probing = False
        self._openings = 0
        #: Until when the provider asked to be left alone.
        self._throttled = 0.0

    def state(self, now: float) -> State:
        """How the route stands."""
        if now < self._throttled:
            return "throttled"
        if self._until is None:
            return "closed"
        return "open" if now < self._until else "half_open"

    @property
    def free(self) -> int | None:
        """A ticket that is given whatever the time is; None: ask `take`."""
        return self._era if self._until is None and not self._throttled else None

    @property
    def failures_in_a_row(self) -> int:
        """Failures since the last success, while it is closed."""
        return self._in_a_row

    def take(self, now: float) -> int | None:
        """A ticket to ask the route; None: not now."""
        if now < self._throttled:
            return None
        self._throttled = 0.0
        if self._until is not None:
            if self._probing or now < self._until:
                return None
            self._era += 1
            self._probing = True
        return self._era

    def wait(self, now: float) -> float:
        """Seconds until asking may be allowed again; 0 where only a probe's outcome is awaited."""
        return max(self._throttled, self._until or 0.0, now) - now

    def succeed(self, ticket: int) -> bool:
        """The route answered. Whether that closes it: it was a probe that did."""
        if ticket != self._era:
            return False
        if self._until is not None:
            self._until = None
            self._probing = False
            self._openings = 0
            return True
        self._in_a_row = 0
        if self._failed:
            self._remember(failed=False)
        else:
            self._recent.append(False)  # none of those that it forgets had failed
        return False

    def fail(self, ticket: int, now: float) -> None:
        """The route failed."""
        if ticket != self._era or not self._settings.failures:
            return
        if self._until is not None:
            self._open(now)
            return
        self._in_a_row += 1
        self._remember(failed=True)
        limit = self._settings
        full = len(self._recent) == limit.window
        if self._in_a_row >= limit.failures or (full and self._failed >= limit.ratio * limit.window):
            self._open(now)

    def break_off(self, now: float) -> None:
        """The route failed after it had begun to answer, whenever that was."""
        if self._until is None:
            self.fail(self._era, now)

    def throttle(self, ticket: int, now: float, seconds: float) -> None:
        """The provider asks to be left alone for that long: it is alive, and says nothing of its health."""
        if self._settings.failures:
            self._throttled = max(self._throttled, now + seconds)
        self.drop(ticket)

    def drop(self, ticket: int) -> None:
        """Nothing came of the ticket: who had it went away. Another may have the probe."""
        if ticket == self._era and self._probing:
            self._probing = False

    def _remember(self, *, failed: bool) -> None:
        if len(self._recent) == self._settings.window:
            self._failed -= self._recent[0]
        self._recent.append(failed)
        self._failed += failed

    def _open(self, now: float) -> None:
        pause = self._settings.pause * 2 ** min(self._openings, 32)
        self._until = now + min(pause, self._settings.longest_pause)
        self._openings += 1
        self._era += 1
        self._probing = False
        self._in_a_row = self._failed = 0
        self._recent.clear()
