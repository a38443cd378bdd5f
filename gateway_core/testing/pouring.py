"""A stream as its client gets it, from the bytes that its provider sends: without sockets, cut into any reads."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from gateway_core.clock import SystemClock
from gateway_core.delivery import Delivery, Taken
from gateway_core.errors import ProviderFault
from gateway_core.interrupt import Interrupt
from gateway_core.outflow import Outflow
from gateway_core.types import Chunk, Run, Usage
from gateway_core.upstream.alike import Alike
from gateway_core.upstream.body import Events
from gateway_core.upstream.event_chunks import EventChunks, Reader, RunReader
from gateway_core.wire.chat import ChunkEncoder


class ReadAnswer:
    """`ports.UpstreamResponse` whose body comes in these reads."""

    status = 200
    headers: Mapping[str, str] = {}
    retry_after: float | None = None

    def __init__(self, reads: Sequence[bytes], limit: int = 1024 * 1024) -> None:
        self._reads: Iterator[bytes] = iter(reads)
        self._events = Events(self._next, limit)
        #: How it was closed; None until then.
        self.closed: bool | None = None

    async def _next(self) -> bytes:
        return next(self._reads, b"")

    async def read(self, limit: int | None = None) -> bytes:
        """Whatever is left."""
        del limit
        return b"".join(self._reads)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The reads."""
        for piece in self._reads:
            yield piece

    def events(self) -> Events:
        """The body as server-sent events."""
        return self._events

    async def pour(self, take: Callable[[bytes], bool]) -> bool:
        """The reads, at once."""
        return all(map(take, self._reads))

    async def close(self, *, finished: bool = False) -> None:
        """Once."""
        assert self.closed is None, "closed twice"  # it is a test's
        self.closed = finished


class Unlike(RunReader):
    """Mixed into a provider's reader: nothing is known to be alike, so it reads each event whole."""

    @property
    def alike(self) -> None:
        """Nothing."""
        return

    @alike.setter
    def alike(self, alike: Alike | None) -> None:
        """What is noted is lost: that is the purpose."""


class Counting(RunReader):
    """Mixed into a provider's reader: counts the events that it reads whole."""

    added = 0

    def add(self, data: bytes, batch: list[Chunk | Run]) -> None:
        """One more."""
        self.added += 1
        super().add(data, batch)


class Received(Struct):
    """What a client got, and the account of it. `fault`: what ended the stream, where not its provider's end."""

    data: bytes
    texts: Sequence[str]
    finished: int
    usage: Usage | None
    fields: Any
    fault: str | None


class _Client:
    """A connection that takes so many bytes and no more: those that follow wait, until it is lost."""

    def __init__(self, takes: int, *, pours: bool) -> None:
        self.data = b""
        self._takes = takes
        self._pours = pours
        self._written = 0

    def line(self) -> "_Client | None":
        return self if self._pours else None

    async def write(self, data: bytes) -> bool:
        """Waits for nothing either."""
        self.put(data)
        return True

    def written(self) -> int:
        return self._written

    def unsent(self) -> int:
        return max(0, self._written - self._takes)

    def put(self, data: bytes) -> tuple[int, int]:
        self.data += data
        self._written += len(b"%x\r\n%b\r\n" % (len(data), data))
        return self._written, self.unsent()

    def full(self) -> bool:
        return True

    async def drained(self) -> None:
        """What waits is not waited for: it goes when the connection is lost."""


async def received(
    reads: Sequence[bytes], reader: Reader, *, takes: int = 2**40, limit: int = 1024 * 1024, pours: bool = True
) -> Received:
    """What a client gets of these reads, who is lost at the end when its kernel has taken `takes` bytes: as they come,
    or where each write is waited for."""
    client: Any = _Client(takes, pours=pours)
    delivery = Delivery(1, 0)
    encoder = ChunkEncoder("chatcmpl-1", "m", 1)
    chunks = EventChunks(ReadAnswer(reads, limit), reader)
    fault = None
    try:
        async for first in chunks:
            await Outflow(client, delivery, encoder, Interrupt(), SystemClock()).pour(first, chunks)
            break
    except ProviderFault as met:
        fault = met.detail
    await chunks.aclose()
    delivery.forget_unsent(Taken(0))
    return Received(client.data, delivery.texts, delivery.finished, delivery.usage, delivery.usage_fields, fault)


def cut(body: bytes, cuts: set[int]) -> list[bytes]:
    """The body in reads that end there."""
    ends = [*sorted(at for at in cuts if 0 < at < len(body)), len(body)]
    return [body[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
