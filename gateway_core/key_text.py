"""How a user key is written: `sk-spl`, an id, 256 random bits and a checksum, 67 characters in all.

    sk-spl 7Qm2xKd90aVb  <43 characters>  <6 characters>
           id            secret           CRC-32 of everything before it, base 62

A secret scanner finds one by `sk-spl[0-9A-Za-z]{61}` and rules out a chance match by the checksum, without asking
anybody; so do we for a typing error, before anything is looked up.
"""

import re
import secrets
import time
import zlib

PREFIX = "sk-"
"""What every bearer that is ours to judge begins with."""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_HEAD = "sk-spl"
_ID_LENGTH = 12
_TIME_LENGTH = 7  # milliseconds until the year 2081
_REST_LENGTH = 2  # of a millisecond: keys made one after another within one are listed in that order
_SECRET_LENGTH = 43  # 62^43 > 2^256
_CHECKSUM_LENGTH = 6  # 62^6 > 2^32
_SHAPE = re.compile(r"sk-spl[0-9A-Za-z]{61}")


def _base62(value: int, length: int) -> str:
    digits = ""
    for _ in range(length):
        value, digit = divmod(value, 62)
        digits = _DIGITS[digit] + digits
    return digits


def _checksum(text: str) -> str:
    return _base62(zlib.crc32(text.encode()), _CHECKSUM_LENGTH)


def _random(length: int) -> str:
    return "".join([secrets.choice(_DIGITS) for _ in range(length)])


def new_key_text() -> str:
    """A new key, to be shown once. Its id begins with the time, so keys sort by age."""
    parts = 62**_REST_LENGTH
    moment = _base62(time.time_ns() * parts // 1_000_000, _TIME_LENGTH + _REST_LENGTH)
    text = _HEAD + moment + _random(_ID_LENGTH - len(moment)) + _random(_SECRET_LENGTH)
    return text + _checksum(text)


def is_key_text(text: str) -> bool:
    """Whether the text has a key's shape and its checksum is right. Says nothing about whether the key is known."""
    return _SHAPE.fullmatch(text) is not None and _checksum(text[:-_CHECKSUM_LENGTH]) == text[-_CHECKSUM_LENGTH:]


def key_id(text: str) -> str:
    """The id of the key that a text is; it is no secret, and finds a leaked key without the rest of it."""
    return "key_" + text[len(_HEAD) : len(_HEAD) + _ID_LENGTH]


def hint(text: str) -> str:
    """The characters that a person recognises a key by."""
    return f"sk-…{text[-4:]}"
