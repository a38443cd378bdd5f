"""A small HTTP/2 server for tests, strict about what it is sent: a coroutine of the test's answers each exchange."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Self

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from gateway_core.testing.authority import Authority

Codes = h2.errors.ErrorCodes


class Gone(Exception):
    """The client has left the exchange, or the connection is over."""


class Exchange:
    """A request, and the means to answer it. Sending raises Gone once the client has left."""

    def __init__(self, connection: "Connection", id: int, headers: Mapping[str, str]) -> None:  # noqa: A002  # as on the wire
        self.connection = connection
        self.id = id
        self.headers = headers
        self.body = bytearray()
        #: The request is here whole.
        self.asked = asyncio.Event()
        #: The client has left it; `code` is why.
        self.left = asyncio.Event()
        self.code: int | None = None
        #: Something about the windows has changed.
        self.room = asyncio.Event()

    def head(self, status: int = 200, *fields: tuple[str, str], end: bool = False) -> None:
        """Sends a head; 1xx ones may come before it."""
        self._check()
        self.connection.h2.send_headers(self.id, [(":status", str(status)), *fields], end_stream=end)
        self.connection.flush()

    async def data(self, data: bytes = b"", *, end: bool = False) -> None:
        """Sends a piece of the body, as fast as the client's windows let it."""
        while True:
            self._check()
            room = min(self.connection.h2.local_flow_control_window(self.id), 16_384)
            if room > 0 or not data:
                piece, data = data[:room], data[room:]
                self.connection.h2.send_data(self.id, piece, end_stream=end and not data)
                self.connection.flush()
                if not data:
                    return
            else:
                self.room.clear()
                await self.room.wait()

    def trailers(self, *fields: tuple[str, str]) -> None:
        """Ends the answer with them."""
        self._check()
        self.connection.h2.send_headers(self.id, list(fields), end_stream=True)
        self.connection.flush()

    def reset(self, code: int = Codes.INTERNAL_ERROR) -> None:
        """Cuts the exchange."""
        self._check()
        self.connection.h2.reset_stream(self.id, code)
        self.connection.flush()

    async def answer(self, body: bytes, status: int = 200, *fields: tuple[str, str]) -> None:
        """A whole answer."""
        self.head(status, *fields)
        await self.data(body, end=True)

    def leave(self, code: int | None) -> None:
        """The client has left."""
        self.code = code
        self.left.set()
        self.room.set()
        self.asked.set()

    def _check(self) -> None:
        if self.left.is_set():
            raise Gone


Handler = Callable[[Exchange], Awaitable[None]]


class Connection(asyncio.Protocol):
    """A client's connection. What the client does wrong is noted in `faults`."""

    def __init__(self, server: "Http2Server") -> None:
        self._server = server
        #: Exchanges that the client has begun.
        self.exchanges: dict[int, Exchange] = {}
        #: What was not allowed.
        self.faults: list[str] = []
        self.closed = asyncio.Event()
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TLS is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        chosen = transport.get_extra_info("ssl_object").selected_alpn_protocol()
        if chosen != "h2":
            self.faults.append(f"speaks {chosen}")
        self._server.connections.append(self)
        if self._server.silent:
            return
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=dict(self._server.settings))
        self.h2.initiate_connection()
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Frames of the client."""
        if self._server.silent:
            return
        try:
            for event in self.h2.receive_data(data):
                self._happened(event)
        except h2.exceptions.ProtocolError as error:
            self.faults.append(f"{type(error).__name__}: {error}")
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # as asyncio calls it
        """It is over."""
        self.closed.set()
        for exchange in self.exchanges.values():
            if not exchange.left.is_set():
                exchange.leave(None)

    def flush(self) -> None:
        """Sends what h2 has to say."""
        self.raw(self.h2.data_to_send())

    def raw(self, data: bytes) -> None:
        """Sends bytes that h2 does not know of."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def part(self, last: int, code: int = Codes.NO_ERROR) -> None:
        """GOAWAY, after which the connection goes on: h2 would not."""
        self.raw(b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + last.to_bytes(4) + int(code).to_bytes(4))

    def close(self, *, abort: bool = False) -> None:
        """Ends the connection."""
        if self._transport is not None:
            (self._transport.abort if abort else self._transport.close)()

    def _happened(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            headers: Any = dict(event.headers)  # decoded, as configured
            exchange = self.exchanges[event.stream_id] = Exchange(self, event.stream_id, headers)
            self._server.begin(exchange)
        elif isinstance(event, h2.events.DataReceived):
            self.exchanges[event.stream_id].body += event.data
            if self._server.takes:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.exchanges[event.stream_id].asked.set()
        elif isinstance(event, h2.events.StreamReset):
            self.exchanges[event.stream_id].leave(int(event.error_code))
        elif isinstance(event, h2.events.WindowUpdated | h2.events.RemoteSettingsChanged):
            for exchange in self.exchanges.values():
                exchange.room.set()
        elif isinstance(event, h2.events.ConnectionTerminated):
            self._server.partings.append(int(event.error_code or 0))


class Http2Server:
    """A server on loopback. `settings` are what it begins with; it runs `handler` for each exchange as it begins."""

    def __init__(self, authority: Authority, handler: Handler, **settings: int) -> None:
        codes = h2.settings.SettingCodes
        self.settings = {codes[name.upper()]: value for name, value in settings.items()}
        self._context = authority.server("localhost", "127.0.0.1")
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.connections: list[Connection] = []
        #: The codes of clients' farewells.
        self.partings: list[int] = []
        #: It gives back the windows of what it was sent.
        self.takes = True
        #: It says nothing at all.
        self.silent = False
        #: What it offers by ALPN.
        self.offers = ["h2", "http/1.1"]

    async def __aenter__(self) -> Self:
        self._context.set_alpn_protocols(self.offers)
        loop = self._loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), "127.0.0.1", 0, ssl=self._context)
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self.connections:
            connection.close(abort=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """Where it is."""
        assert self._server is not None
        return f"https://localhost:{self._server.sockets[0].getsockname()[1]}"

    @property
    def exchanges(self) -> list[Exchange]:
        """Every exchange of every connection."""
        return [exchange for connection in self.connections for exchange in connection.exchanges.values()]

    @property
    def faults(self) -> list[str]:
        """What clients did that they must not."""
        return [fault for connection in self.connections for fault in connection.faults]

    def why_left(self, exchange: Exchange) -> int | None:
        """For another thread: waits until the client has left an exchange, and gives its code."""
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(exchange.left.wait(), self._loop).result(10)
        return exchange.code

    def begin(self, exchange: Exchange) -> None:
        """Runs the handler."""
        task = asyncio.get_running_loop().create_task(self._run(exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, exchange: Exchange) -> None:
        with suppress(Gone, h2.exceptions.ProtocolError):
            await self._handler(exchange)


@contextmanager
def in_a_thread(authority: Authority, handler: Handler, **settings: int) -> Iterator[Http2Server]:
    """One with a loop of its own while the block lasts. Fails where a client did what it must not."""
    ready, loop, over = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    server = Http2Server(authority, handler, **settings)

    async def serve() -> None:
        async with server:
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    try:
        assert ready.wait(10)
        yield server
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()
    assert server.faults == []
