"""Thinking that must be given back: which blocks stood before which call, and how they are kept."""

from collections.abc import Mapping
from typing import Any

import msgspec

Block = dict[str, Any]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[dict[str, str]]).decode


class Thoughts:
    """Collects the thinking of one answer, and gives each call what came right before it."""

    __slots__ = ("_before", "all")

    def __init__(self) -> None:
        #: Every block so far, in order.
        self.all: list[Block] = []
        self._before: list[Block] = []

    def add(self, block: Block) -> None:
        """A block that is complete."""
        self.all.append(block)
        self._before.append(block)

    def before_call(self) -> bytes | None:
        """What came since the last call, packed; None for nothing."""
        if not self._before:
            return None
        packed = _encode(self._before)
        self._before = []
        return packed


def unpacked(kept: Mapping[str, bytes]) -> dict[str, list[Block]]:
    """Id of a call → its blocks. What cannot be read is as good as lost."""
    found: dict[str, list[Block]] = {}
    for call_id, packed in kept.items():
        try:
            found[call_id] = [dict(block) for block in _decode(packed)]
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return found
