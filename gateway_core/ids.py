"""Identifiers: a prefix and 26 Crockford characters that sort by time."""

import os
import time
from functools import lru_cache

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)


def new_id(prefix: str) -> str:
    """A new id such as "req_01JD…": 48 bits of milliseconds, 80 random bits."""
    pairs, random = _PAIRS, int.from_bytes(os.urandom(10), "big")
    return (
        f"{prefix}{_instant(time.time_ns() // 1_000_000)}{pairs[random >> 70]}{pairs[random >> 60 & 1023]}"
        f"{pairs[random >> 50 & 1023]}{pairs[random >> 40 & 1023]}{pairs[random >> 30 & 1023]}"
        f"{pairs[random >> 20 & 1023]}{pairs[random >> 10 & 1023]}{pairs[random & 1023]}"
    )


@lru_cache(maxsize=4)  # a pure function: many ids are made in one millisecond
def _instant(milliseconds: int) -> str:
    return "".join([_PAIRS[milliseconds >> shift & 1023] for shift in range(40, -1, -10)])


def request_id() -> str:
    """A new request id, ours and never the client's."""
    return new_id("req_")
