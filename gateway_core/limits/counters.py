"""How one window counts: a sliding minute in buckets of a second, or a UTC day. Pure: time is given.

Instants are whole microseconds of a clock that never goes back; days are days since the epoch.
"""

from typing import Protocol

from gateway_core.clock import DAY_MS
from gateway_core.types import Window

SECOND = 1_000_000
DAY = 86_400 * SECOND


class Bucket:
    """What was taken within one second, and when the last of it was. Gone at once, a span after that."""

    __slots__ = ("count", "last", "second")

    def __init__(self, second: int, last: int, count: int) -> None:
        self.second = second
        self.last = last
        self.count = count


class Counter(Protocol):
    """What one window has taken."""

    window: Window | None

    @property
    def total(self) -> int:
        """What counted when it was last asked, and what was taken since."""

    def used(self, now: int) -> int:
        """What counts at `now`."""

    def take(self, now: int, amount: int) -> Bucket:
        """Takes an amount, whatever the limit; the bucket is where it can be given back."""

    def give(self, bucket: Bucket, amount: int) -> None:
        """Gives back what was taken, as far as it still counts."""

    def wait(self, now: int, excess: int) -> int:
        """Microseconds until `excess` of what is used counts no more."""

    def rest(self, now: int) -> int:
        """Microseconds until nothing that was taken counts any more."""


class Sliding:
    """At most so much in *any* `span`: a bucket counts until the span has passed since the last that went into it.

    So a bucket is never forgotten early, at most a second late, and nobody waits longer than the span. There are 61
    buckets in a minute, since a minute that begins within a second touches 61 of them.
    """

    __slots__ = ("buckets", "span", "total", "window")

    def __init__(self, span: int) -> None:
        self.span = span
        #: Whose it is, as it was when a call last came after a pause of a generation; None: not since it was loaded.
        self.window: Window | None = None
        self.total = 0
        self.buckets: list[Bucket] = []

    def used(self, now: int) -> int:
        """What counts at `now`."""
        buckets = self.buckets
        while buckets and now - buckets[0].last >= self.span:
            gone = buckets.pop(0)
            self.total -= gone.count
            # What is gone cannot be given back.
            gone.count = 0
        return self.total

    def take(self, now: int, amount: int) -> Bucket:
        """Takes an amount, whatever the limit."""
        self.total += amount
        second = now // SECOND
        if self.buckets:
            bucket = self.buckets[-1]
            if bucket.second == second:
                bucket.last = now
                bucket.count += amount
                return bucket
        bucket = Bucket(second, now, amount)
        self.buckets.append(bucket)
        return bucket

    def give(self, bucket: Bucket, amount: int) -> None:
        """Gives back what was taken, as far as it still counts."""
        amount = min(amount, bucket.count)
        bucket.count -= amount
        self.total -= amount

    def wait(self, now: int, excess: int) -> int:
        """Microseconds until `excess` of what is used counts no more; at most the span."""
        for bucket in self.buckets:
            excess -= bucket.count
            if excess <= 0:
                return bucket.last + self.span - now
        return self.span

    def rest(self, now: int) -> int:
        """Microseconds until nothing that was taken counts any more."""
        for bucket in reversed(self.buckets):
            if bucket.count:
                return bucket.last + self.span - now
        return 0


class Days:
    """Which UTC day it is, by a wall clock that may jump.

    A clock that jumps back never gives a day's allowance twice: the day stays. It follows the clock back only once
    it has been counted for 24 hours, so that a clock which was wrong by a year locks nobody out for one.
    """

    __slots__ = ("day", "since", "wall")

    def __init__(self) -> None:
        self.day = 0
        self.since = 0
        self.wall = 0

    def turn(self, now: int, wall_ms: int) -> bool:
        """Looks at the clocks; True where another day has begun."""
        self.wall = wall_ms
        today = wall_ms // DAY_MS
        if today == self.day or (today < self.day and now - self.since < DAY):
            return False
        self.day = today
        self.since = now
        return True

    def left(self, now: int) -> int:
        """Microseconds until the next day begins."""
        released = self.since + DAY - now
        if (self.wall + released // 1000) // DAY_MS < self.day:
            return released
        return ((self.day + 1) * DAY_MS - self.wall) * 1000


class Daily:
    """At most so much in a UTC day. Forgotten as a whole when the day is over."""

    __slots__ = ("bucket", "days", "window")

    def __init__(self, days: Days) -> None:
        self.days = days
        #: As `Sliding.window`.
        self.window: Window | None = None
        self.bucket = Bucket(0, 0, 0)

    @property
    def total(self) -> int:
        """What counts today."""
        return self.bucket.count

    def used(self, now: int) -> int:  # noqa: ARG002  # a Counter
        """What counts today."""
        return self.bucket.count

    def take(self, now: int, amount: int) -> Bucket:
        """Takes an amount, whatever the limit."""
        self.bucket.last = now
        self.bucket.count += amount
        return self.bucket

    def give(self, bucket: Bucket, amount: int) -> None:
        """Gives back what was taken."""
        bucket.count -= min(amount, bucket.count)

    def wait(self, now: int, excess: int) -> int:  # noqa: ARG002  # a Counter
        """Microseconds until the next day."""
        return self.days.left(now)

    def rest(self, now: int) -> int:
        """Microseconds until the next day; 0 where nothing was taken."""
        return self.days.left(now) if self.bucket.count else 0
