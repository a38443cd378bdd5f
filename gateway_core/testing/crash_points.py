"""A plugin that kills its own process at a named point: what the crash harness arms. `[plugins.crash-points]`.

It comes in through the door that every plugin uses and puts itself around the parts that it is given at start, so the
line of a call has no word of it. It is also a sink: what it was given is in a file, one line a record.
"""

import os
import signal
from asyncio import Future
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gateway_core.hookspecs import API, hookimpl
from gateway_core.ports import EventStream, UpstreamRequest, UpstreamResponse
from gateway_core.services import Services
from gateway_core.types import Record

POINTS = ("before_open", "after_open", "mid_stream", "before_settle", "after_settle", "before_audit", "after_audit")
"""Around the open row, in the middle of a provider's stream, around the settlement, around a sink's delivery."""


class CrashSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to die; with an empty `point` nowhere."""

    point: str = ""
    #: At which passing of the point, from 1.
    passing: int = 1
    #: The sink's file.
    sink: str = ""


class Plugin:
    """Kills its process at the n-th passing of one point."""

    API = API
    Settings = CrashSettings

    def __init__(self, settings: CrashSettings) -> None:
        self._point = settings.point
        self._left = settings.passing
        self._sink = Path(settings.sink) if settings.sink else None

    def _passes(self, point: str) -> None:
        if point != self._point:
            return
        self._left -= 1
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    @hookimpl
    async def startup(self, services: Services) -> None:
        """Puts itself around the ledger and the connections to providers; recovery passes the points, too."""
        ledger = services.store.ledger
        for name in ("open", "settle"):
            setattr(ledger, name, self._around(name, getattr(ledger, name)))
        send = services.upstream.send

        async def watched(request: UpstreamRequest) -> Any:
            return _Watched(await send(request), lambda: self._passes("mid_stream"))

        setattr(services.upstream, "send", watched)  # noqa: B010  # an attribute of this one object, not of its class

    def _around(self, name: str, write: Callable[..., "Future[Any]"]) -> Any:
        def written(*arguments: Any) -> "Future[Any]":
            self._passes(f"before_{name}")
            future = write(*arguments)
            future.add_done_callback(lambda _: self._passes(f"after_{name}"))
            return future

        return written

    @hookimpl
    async def emit_audit(self, record: Record) -> None:
        """Appends the record to the file."""
        self._passes("before_audit")
        if self._sink is not None:
            with self._sink.open("ab") as file:
                file.write(msgspec.json.encode([record.account_id, record.sequence, record.id]) + b"\n")
        self._passes("after_audit")


class _Watched:
    """A provider's answer that tells of each read of its events."""

    def __init__(self, response: UpstreamResponse, passes: Callable[[], None]) -> None:
        self._response = response
        self._passes = passes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._response, name)

    def events(self) -> "_WatchedEvents":
        """The answer's own events."""
        return _WatchedEvents(self._response.events(), self._passes)

    async def pour(self, take: Callable[[bytes], bool]) -> bool:
        """The same, poured."""

        def passing(piece: bytes) -> bool:
            self._passes()
            return take(piece)

        return await self._response.pour(passing)


class _WatchedEvents:
    """The events of such an answer."""

    def __init__(self, events: EventStream, passes: Callable[[], None]) -> None:
        self._events = events
        self._passes = passes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._events, name)

    def __aiter__(self) -> "_WatchedEvents":
        return self

    async def __anext__(self) -> Sequence[bytes]:
        events = await anext(self._events)
        self._passes()
        return events
