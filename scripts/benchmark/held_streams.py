"""A client that holds many streams open on one loop and counts what comes: for CPU an event, and memory a stream."""

import asyncio
import contextlib
import resource
from typing import Self, cast

import uvloop


class Held(asyncio.Protocol):
    """One stream."""

    def __init__(self, request: bytes, counts: "Counts") -> None:
        self._request = request
        self._counts = counts
        self._began = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._began:
            self._began = True
            self._counts.opened += data.startswith(b"HTTP/1.1 200")
            self._counts.changed.set()
        self._counts.events += data.count(b"data:")

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._counts.lost += 1
        self._counts.changed.set()


class Counts:
    """Of all streams together."""

    def __init__(self) -> None:
        self.opened = 0
        self.events = 0
        self.lost = 0
        #: Set when a stream opens or is lost.
        self.changed = asyncio.Event()

    async def reach(self, streams: int) -> None:
        """Returns when so many have opened or were lost."""
        while self.opened + self.lost < streams:
            self.changed.clear()
            await self.changed.wait()


class Crowd:
    """All streams: `open`, then `watch` as often as is wanted; leaving the block cuts them."""

    def __init__(self, port: int, request: bytes) -> None:
        self._port = port
        self._request = request
        self._transports: list[asyncio.BaseTransport] = []
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.counts = Counts()

    def __enter__(self) -> Self:
        self._runner.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._runner.run(self._cut())
        self._runner.close()

    def open(self, streams: int, patience: float = 120) -> int:
        """Opens so many, fifty at a time; how many have begun."""
        return self._runner.run(self._open(streams, patience))

    def watch(self, seconds: float) -> int:
        """The events of so many seconds."""
        before = self.counts.events
        self._runner.run(asyncio.sleep(seconds))
        return self.counts.events - before

    async def _open(self, streams: int, patience: float) -> int:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._open_all(streams, loop)
        return self.counts.opened

    async def _open_all(self, streams: int, loop: asyncio.AbstractEventLoop) -> None:
        while len(self._transports) < streams:
            group = min(50, streams - len(self._transports))
            made = [
                loop.create_connection(lambda: Held(self._request, self.counts), "127.0.0.1", self._port)
                for _ in range(group)
            ]
            self._transports += [transport for transport, _ in await asyncio.gather(*made)]
            await self.counts.reach(len(self._transports))

    async def _cut(self) -> None:
        for transport in self._transports:
            cast("asyncio.Transport", transport).abort()
        while self.counts.lost < len(self._transports):
            self.counts.changed.clear()
            await self.counts.changed.wait()


def allow_files() -> int:
    """Lets this process, and those that it starts, open as many files as may be; how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most
