"""What a provider sends over HTTP/2, frame by frame, without its farewells.

For h2 a GOAWAY is the end of the connection, and every frame behind it a fault. A server that is about to restart,
or has served its thousandth request, means the end of new exchanges only: those that run are answered whole.
"""

import httpcore2

MOST_FRAME = 16 * 1024
"""Bytes of a frame: no more was allowed. h2 says so only when all of it is there."""

_HEADER = 9
_GOAWAY = 7


class Frames:
    """Cuts what comes into frames."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> tuple[bytes, list[int]]:
        """The frames that are whole now, but not the farewells: of each the last exchange that is still served.

        Raises RemoteProtocolError for a frame that is too long.
        """
        held = self._held
        held += data
        at = kept = 0
        passed: list[bytes] = []
        partings: list[int] = []
        while len(held) - at >= _HEADER:
            length = int.from_bytes(held[at : at + 3])
            if length > MOST_FRAME:
                raise httpcore2.RemoteProtocolError("a frame that is too long")
            end = at + _HEADER + length
            if len(held) < end:
                break
            if held[at + 3] == _GOAWAY and length >= 8:
                partings.append(int.from_bytes(held[at + _HEADER : at + _HEADER + 4]) & 0x7FFFFFFF)
                passed.append(bytes(held[kept:at]))
                kept = end
            at = end
        passed.append(bytes(held[kept:at]))
        del held[:at]
        return b"".join(passed), partings
