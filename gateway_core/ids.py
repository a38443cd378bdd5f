"""Identifiers: a prefix and 26 Crockford characters that sort by time."""

import os
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)


def new_id(prefix: str) -> str:
    """A new id such as "req_01JD…": 48 bits of milliseconds, 80 random bits."""
    value = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10), "big")
    pairs = _PAIRS
    return prefix + "".join([pairs[(value >> shift) & 1023] for shift in range(120, -1, -10)])


def request_id() -> str:
    """A new request id, ours and never the client's."""
    return new_id("req_")
