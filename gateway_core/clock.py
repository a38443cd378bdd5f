"""The real clock, and the UTC month and day of an instant."""

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache

DAY_MS = 86_400_000
"""Milliseconds of a UTC day."""
_MILLISECONDS = tuple(f".{number:03}Z" for number in range(1000))


class SystemClock:
    """Wall time and monotonic time of this machine."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return time.time_ns() // 1_000_000

    #: Seconds that never go backwards.
    monotonic = staticmethod(time.monotonic)


def month_of(at_ms: int) -> str:
    """The UTC month of an instant, e.g. "2026-11"."""
    return _day(at_ms // DAY_MS)[:7]


def day_of(at_ms: int) -> str:
    """The UTC day of an instant, e.g. "2026-11-22"."""
    return _day(at_ms // DAY_MS)


@lru_cache(maxsize=64)  # a pure function, and every call is of today: 2 µs less on its path
def _day(number: int) -> str:
    return datetime.fromtimestamp(number * DAY_MS / 1000, UTC).strftime("%Y-%m-%d")


def month_bounds(month: str) -> tuple[int, int]:
    """First millisecond of a UTC month such as "2026-11", and of the one after it."""
    first = datetime.fromisoformat(f"{month}-01").replace(tzinfo=UTC)
    return _ms(first), _ms((first + timedelta(days=31)).replace(day=1))


def _ms(at: datetime) -> int:
    return int(at.timestamp()) * 1000


def iso(at_ms: int) -> str:
    """The instant as RFC 3339 in UTC, to the millisecond."""
    return _second(at_ms // 1000) + _MILLISECONDS[at_ms % 1000]


@lru_cache(maxsize=64)  # as above: a record is written of every call
def _second(number: int) -> str:
    return datetime.fromtimestamp(number, UTC).isoformat().removesuffix("+00:00")
