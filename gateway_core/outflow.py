"""A stream on its way to its client: each batch is written as it comes, and counted once it was written."""

from gateway_core.clients import Line, Listener
from gateway_core.delivery import Delivery
from gateway_core.interrupt import Interrupt
from gateway_core.ports import Chunks, Clock, Poured
from gateway_core.types import Batch
from gateway_core.wire.chat import ChunkEncoder


class Gone(Exception):
    """The connection is gone, and nothing more was written."""


class Outflow:
    """One stream's way from its provider's chunks to its client's connection. Raises Gone, and the provider's faults.

    Where the client's connection takes bytes without waiting (`Line`) and the answer can be poured, an event is
    written in the very callback that brought it. Otherwise each batch is waited for, and so is its writing.
    """

    def __init__(
        self, client: Listener, delivery: Delivery, encoder: ChunkEncoder, interrupt: Interrupt, clock: Clock
    ) -> None:
        self._client = client
        self._delivery = delivery
        self._encode = encoder.encode
        self._interrupt = interrupt
        self._now = clock.monotonic
        self._line: Line | None = None

    async def pour(self, first: Batch, rest: Chunks) -> None:
        """All of it, to its provider's end."""
        self._delivery.last_at = self._now()
        self._line = self._client.line()
        if self._line is not None and isinstance(rest, Poured):
            if not self._give(first):
                await self._line.drained()
            await rest.pour(self._give, self._line.drained)
            return
        await self._write(first)
        async for batch in rest:
            await self._write(batch)

    def _give(self, batch: Batch) -> bool:
        line = self._line
        if line is None or self._interrupt.reason is not None:
            return False  # it is being cut: nothing more of it is delivered
        data = self._encode(batch)
        if not data:
            self._delivery.note_usage(batch)
            return True
        taken = line.put(data)
        if taken is None:
            self._delivery.note_usage(batch)
            raise Gone
        written, unsent = taken
        self._delivery.note_written(batch, data, written, unsent, self._now())
        return not unsent or not line.full()

    async def _write(self, batch: Batch) -> None:
        client, delivery = self._client, self._delivery
        delivery.note_usage(batch)
        data = self._encode(batch)
        if data:
            if not await client.write(data):
                raise Gone
            delivery.note_written(batch, data, client.written(), client.unsent(), self._now())
