"""Identifiers: a prefix and 26 Crockford characters that sort by time."""

import os
import time
from functools import lru_cache

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM = 16
"""Random characters of an id, of 5 bits each."""
_DRAWN = 400
"""Ids whose random characters are drawn at once."""
_CHARACTERS = (_ALPHABET * 8).encode()
"""A character for each random byte: each of them for 8 bytes, so all are as likely."""
_PAIRS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)


def new_id(prefix: str) -> str:
    """A new id such as "req_01JD…": 48 bits of milliseconds, 80 random bits."""
    return f"{prefix}{_instant(time.time_ns() // 1_000_000)}{_drawn(1)}"


def request_id() -> str:
    """A new request id, ours and never the client's."""
    return new_id("req_")


class RequestIds:
    """Request ids, one after another, with random characters that are drawn for hundreds at once: each draw lets go of
    the interpreter's lock, and another thread takes it."""

    __slots__ = ("_at", "_left")

    def __init__(self) -> None:
        self._left = ""
        self._at = 0

    def new(self) -> str:
        """The next one, as `request_id` makes them."""
        at = self._at
        if at == len(self._left):
            self._left, at = _drawn(_DRAWN), 0
        self._at = end = at + _RANDOM
        return f"req_{_instant(time.time_ns() // 1_000_000)}{self._left[at:end]}"


def _drawn(ids: int) -> str:
    return os.urandom(_RANDOM * ids).translate(_CHARACTERS).decode()


@lru_cache(maxsize=4)  # a pure function: many ids are made in one millisecond
def _instant(milliseconds: int) -> str:
    return "".join([_PAIRS[milliseconds >> shift & 1023] for shift in range(40, -1, -10)])
