"""Identifiers: a prefix and 26 Crockford characters that sort by time."""

import os
import time
from functools import lru_cache

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM = 10
"""Random bytes of an id."""
_DRAWN = 400
"""Ids whose random bytes are drawn at once."""
_PAIRS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)


def new_id(prefix: str) -> str:
    """A new id such as "req_01JD…": 48 bits of milliseconds, 80 random bits."""
    return _written(prefix, os.urandom(_RANDOM))


def request_id() -> str:
    """A new request id, ours and never the client's."""
    return new_id("req_")


class RequestIds:
    """Request ids, one after another, with random bytes that are drawn for hundreds at once: each draw lets go of the
    interpreter's lock, and another thread takes it."""

    __slots__ = ("_at", "_drawn")

    def __init__(self) -> None:
        self._drawn = b""
        self._at = 0

    def new(self) -> str:
        """The next one, as `request_id` makes them."""
        at, end = self._at, self._at + _RANDOM
        if end > len(self._drawn):
            self._drawn = os.urandom(_RANDOM * _DRAWN)
            at, end = 0, _RANDOM
        self._at = end
        return _written("req_", self._drawn[at:end])


def _written(prefix: str, drawn: bytes) -> str:
    pairs, random = _PAIRS, int.from_bytes(drawn, "big")
    return (
        f"{prefix}{_instant(time.time_ns() // 1_000_000)}{pairs[random >> 70]}{pairs[random >> 60 & 1023]}"
        f"{pairs[random >> 50 & 1023]}{pairs[random >> 40 & 1023]}{pairs[random >> 30 & 1023]}"
        f"{pairs[random >> 20 & 1023]}{pairs[random >> 10 & 1023]}{pairs[random & 1023]}"
    )


@lru_cache(maxsize=4)  # a pure function: many ids are made in one millisecond
def _instant(milliseconds: int) -> str:
    return "".join([_PAIRS[milliseconds >> shift & 1023] for shift in range(40, -1, -10)])
