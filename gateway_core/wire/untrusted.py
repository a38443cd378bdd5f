"""JSON that somebody else wrote, and counts in it: looked at before they are believed."""

from typing import Any, TypeGuard

import msgspec

NONSENSE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding may raise for bytes that are no JSON, no text, or nested without end."""

MOST_TOKENS = 10**9
"""A count above this is a mistake."""

_any = msgspec.json.Decoder().decode


def decoded(body: bytes) -> Any:
    """The JSON value, whatever it is; None where it is none."""
    try:
        return _any(body)
    except NONSENSE:
        return None


def is_count(value: Any) -> TypeGuard[int]:
    """Whether it can be meant as a number of tokens."""
    return type(value) is int and 0 <= value <= MOST_TOKENS
