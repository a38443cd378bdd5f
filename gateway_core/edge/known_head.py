"""A request's head that comes again: clients send the same bytes with each call, but for the length of its body.

What a parser made of a head once, it makes of the very same bytes again. So a connection that has seen one whole takes
the next request that begins with it without parsing: only the digits of Content-Length may differ.
"""

from gateway_core.edge.errors import Headers
from gateway_core.edge.guard import bearer_of
from gateway_core.types import Credentials

MOST_BYTES = 8192
"""A larger head is not kept: each connection may have one."""
MOST_DIGITS = 7
"""Digits of a length that is read without a parser."""

_NOT_KEPT = frozenset(
    {b"transfer-encoding", b"content-encoding", b"trailer", b"expect", b"upgrade", b"idempotency-key"}
)
"""Whatever says more of a call than who makes it and how long its body is."""


class KnownHead:
    """The bytes before the digits of the body's length, those behind them up to the body, and what the head says."""

    __slots__ = ("before", "behind", "credentials", "rest", "size")

    def __init__(self, before: bytes, behind: bytes, credentials: Credentials) -> None:
        self.before = before
        self.behind = behind
        #: Bytes before the digits, and behind them.
        self.size = len(before)
        self.rest = len(behind)
        self.credentials = credentials


def known_head(data: bytes, target: bytes, headers: Headers, address: str, most: int) -> KnownHead | None:
    """The head that `data` begins with, of a POST to `target` whose body has at most `most` bytes.

    `headers` is what the parser read. None where the head is not plainly that: each line must say, byte for byte, what
    the parser made of it, so that nothing else can have been read. Raises InvalidBearer.
    """
    end = data.find(b"\r\n\r\n", 0, MOST_BYTES)
    first, *lines = data[: max(end, 0)].split(b"\r\n")
    if first != b"POST %b HTTP/1.1" % target or len(lines) != len(headers):
        return None
    at = len(first) + 2
    begin, behind = 0, b""
    for line, (name, value) in zip(lines, headers, strict=True):
        said, _, text = line.partition(b":")
        if said.lower() != name or text.lstrip(b" \t") != value or name in _NOT_KEPT or b"\n" in line or b"\r" in line:
            return None
        if name == b"content-length":
            if begin or not value.isdigit() or len(value) > MOST_DIGITS or int(value) > most:
                return None
            begin, behind = at + len(line) - len(value), data[at + len(line) : end + 4]
        at += len(line) + 2
    return KnownHead(data[:begin], behind, Credentials(bearer_of(headers), address)) if begin else None
