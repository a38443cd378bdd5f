"""A call over our own server's connection, without ASGI in between.

It stands where uvicorn's cycle of request and response stands for all other requests, and does for the one hot path
what that does, without a scope, without two dictionaries for each message, and with one write for head and body.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from gateway_core.delivery import Taken
from gateway_core.edge.errors import Headers
from gateway_core.edge.guard import ClientGone, check_body_headers, too_large

if TYPE_CHECKING:
    from gateway_core.edge.protocol import GuardedProtocol

log = logging.getLogger(__name__)


class DirectExchange:
    """`exchange.Exchange` on a connection of ours. The connection tells it what comes in."""

    __slots__ = (
        "_before",
        "_connection",
        "_head",
        "_limit",
        "_more",
        "_pieces",
        "_size",
        "_task",
        "_waiter",
        "disconnected",
        "headers",
        "keep_alive",
        "peer",
        "request_id",
        "response_complete",
        "started",
    )

    def __init__(self, connection: "GuardedProtocol", headers: Headers, *, keep_alive: bool) -> None:
        self.request_id = connection.ids.new()
        self.headers = headers
        self.peer = connection.peer
        self.started = False
        self._connection = connection
        self._before = connection.written
        self._head = b""
        self._pieces: list[bytes] = []
        self._size = 0
        self._more = True
        #: The most that the body may have; below 0 until somebody wants it.
        self._limit = -1
        self._waiter: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        # By these names uvicorn's protocol knows what is under way on it.
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_complete = False

    @property
    def message_event(self) -> "DirectExchange":
        """What uvicorn's protocol tells of a loss. No attribute: each call would be garbage that refers to itself."""
        return self

    @property
    def response_started(self) -> bool:
        """By this name uvicorn's protocol knows it."""
        return self.started

    async def run(self, call: "Callable[[DirectExchange], Awaitable[None]]") -> None:
        """The call, as a task of its own. An answer that it left without an end is one that must not look whole."""
        try:
            await call(self)
        except Exception:
            log.exception("a call failed")
        finally:
            connection = self._connection
            connection.tasks.discard(self._task)
            self._task = None
            if not self.response_complete and not self.disconnected:
                connection.transport.close()

    def begin_task(self, call: "Callable[[DirectExchange], Awaitable[None]]") -> None:
        """Starts it; the server knows of it until it is over."""
        self._task = self._connection.loop.create_task(self.run(call))
        self._connection.tasks.add(self._task)

    # ------------------------------------------------------------ what the connection tells

    def came(self, piece: bytes) -> None:
        """A part of the body. Until somebody wants it, no more is read than uvicorn would."""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._limit < 0:
            if self._size > HIGH_WATER_LIMIT:
                self._connection.flow.pause_reading()
        elif self._size > self._limit:
            self.set()

    def whole(self) -> None:
        """The body has come."""
        self._more = False
        self.set()

    def set(self) -> None:
        """Something has changed for whoever waits for the body: by this name uvicorn's protocol tells of a loss."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ------------------------------------------------------------ in

    @property
    def has_body(self) -> bool:
        """Whether the body is here already."""
        return not self._more

    async def body(self, limit: int) -> bytes:
        """The whole body."""
        check_body_headers(self.headers, limit)
        self._limit = limit
        connection = self._connection
        while self._more and self._size <= limit and not self.disconnected:
            connection.flow.resume_reading()
            self._waiter = connection.loop.create_future()
            await self._waiter
        if self._size > limit:
            raise too_large(limit)
        if self._more:
            raise ClientGone
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def watch(self, on_gone: Callable[[], None]) -> None:
        """Calls that once when the client goes."""
        self._connection.watch(on_gone)

    def forget(self, on_gone: Callable[[], None]) -> None:
        """That one wants to know no more."""
        self._connection.forget(on_gone)

    # ------------------------------------------------------------ out

    def lost(self) -> bool:
        """Whether the client can be told nothing more."""
        closing: bool = self._connection.transport.is_closing()
        return closing

    async def answer(self, headers: Headers, body: bytes) -> bool:
        """Sends a whole answer; False where the connection was gone."""
        if self._connection.flow.write_paused:
            await self.drained()
        return self._send_whole(200, headers, body)

    async def refuse(self, status: int, headers: Headers, body: bytes) -> None:
        """Sends an answer other than a completion; its headers say its length, and whether it is the last one."""
        if (b"connection", b"close") in headers:
            headers.remove((b"connection", b"close"))
            self.keep_alive = False
        await self.drained()
        self._send_whole(status, [header for header in headers if header[0] != b"content-length"], body)

    def _send_whole(self, status: int, headers: Headers, body: bytes) -> bool:
        self.started = True
        head = self._written_head(status, headers, b"content-length: %d\r\n" % len(body))
        written = self._connection.write(head + body)
        self._complete()
        return written

    def begin(self, headers: Headers) -> None:
        """A stream's head, which goes out with its first bytes."""
        self.started = True
        self._head = self._written_head(200, headers, b"transfer-encoding: chunked\r\n")

    async def write(self, data: bytes) -> bool:
        """Sends a part of a stream; False where the connection was gone."""
        await self.drained()
        return self.put(data) is not None

    def put(self, data: bytes) -> tuple[int, int] | None:
        """The same at once: the bytes that were written to the connection, and how many of them wait here."""
        framed = b"%x\r\n%b\r\n" % (len(data), data)
        if self._head:
            framed, self._head = self._head + framed, b""
        connection = self._connection
        transport = connection.transport
        if transport.is_closing():
            return None
        connection.written = written = connection.written + len(framed)
        transport.write(framed)
        return written, transport.get_write_buffer_size()

    def full(self) -> bool:
        """Whether so much waits that nothing more should be put."""
        return self._connection.flow.write_paused and not self.disconnected

    async def drained(self) -> None:
        """Returns when little waits."""
        if self.full():
            await self._connection.flow.drain()

    async def finish(self, data: bytes) -> None:
        """Sends a stream's last part, and its end."""
        connection = self._connection
        await self.drained()
        framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"
        connection.write(self._head + framed)
        self._complete()

    def _written_head(self, status: int, headers: Headers, framing: bytes) -> bytes:
        block = b"".join([b"%b: %b\r\n" % header for header in headers])
        if block.count(b"\n") != len(headers) or block.count(b"\r") != len(headers):
            raise ValueError("a header of the answer has a line break in it")
        return b"%b%b%b%b%b\r\n" % (
            STATUS_LINE[status],
            self._connection.common_headers(self.request_id),
            block,
            b"" if self.keep_alive else b"connection: close\r\n",
            framing,
        )

    def _complete(self) -> None:
        self.response_complete = True
        if not self.keep_alive:
            self._connection.transport.close()
        self._connection.answered()

    def written(self) -> int:
        """Bytes that were given to the connection since it began."""
        return self._connection.written

    def unsent(self) -> int:
        """Bytes written that the kernel has not taken yet."""
        return self._connection.unsent()

    def hang_up(self) -> Taken | None:
        """Ends the connection at once; what the kernel had taken."""
        return self._connection.hang_up_after(self._before)
