"""Server-sent events, read as they arrive, whatever way the bytes are split."""

from gateway_core.errors import Unavailable

_BOM = b"\xef\xbb\xbf"
_LF, _CR = b"\n\r"  # as numbers: `in` raises and catches an error first where it is asked for bytes


class SSEDecoder:
    """Bytes in, the data of whole events out. Comments and the fields event, id and retry are passed over.

    A line or an event of more than `limit` bytes raises Unavailable: nothing without end is ever held.
    """

    __slots__ = ("_after_cr", "_data", "_first", "_held", "_size", "_tail", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._tail: list[bytes] = []  # the pieces of a line that has no end yet
        self._held = 0  # their size
        self._data: list[bytes] = []  # the data lines of an event that has no end yet
        self._size = 0  # the bytes of all lines of that event
        self._after_cr = False  # the last byte was a CR: an LF now is the same line end
        self._first = True

    def push(self, chunk: bytes) -> list[bytes]:
        """The data of every event that `chunk` completes."""
        if (
            chunk.startswith((b"data: ", b"event: "))
            and chunk.endswith((b"\n\n", b"\r\n\r\n"))
            and not (self._tail or self._data or self._after_cr or len(chunk) > self.limit)
        ):
            whole = _unnamed(chunk) if chunk.startswith(b"d") else _named(chunk)
            if whole is not None:  # nearly every read is so
                self._first = False
                self._size = 0
                return whole
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if _CR in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        may_be_large = self._size + self._held + len(chunk) > self.limit
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if lines and self._tail:
            lines[0] = b"".join((*self._tail, lines[0]))
            self._tail.clear()
            self._held = 0
        if rest:
            self._tail.append(rest)
            self._held += len(rest)
        if may_be_large:
            self._check(lines)
        return self._events(lines) if lines else []

    @property
    def between(self) -> bool:
        """What was read last ended an event, and the next one has not begun."""
        return not (self._tail or self._data or self._size or self._after_cr or self._first)

    def finish(self) -> list[bytes]:
        """The stream is over: the data of an event that lacked only its line ends, if there is one."""
        return self.push(b"\n\n")

    def _events(self, lines: list[bytes]) -> list[bytes]:
        events: list[bytes] = []
        data = self._data
        if self._first:
            self._first = False
            lines[0] = lines[0].removeprefix(_BOM)
        for line in lines:
            if not line:
                if data:
                    events.append(data[0] if len(data) == 1 else b"\n".join(data))
                    data.clear()
            elif line.startswith(b"data: "):
                data.append(line[6:])
            elif line.startswith(b"data:"):
                data.append(line[5:])
            elif line == b"data":
                data.append(b"")
        if lines[-1]:
            for line in lines:
                self._size = self._size + len(line) + 1 if line else 0
        else:
            self._size = 0
        return events

    def _check(self, lines: list[bytes]) -> None:
        """Much is at hand: is it one event that is too large, or many?"""
        size = self._size
        for line in lines:
            size = size + len(line) + 1 if line else 0
            if size > self.limit:
                break
        if size + self._held > self.limit:
            raise Unavailable(f"an event of the stream is larger than {self.limit} bytes")


def _unnamed(chunk: bytes) -> list[bytes] | None:
    """The data of events that are one line each, and nothing but data; None for any other."""
    end = b"\n\n" if chunk.endswith(b"\n\n") else b"\r\n\r\n"
    whole = chunk[6 : -len(end)].split(end + b"data: ")
    inside = b"".join(whole)
    return None if _LF in inside or _CR in inside else whole


def _named(chunk: bytes) -> list[bytes] | None:
    """The data of events that are a name and one line of data each; None for any other."""
    if _CR in chunk:
        return None
    parts = [block.partition(b"\ndata: ") for block in chunk[:-2].split(b"\n\n")]
    whole = [data for _, _, data in parts]
    names = {name for name, _, _ in parts}
    named = all(name.startswith(b"event: ") and _LF not in name for name in names)
    return whole if named and all(whole) and _LF not in b"".join(whole) else None
