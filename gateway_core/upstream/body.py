"""An answer's body from its pieces, the same for every client: whole and bounded, or event by event."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from gateway_core.errors import Unavailable
from gateway_core.upstream.faults import too_large
from gateway_core.wire.sse import SSEDecoder

NextPiece = Callable[[], Awaitable[bytes]]
"""Waits for the next piece of a body; b"" at its end."""


async def whole(next_piece: NextPiece, limit: int) -> bytes:
    """The whole body, at most `limit` bytes; raises Unavailable beyond that."""
    pieces: list[bytes] = []
    size = 0
    while piece := await next_piece():
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            raise Unavailable(too_large(limit))
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def events_of(next_piece: NextPiece, limit: int) -> AsyncIterator[Sequence[bytes]]:
    """The data of the server-sent events that each piece completed; none may have more than `limit` bytes."""
    decoder = SSEDecoder(limit)
    while piece := await next_piece():
        if events := decoder.push(piece):
            yield events
    if events := decoder.finish():
        yield events
