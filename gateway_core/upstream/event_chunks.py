"""A provider's events as an answer's chunks: one by one for who waits, or poured as they come."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from gateway_core.errors import ProviderFault
from gateway_core.ports import EventStream, Give, Poured, UpstreamResponse
from gateway_core.types import Batch, Chunk, Run
from gateway_core.upstream.alike import Alike, Framing, framing_of, said

UNFINISHED = "ended a stream before its answer was finished"
"""What is said of a provider whose stream is over, and its answer is not."""


class Reader(Protocol):
    """What a provider knows of its own events. One for each answer."""

    @property
    def finished(self) -> bool:
        """The provider has said its last word: whatever follows is not read."""

    @property
    def alike(self) -> Alike | None:
        """What most of its events are like, where that is known."""

    def read(self, events: Sequence[bytes]) -> tuple[Batch, ProviderFault | None]:
        """What one read brought: its chunks, and the fault that came after them."""

    def run(self, tokens: Sequence[bytes]) -> Run | None:
        """The events with these tokens, which are `alike`; None where they must be read one by one."""

    def keeps(self) -> bool:
        """Something must be kept before the chunks that were read last may be seen."""

    async def keep(self) -> None:
        """Keeps it."""

    def end(self) -> Batch:
        """Nothing more comes: what is still to be said. Raises Unavailable where the answer is not finished."""


class RunReader:
    """A `Reader` that reads events which are alike as runs, but for what one says, what it keeps and how it ends."""

    __slots__ = ("alike", "finished")

    def __init__(self) -> None:
        self.alike: Alike | None = None
        self.finished = False

    def add(self, data: bytes, batch: list[Chunk | Run]) -> None:
        """Adds what one event says, and notes whether it was the last and what is alike to it.

        Raises a ProviderFault.
        """
        raise NotImplementedError

    def read(self, events: Sequence[bytes]) -> tuple[Batch, ProviderFault | None]:
        """What one read brought: its chunks, and the fault that came after them."""
        batch: list[Chunk | Run] = []
        at = singly = 0  # up to `singly` one by one, since these cannot be read as one run
        while at < len(events) and not self.finished:
            if at >= singly:
                run, many = self.run_from(events, at)
                if run is not None:
                    batch.append(run)
                    at += many
                    continue
                singly = at + many
            try:
                if events[at]:
                    self.add(events[at], batch)
            except ProviderFault as met:
                return batch, met
            at += 1
        return batch, None

    def run_from(self, events: Sequence[bytes], at: int) -> tuple[Run | None, int]:
        """The events from that place on that are alike, as one run; None where they must be read one by one.

        And how many they are.
        """
        tokens = self.alike.tokens(events, at) if self.alike is not None else ()
        return (self.run(tokens) if tokens else None), len(tokens)

    def run(self, tokens: Sequence[bytes]) -> Run | None:
        """The events with these tokens, which are `alike`; None where they must be read one by one."""
        texts = said(tokens)
        return None if texts is None or self.alike is None else Run(self.alike.shape, tokens, texts)


class EventReader(RunReader):
    """The same for events that are at most a chunk each.

    `decode` gives None for an event that says nothing, and raises a ProviderFault.
    """

    __slots__ = ("_decode",)

    def __init__(self, decode: Callable[[bytes], Chunk | None]) -> None:
        super().__init__()
        self._decode = decode

    def add(self, data: bytes, batch: list[Chunk | Run]) -> None:
        """Adds what one event says."""
        chunk = self._decode(data)
        if chunk is not None:
            batch.append(chunk)


class EventChunks(Poured):
    """`ports.Chunks` over an upstream's events."""

    __slots__ = ("_closed", "_ended", "_events", "_fault", "_framing", "_give", "_held", "_reader", "_response")

    def __init__(self, response: UpstreamResponse, reader: Reader) -> None:
        self._response = response
        self._reader = reader
        self._events: EventStream | None = None
        #: Told once the chunks before it were.
        self._fault: ProviderFault | None = None
        #: Chunks that may not be seen yet.
        self._held: Batch | None = None
        self._give: Give = _nobody
        #: How events that are alike come in, where that is known and the next piece begins with an event.
        self._framing: Framing | None = None
        self._ended = False
        self._closed = False

    def __aiter__(self) -> "EventChunks":
        return self

    async def __anext__(self) -> Batch:
        try:
            return await self._next()
        except BaseException:
            await self.aclose()
            raise

    async def _next(self) -> Batch:
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
        self._events = stream = self._events or self._response.events()
        ended = False
        while not ended and not reader.finished:
            if await self._response.pour(self._take):
                ended = True
                self._read(stream.finish())
            if self._held is not None:
                held, self._held = self._held, None
                await reader.keep()
                give(held)
            if self._fault is not None:
                raise self._fault
            if not ended and not reader.finished:
                await drained()
        self._ended = True
        if last := reader.end():
            give(last)

    def _take(self, piece: bytes) -> bool:
        """What one read brought; False where something is to be done before the next."""
        framing = self._framing
        if framing is not None and (token := framing.token(piece)) is not None:
            run = self._reader.run((token,))
            if run is not None:
                return self._give((run,))
        return self._take_other(piece)

    def _take_other(self, piece: bytes) -> bool:
        """The same of a read that is not known to be one event that is alike."""
        stream, reader = self._events, self._reader
        assert stream is not None, "what is poured has begun"  # noqa: S101  # a bug of ours, not a condition
        began_with_event = stream.between
        events = stream.push(piece)
        wants_more = self._read(events)
        framing, alike = self._framing, reader.alike
        if framing is not None and framing.alike is not alike:
            framing = None
        if began_with_event and len(events) == 1 and alike is not None and alike.tokens(events):
            framing = framing_of(alike, piece, events[0], stream.limit)
        self._framing = framing if stream.between else None
        return wants_more

    def _read(self, events: Sequence[bytes]) -> bool:
        """What some events say; False where something is to be done before the next."""
        if not events:
            return True
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


def _nobody(batch: Batch) -> bool:  # noqa: ARG001  # a Give
    """Nothing is poured yet."""
    return False
