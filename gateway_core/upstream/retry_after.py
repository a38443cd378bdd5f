"""How long a provider asks to be left alone."""

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

LONGEST = 86_400.0
"""Seconds: nobody means more than a day."""


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds from `retry-after-ms` or `Retry-After`, which has seconds or a date; `now` is the wall clock's."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if not value:
            continue
        try:
            seconds = float(value) * unit
        except ValueError:
            seconds = _until(value, time.time() if now is None else now)
        if math.isfinite(seconds) and seconds >= 0:
            return min(seconds, LONGEST)
    return None


def _until(date: str, now: float) -> float:
    """Seconds until an HTTP date, 0 where it has passed; NaN where it is none."""
    try:
        return max(parsedate_to_datetime(date).timestamp() - now, 0.0)
    except (ValueError, OverflowError):
        return math.nan
