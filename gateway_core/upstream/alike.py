"""Most events of a stream are alike but for the text in them. What is alike is looked at once."""

from collections.abc import Sequence

import msgspec

from gateway_core.types import Shape

AT_ONCE = 64
"""Events that are compared at once where others came before them: a read may hold ten thousands that are not alike, and
what follows each of them must not be copied for it."""

STRING = rb'("[^"\\]*+(?:\\.[^"\\]*+)*+")'
"""A JSON string, for a pattern. Possessive: going back in one of 8 MB would take a GB of memory."""

_text = msgspec.json.Decoder(str).decode
_NO_TEXT = (msgspec.DecodeError, UnicodeDecodeError)
_ENDS = (b"\n\n", b"\r\n\r\n")
_LF, _CR = b"\n\r"  # as numbers, which `in` looks for at once


class Alike:
    """Events that were looked at whole, but for their text: `before` and `after` are their bytes around it.

    Whoever makes one has proved that whatever JSON string stands there is the text, and that nothing else depends on
    it. `shape` is what a client reads of such an event.
    """

    __slots__ = ("after", "before", "shape")

    def __init__(self, before: bytes, after: bytes, shape: Shape) -> None:
        self.before = before
        self.after = after
        self.shape = shape

    def tokens(self, events: Sequence[bytes], at: int = 0) -> list[bytes]:
        """What stands where the text does: of the events from that place on, up to the first that is not alike, or
        `AT_ONCE`."""
        before, after = self.before, self.after
        start, stop = len(before), -len(after)
        tokens: list[bytes] = []
        for data in events[at : at + AT_ONCE] if at else events:
            if data[:start] != before or data[stop:] != after:
                break
            tokens.append(data[start:stop])
        return tokens


def said(tokens: Sequence[bytes]) -> list[str] | None:
    """The texts of some tokens; None unless each is one JSON string on one line, and says something."""
    try:
        if len(tokens) == 1:
            line = tokens[0]
            texts = [_text(line)]
        else:
            line = b"".join(tokens)
            texts = list(map(_text, tokens))
    except _NO_TEXT:
        return None
    return None if _LF in line or _CR in line or "" in texts else texts


class Framing:
    """How an event that is alike stands in the bytes of a body."""

    __slots__ = ("_closing", "_longest", "_most", "_opening", "_start", "_stop", "alike")

    def __init__(self, alike: Alike, lead: bytes, end: bytes, most: int) -> None:
        self.alike = alike
        self._opening = lead + alike.before
        self._closing = alike.after + end
        #: Where the text begins and ends.
        self._start, self._stop = len(self._opening), -len(self._closing)
        #: Bytes that an event may have.
        self._most = most
        #: Where two events are, there is more than this between the first one's beginning and the last one's end.
        self._longest = len(self._opening) + len(self._closing)

    def token(self, piece: bytes) -> bytes | None:
        """What stands where the text does, of a piece that is one such event; None for any other.

        A very long text is left to who reads several: it is looked at like two of them.
        """
        start, stop = self._start, self._stop
        if piece[:start] != self._opening or piece[stop:] != self._closing or len(piece) > self._most:
            return None
        token = piece[start:stop]
        return token if len(token) < self._longest else None


def framing_of(alike: Alike, piece: bytes, data: bytes, most: int) -> Framing | None:
    """The framing of a piece that was read as that one event, from an event's beginning to its end.

    What stands before the event said nothing, so it says nothing of the next one either. None for a piece that ends in
    more than line breaks, or whose last line is not the event.
    """
    lead, found, end = piece.rpartition(data)
    if not found or end not in _ENDS or not (lead == b"data: " or lead.endswith((b"\ndata: ", b"\rdata: "))):
        return None
    return Framing(alike, lead, end, most)
