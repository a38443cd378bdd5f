"""Identifiers: a prefix and 26 Crockford characters that sort by time."""

import os
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM = 16
"""Random characters of an id, of 5 bits each."""
_DRAWN = 400
"""Ids whose random characters are drawn at once."""
_CHARACTERS = (_ALPHABET * 8).encode()
"""A character for each random byte: each of them for 8 bytes, so all are as likely."""
_PAIRS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)


def new_id(prefix: str) -> str:
    """A new id such as "acct_01JD…": 48 bits of milliseconds, 20 of nanoseconds in them, 60 random bits.

    What is made one after another within a millisecond comes in that order, too: lists are paged by id.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    return f"{prefix}{_instant(milliseconds)}{_PAIRS[rest >> 10]}{_PAIRS[rest & 1023]}{_drawn(1)[0][4:]}"


def request_id() -> str:
    """A new request id, ours and never the client's."""
    return new_id("req_")


class RequestIds:
    """Request ids, one after another, with random characters that are drawn for hundreds at once: each draw lets go of
    the interpreter's lock, and another thread takes it."""

    __slots__ = ("_beginning", "_drawn", "_milliseconds")

    def __init__(self) -> None:
        self._drawn: list[str] = []
        #: The last id's instant, and what every id of that instant begins with.
        self._milliseconds = 0
        self._beginning = ""

    def new(self) -> str:
        """The next one, as long as `request_id`'s. In any order within a millisecond: a thread numbers its calls."""
        if not self._drawn:
            self._drawn = _drawn(_DRAWN)
        milliseconds = time.time_ns() // 1_000_000
        if milliseconds != self._milliseconds:
            self._milliseconds, self._beginning = milliseconds, f"req_{_instant(milliseconds)}"
        return self._beginning + self._drawn.pop()


def _drawn(ids: int) -> list[str]:
    text = os.urandom(_RANDOM * ids).translate(_CHARACTERS).decode()
    return [text[at : at + _RANDOM] for at in range(0, len(text), _RANDOM)]


def _instant(milliseconds: int) -> str:
    return "".join([_PAIRS[milliseconds >> shift & 1023] for shift in range(40, -1, -10)])
