"""An answer's body from its pieces, the same for every client: whole and bounded, or event by event."""

from collections.abc import Awaitable, Callable, Sequence

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


class Events(SSEDecoder):
    """`ports.EventStream`: the data of the server-sent events that each piece completed.

    An iterator and no generator: one that is left in the middle would cost a task to be closed.
    """

    __slots__ = ("_ended", "_next_piece")

    def __init__(self, next_piece: NextPiece, limit: int) -> None:
        super().__init__(limit)
        self._next_piece = next_piece
        self._ended = False

    def __aiter__(self) -> "Events":
        return self

    async def __anext__(self) -> Sequence[bytes]:
        while not self._ended:
            piece = await self._next_piece()
            self._ended = not piece
            events = self.push(piece) if piece else self.finish()
            if events:
                return events
        raise StopAsyncIteration
