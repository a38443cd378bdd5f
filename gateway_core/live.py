"""The streams that are open now, and one look at all of them.

Once a second, at the gateway's pulse: long streams are checkpointed, all in one row; silent ones get a keep-alive
comment; those whose provider sends no event for too long, or takes too long in all, are cut, and those whose bearer was
revoked. One task for all, because a timer for each would cost more than the
stream does.
"""

import logging
from asyncio import Future
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gateway_core.delivery import Delivery
from gateway_core.dispatch import Dispatch
from gateway_core.errors import AuthError
from gateway_core.interrupt import Interrupt
from gateway_core.ports import Clock
from gateway_core.store_ports import Store
from gateway_core.types import Hold, Route, StreamState
from gateway_core.wire.chat import KEEP_ALIVE

if TYPE_CHECKING:
    from gateway_core.clients import Listener

log = logging.getLogger(__name__)

REVOCATION_LOOK = 4
"""A bearer is looked at every so many beats, so a revoked one ends its streams within 5 seconds."""


class LiveStream:
    """One open stream, as the pulse sees it."""

    __slots__ = ("client", "delivery", "expires_at", "hold", "interrupt", "opened", "route", "started", "touched")

    def __init__(
        self,
        hold: Hold,
        client: "Listener",
        interrupt: Interrupt,
        delivery: Delivery,
        opened: "Future[None]",
        started: float,
        expires_at: int | None,
    ) -> None:
        self.hold = hold
        #: When the bearer runs out by itself.
        self.expires_at = expires_at
        self.client = client
        self.interrupt = interrupt
        self.delivery = delivery
        #: Done once the call is on disk: no byte goes out before.
        self.opened = opened
        self.started = started
        #: When a keep-alive was last written.
        self.touched = started
        #: Who serves it, once somebody does.
        self.route: Route | None = None

    @property
    def ttft_ms(self) -> int | None:
        """Milliseconds to the first event that was written."""
        first = self.delivery.first_at
        return None if first is None else round((first - self.started) * 1000)


class LiveStreams:
    """Every open stream of one gateway."""

    def __init__(self, store: Store, dispatch: Dispatch, clock: Clock, silence: float) -> None:
        self._store = store
        self._dispatch = dispatch
        self._clock = clock
        #: Seconds without a byte after which a client gets a comment.
        self._silence = silence
        self._streams: set[LiveStream] = set()
        self._beats = 0
        self._checkpointed = False

    @contextmanager
    def track(self, stream: LiveStream) -> Iterator[None]:
        """Keeps the stream among the living while its block runs."""
        self._streams.add(stream)
        try:
            yield
        finally:
            self._streams.discard(stream)

    def cut_all(self, reason: StreamState) -> None:
        """Cuts every open stream."""
        for stream in self._streams:
            stream.interrupt.cut(reason)

    async def beat(self) -> None:
        """One look at every stream."""
        self._beats += 1
        self._cut_overdue()
        await self._comfort()
        if self._beats % REVOCATION_LOOK == 0:
            await self._cut_revoked()
        await self._checkpoint()

    async def _checkpoint(self) -> None:
        rows = [
            stream.delivery.checkpoint(stream.hold, stream.route, stream.ttft_ms)
            for stream in self._streams
            if stream.route is not None and stream.delivery.begun
        ]
        if rows or self._checkpointed:
            self._checkpointed = bool(rows)
            await self._store.ledger.checkpoint(rows)

    def _cut_overdue(self) -> None:
        """Cuts what its provider keeps waiting: comments that it sends are no events."""
        now = self._clock.monotonic()
        for stream in self._streams:
            if stream.route is None:
                continue  # the attempts have their own deadlines
            deadlines = stream.route.deadlines
            # Where something waits to be sent, it is the client that is waited for.
            silent = now - stream.delivery.last_at >= deadlines.idle and not stream.client.unsent()
            if silent or now - stream.started >= deadlines.total:
                stream.interrupt.cut("provider_error")

    async def _comfort(self) -> None:
        now = self._clock.monotonic()
        for stream in list(self._streams):
            last = max(stream.touched, stream.delivery.last_at)
            if now - last >= self._silence and stream.opened.done() and not stream.opened.exception():
                stream.touched = now
                if not stream.client.unsent():
                    await stream.client.write(KEEP_ALIVE)

    async def _cut_revoked(self) -> None:
        now = self._clock.now_ms()
        for stream in list(self._streams):
            expires = stream.expires_at
            if expires is not None and expires <= now:
                continue  # it was good when the call began, and ran out by itself
            try:
                await self._dispatch.authenticate(stream.client.credentials)
            except AuthError:
                stream.interrupt.cut("key_revoked")
