"""The streams that are open now, and one look at all of them.

Once a second, at the gateway's pulse: those that have moved are checkpointed, all in one row; silent ones get a
keep-alive comment; those whose provider sends no event for too long, or takes too long in all, are cut, and those whose
bearer was revoked. One task for all, because a timer for each would cost more than the stream does.

An open stream that nothing comes from costs a beat nothing, however many there are: none is looked at before the
earliest of its deadlines can have passed, bearers are known by themselves, and a delivery says when it has moved, so
that it is checkpointed. What `kill -9` loses is the same: on disk is what each stream had delivered by the last beat,
at most a second ago.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from gateway_core.delivery import Delivery
from gateway_core.dispatch import Dispatch
from gateway_core.errors import AuthError, GatewayError
from gateway_core.interrupt import Interrupt
from gateway_core.ports import Clock
from gateway_core.slots import Slots
from gateway_core.store_ports import Store
from gateway_core.types import Checkpoint, Credentials, Hold, Route, StreamState
from gateway_core.wire.chat import KEEP_ALIVE

if TYPE_CHECKING:
    from gateway_core.clients import Listener

log = logging.getLogger(__name__)

T = TypeVar("T")

PULSE = 1.0
"""Seconds between two beats."""

REVOCATION_LOOK = 4
"""A bearer is looked at every so many beats, so a revoked one ends its streams within 5 seconds."""

SLICE = 100
"""After so many other calls take their turn: thousands would keep them waiting for a long time."""


class LiveStream:
    """One open stream, as the pulse sees it."""

    __slots__ = (
        "client",
        "credentials",
        "delivery",
        "due",
        "expires_at",
        "hold",
        "interrupt",
        "opened",
        "route",
        "started",
        "touched",
    )

    def __init__(
        self,
        hold: Hold,
        client: "Listener",
        interrupt: Interrupt,
        delivery: Delivery,
        opened: "asyncio.Future[None]",
        started: float,
        expires_at: int | None,
    ) -> None:
        self.hold = hold
        #: When the bearer runs out by itself.
        self.expires_at = expires_at
        self.client = client
        #: Whose bearer it is, as long as it is open.
        self.credentials = client.credentials
        self.interrupt = interrupt
        self.delivery = delivery
        #: Done once the call is on disk: no byte goes out before.
        self.opened = opened
        self.started = started
        #: When a keep-alive was last written.
        self.touched = started
        #: Who serves it, once somebody does.
        self.route: Route | None = None
        #: When a deadline of its provider, or its client's wish for a comment, may have passed; not before.
        self.due = started

    @property
    def ttft_ms(self) -> int | None:
        """Milliseconds to the first event that was written."""
        first = self.delivery.first_at
        return None if first is None else round((first - self.started) * 1000)

    def look(self, now: float, silence: float) -> bool:
        """Cuts it where its provider keeps it waiting: comments that one sends are no events. True where the client
        has heard nothing for that many seconds, and is to be given a comment."""
        delivery, route = self.delivery, self.route
        waits = self.client.unsent() > 0  # then it is the client that is waited for
        self.due = now
        if route is not None:  # before, the attempts have their own deadlines
            deadlines = route.deadlines
            idle, last = delivery.last_at + deadlines.idle, self.started + deadlines.total
            if now >= last or (now >= idle and not waits):
                self.interrupt.cut("provider_error")
                return False
            self.due = min(idle, last)
        if not self.opened.done() or self.opened.exception():
            self.due = now
            return False
        comfort = max(self.touched, delivery.last_at) + silence
        if now < comfort:
            self.due = min(self.due, comfort)
            return False
        self.touched = now
        self.due = min(self.due, now + silence)
        return not waits

    def checkpoint(self) -> Checkpoint | None:
        """How far it has got, where anything that is billed was delivered."""
        delivery, route = self.delivery, self.route
        return None if route is None or not delivery.begun else delivery.checkpoint(self.hold, route, self.ttft_ms)


class LiveStreams:
    """Every open stream of one gateway."""

    def __init__(self, store: Store, dispatch: Dispatch, clock: Clock, silence: float) -> None:
        self._store = store
        self._dispatch = dispatch
        self._clock = clock
        #: Seconds without a byte after which a client gets a comment.
        self._silence = silence
        self._streams: set[LiveStream] = set()
        #: The same by when they are due, and by their bearers.
        self._due: Slots[LiveStream] = Slots(PULSE)
        self._bearers: dict[Credentials, set[LiveStream]] = {}
        #: Those that have moved since they were last checkpointed.
        self._moved: set[LiveStream] = set()
        self._beats = 0
        #: A checkpoint was made and may not be on disk.
        self._behind = False

    @contextmanager
    def track(self, stream: LiveStream) -> Iterator[None]:
        """Keeps the stream among the living while its block runs."""
        self._streams.add(stream)
        self._due.put(stream, stream.due)
        self._bearers.setdefault(stream.credentials, set()).add(stream)
        stream.delivery.on_move = partial(self._moved.add, stream)
        try:
            yield
        finally:
            stream.delivery.on_move = None
            self._streams.discard(stream)
            self._moved.discard(stream)
            self._due.drop(stream, stream.due)
            of_bearer = self._bearers[stream.credentials]
            of_bearer.discard(stream)
            if not of_bearer:
                del self._bearers[stream.credentials]

    def cut_all(self, reason: StreamState) -> None:
        """Cuts every open stream."""
        for stream in self._streams:
            stream.interrupt.cut(reason)

    async def beat(self) -> None:
        """One look at every stream of which something is due."""
        self._beats += 1
        await self._look()
        rows = await self._checkpoints()
        if self._beats % REVOCATION_LOOK == 0:
            await self._cut_revoked()
        if rows or self._behind:
            self._behind = True
            await self._store.ledger.checkpoint(rows)
            self._behind = False

    async def _look(self) -> None:
        for streams in _slices(self._due.take(self._clock.monotonic())):
            now = self._clock.monotonic()
            for stream in streams:
                # It may have ended while another one's comment was waited for: its connection is then another call's.
                if stream in self._streams:
                    await self._look_at(stream, now)
            await asyncio.sleep(0)

    async def _look_at(self, stream: LiveStream, now: float) -> None:
        """One stream's fault must not cost the others their look."""
        try:
            if stream.look(now, self._silence):
                await stream.client.write(KEEP_ALIVE)
        except Exception:
            log.exception("%s: it cannot be looked at", stream.hold.id)
        if stream in self._streams:
            self._due.put(stream, stream.due)

    async def _checkpoints(self) -> list[Checkpoint]:
        """Of each that has moved; from now on it says so anew."""
        moved = list(self._moved)
        self._moved.clear()
        rows: list[Checkpoint] = []
        for streams in _slices(moved):
            for stream in streams:
                if stream in self._streams:
                    stream.delivery.on_move = partial(self._moved.add, stream)
                    if (row := _reached(stream)) is not None:
                        rows.append(row)
            await asyncio.sleep(0)
        return rows

    async def _cut_revoked(self) -> None:
        """Looks at each bearer once, however many streams it has."""
        for bearers in _slices(self._bearers):
            for credentials in bearers:
                if await self._is_good(credentials):
                    continue
                now = self._clock.now_ms()
                for stream in self._bearers.get(credentials, ()):
                    if stream.expires_at is None or stream.expires_at > now:  # else it ran out by itself
                        stream.interrupt.cut("key_revoked")
            await asyncio.sleep(0)

    async def _is_good(self, credentials: Credentials) -> bool:
        try:
            await self._dispatch.authenticate(credentials)
        except AuthError:
            return False
        except GatewayError as error:  # nobody knows now: it is asked again
            log.warning("the bearer of an open stream cannot be looked at: %s", error)
        return True


def _reached(stream: LiveStream) -> Checkpoint | None:
    """A stream's checkpoint. One that none can be made of is cut: its plugin's fault must not cost others theirs."""
    try:
        return stream.checkpoint()
    except Exception:
        log.exception("%s: what it delivered cannot be counted", stream.hold.id)
        stream.interrupt.cut("provider_error")
        return None


def _slices(things: Iterable[T]) -> Iterator[list[T]]:
    """All of them as they are now."""
    everything = list(things)
    for start in range(0, len(everything), SLICE):
        yield everything[start : start + SLICE]
