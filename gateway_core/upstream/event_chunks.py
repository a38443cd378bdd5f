"""A provider's events as an answer's chunks: one by one for who waits, or poured as they come."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

from gateway_core.errors import ProviderFault
from gateway_core.ports import Give, UpstreamResponse
from gateway_core.types import Chunk

UNFINISHED = "ended a stream before its answer was finished"
"""What is said of a provider whose stream is over, and its answer is not."""


class Reader(Protocol):
    """What a provider knows of its own events. One for each answer."""

    @property
    def finished(self) -> bool:
        """The provider has said its last word: whatever follows is not read."""

    def read(self, events: Sequence[bytes]) -> tuple[list[Chunk], ProviderFault | None]:
        """What one read brought: its chunks, and the fault that came after them."""

    def keeps(self) -> bool:
        """Something must be kept before the chunks that were read last may be seen."""

    async def keep(self) -> None:
        """Keeps it."""

    def end(self) -> Sequence[Chunk]:
        """Nothing more comes: what is still to be said. Raises Unavailable where the answer is not finished."""


class EventReader:
    """A `Reader` of events that are at most a chunk each, but for what it keeps and how it ends.

    `decode` gives None for an event that says nothing, and raises a ProviderFault.
    """

    __slots__ = ("_decode",)

    def __init__(self, decode: Callable[[bytes], Chunk | None]) -> None:
        self._decode = decode

    def read(self, events: Sequence[bytes]) -> tuple[list[Chunk], ProviderFault | None]:
        """What one read brought: its chunks, and the fault that came after them."""
        decode = self._decode
        chunks: list[Chunk] = []
        for data in events:
            if data:
                try:
                    chunk = decode(data)
                except ProviderFault as met:
                    return chunks, met
                if chunk is not None:
                    chunks.append(chunk)
        return chunks, None


class EventChunks:
    """`ports.Chunks` over an upstream's events."""

    __slots__ = ("_closed", "_ended", "_events", "_fault", "_give", "_held", "_reader", "_response")

    def __init__(self, response: UpstreamResponse, reader: Reader) -> None:
        self._response = response
        self._reader = reader
        self._events: AsyncIterator[Sequence[bytes]] | None = None
        #: Told once the chunks before it were.
        self._fault: ProviderFault | None = None
        #: Chunks that may not be seen yet.
        self._held: list[Chunk] | None = None
        self._give: Give = _nobody
        self._ended = False
        self._closed = False

    def __aiter__(self) -> "EventChunks":
        return self

    async def __anext__(self) -> Sequence[Chunk]:
        try:
            return await self._next()
        except BaseException:
            await self.aclose()
            raise

    async def _next(self) -> Sequence[Chunk]:
        reader = self._reader
        if self._events is None and not self._closed:  # not before: it may raise, and then the answer must be closed
            self._events = self._response.events()
        while not self._ended and not self._closed:
            if self._fault is not None:
                raise self._fault
            events = None if reader.finished or self._events is None else await anext(self._events, None)
            if events is None:
                self._ended = True
                chunks = reader.end()
            else:
                chunks, self._fault = reader.read(events)
                if reader.keeps():
                    await reader.keep()
            if chunks:
                return chunks
        raise StopAsyncIteration

    async def pour(self, give: Give, drained: Callable[[], Awaitable[None]]) -> None:
        """Gives each further batch to `give` in the very callback that brought it; where that has enough for now,
        `drained` is waited for. Returns at the provider's own end, and raises as an iterator would."""
        reader = self._reader
        self._give = give
        if self._fault is not None:  # it came with what was waited for
            raise self._fault
        if self._ended:
            return
        while True:
            ended = reader.finished or await self._response.pour(self._take)
            if self._held is not None:
                held, self._held = self._held, None
                await reader.keep()
                give(held)
            if self._fault is not None:
                raise self._fault
            if ended or reader.finished:
                break
            await drained()
        self._ended = True
        if last := reader.end():
            give(last)

    def _take(self, events: Sequence[bytes]) -> bool:
        """What one read brought; False where something is to be done before the next."""
        reader = self._reader
        chunks, self._fault = reader.read(events)
        if reader.keeps():
            self._held = chunks
            return False
        wants_more = not chunks or self._give(chunks)
        return wants_more and self._fault is None and not reader.finished

    async def aclose(self) -> None:
        """Gives the connection back, or cuts it where the answer is not over."""
        if not self._closed:
            self._closed = True
            await self._response.close(finished=self._ended or self._reader.finished)


def _nobody(chunks: Sequence[Chunk]) -> bool:  # noqa: ARG001  # a Give
    """Nothing is poured yet."""
    return False
