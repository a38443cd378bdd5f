"""A call's client on our own server's connection, without ASGI in between.

It stands where uvicorn's cycle of request and response stands for all other requests, and does for the one hot path
what that does, without a scope, without two dictionaries for each message, and with one write for head and body.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from gateway_core.delivery import Taken
from gateway_core.edge.errors import Headers
from gateway_core.edge.guard import ClientGone, bearer_of, check_body_headers, idempotency_key_of, too_large
from gateway_core.interrupt import Interrupt
from gateway_core.money import Units
from gateway_core.store_ports import KeptAnswer
from gateway_core.types import Credentials, LimitState

if TYPE_CHECKING:
    from gateway_core.edge.protocol import GuardedProtocol


class DirectClient:
    """`clients.Client` on a connection of ours. The connection tells it what comes in."""

    __slots__ = (
        "_before",
        "_connection",
        "_head",
        "_interrupt",
        "_limit",
        "_pieces",
        "_size",
        "_waiter",
        "address",
        "credentials",
        "disconnected",
        "has_body",
        "headers",
        "here",
        "keep_alive",
        "limits",
        "replayed",
        "request_id",
        "response_complete",
        "started",
        "task",
        "tier",
    )

    #: Set by `read_head`, or with a head that is known. Until then there are none: nobody is taken for anonymous.
    credentials: Credentials

    def __init__(
        self,
        connection: "GuardedProtocol",
        address: str,
        headers: Headers | None,
        keep_alive: bool,  # by its name it would cost each call a dict
    ) -> None:
        self.request_id = connection.ids.new()
        #: The client's, after trusted proxies.
        self.address = address
        #: The request's, until they are read; None: they are, and say nothing but whose call it is.
        self.headers = headers
        self.tier: str | None = None
        self.limits: Sequence[LimitState] = ()
        self.replayed: str | None = None
        #: The body, where it came with a head that is known: nothing of it is left to look at.
        self.here: bytes | None = None
        #: Whether the body has come.
        self.has_body = False
        #: A part of the answer may have left.
        self.started = False
        #: The call. Set by the connection, and taken back at its end: else it would be garbage that refers to itself.
        self.task: asyncio.Task[None] | None = None
        self._connection = connection
        self._before = connection.written
        self._head = b""
        self._pieces: list[bytes] = []
        self._size = 0
        #: The most that the body may have; below 0 until somebody wants it.
        self._limit = -1
        self._waiter: asyncio.Future[None] | None = None
        self._interrupt: Interrupt | None = None
        # By these names uvicorn's protocol knows what is under way on it.
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_complete = False

    @property
    def message_event(self) -> "DirectClient":
        """What uvicorn's protocol tells of a loss. No attribute: each call would be garbage that refers to itself."""
        return self

    @property
    def response_started(self) -> bool:
        """By this name uvicorn's protocol knows it."""
        return self.started

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
        self.has_body = True
        self.set()

    def set(self) -> None:
        """Something has changed for whoever waits for the body: by this name uvicorn's protocol tells of a loss."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ------------------------------------------------------------ in

    def read_head(self) -> None:
        """Finds out what the caller showed. Raises InvalidBearer for an Authorization header that is not a bearer."""
        if self.headers is not None:
            self.credentials = Credentials(bearer_of(self.headers), self.address)

    async def body(self) -> bytes:
        """The whole body. Raises RequestTooLarge at the first byte over the limit, ClientGone where it never came."""
        if self.here is not None:
            return self.here
        connection = self._connection
        limit = connection.max_body
        if self.headers is not None:
            check_body_headers(self.headers, limit)
        self._limit = limit
        if self._size > HIGH_WATER_LIMIT and not connection.pipeline:
            connection.flow.resume_reading()  # also where it is whole: else nobody hears that its client goes
        while not self.has_body and self._size <= limit and not self.disconnected:
            connection.flow.resume_reading()
            self._waiter = connection.loop.create_future()
            await self._waiter
        if self._size > limit:
            raise too_large(limit)
        if not self.has_body:
            raise ClientGone
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def idempotency_key(self) -> str | None:
        """The Idempotency-Key header."""
        return None if self.headers is None else idempotency_key_of(self.headers)

    def watch(self, interrupt: Interrupt) -> None:
        """Cuts the call when the client goes."""
        self._interrupt = interrupt
        self._connection.watch(interrupt)

    def forget(self) -> None:
        """The call is settled, or over: that its client goes changes nothing any more."""
        self._connection.forget(self._interrupt)

    def keep(self, data: bytes) -> KeptAnswer | None:  # noqa: ARG002  # there is nobody who would ask again
        """Nothing: the call has no Idempotency-Key."""
        return None

    def replays(self, request_id: str) -> None:
        """The answer that follows is that call's."""
        self.replayed = request_id

    # ------------------------------------------------------------ out

    async def answer(self, body: bytes, charge: Units) -> bool:
        """Sends a whole answer; False where the connection was gone."""
        connection = self._connection
        if connection.flow.write_paused and not connection.is_closing():
            await self.drained()
        heads = connection.heads
        lines = heads.plain(self, charge, len(body))
        self.started = True
        if not connection.write(heads.whole(connection.server_state.default_headers, self, lines) + body):
            return False
        connection.answered(self)
        return True

    async def refuse(self, status: int, headers: Headers, body: bytes) -> None:
        """Sends an answer other than a completion; its headers say its length, and whether it is the last one."""
        if (b"connection", b"close") in headers:
            headers.remove((b"connection", b"close"))
            self.keep_alive = False
        await self.drained()
        block = b"".join([b"%b: %b\r\n" % header for header in headers])
        if block.count(b"\n") != len(headers) or block.count(b"\r") != len(headers):
            raise ValueError("a header of the answer has a line break in it")
        connection = self._connection
        common = connection.heads.common(connection.server_state.default_headers, self.request_id).encode()
        close = b"" if self.keep_alive else b"connection: close\r\n"
        self.started = True
        connection.write(b"%b%b%b%b\r\n%b" % (STATUS_LINE[status], common, block, close, body))
        connection.answered(self)

    def line(self) -> "DirectClient":
        """The way to write at once; the stream's head goes with the first bytes."""
        if not self.started:
            self._begin()
        return self

    async def write(self, data: bytes) -> bool:
        """Sends a part of a stream, its head first; False where the connection is gone and nothing was written."""
        if self._connection.is_closing():
            return False
        await self.line().drained()
        return self.put(data) is not None

    def put(self, data: bytes) -> tuple[int, int] | None:
        """The same at once: the bytes that were written to the connection, and how many of them wait here."""
        framed = b"".join((self._head, b"%x\r\n" % len(data), data, b"\r\n"))
        self._head = b""
        connection = self._connection
        transport = connection.transport
        if transport.is_closing():
            return None
        connection.written = written = connection.written + len(framed)
        transport.write(framed)
        unsent = transport.get_write_buffer_size()
        if unsent:
            connection.watched.add(connection)
        return written, unsent

    def full(self) -> bool:
        """Whether so much waits that nothing more should be put."""
        return self._connection.flow.write_paused and not self.disconnected

    async def drained(self) -> None:
        """Returns when little waits."""
        if self.full():
            await self._connection.flow.drain()

    async def finish(self, data: bytes) -> None:
        """Sends a stream's last part and ends it. It is settled: that its client goes changes nothing any more."""
        self.forget()
        connection = self._connection
        if connection.is_closing():
            return
        await self.line().drained()
        framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"
        if connection.write(self._head + framed):
            connection.watched.add(connection)
        connection.answered(self)

    def _begin(self) -> None:
        connection = self._connection
        lines = f"{connection.heads.stream(self)}transfer-encoding: chunked\r\n"
        self._head = connection.heads.whole(connection.server_state.default_headers, self, lines)
        self.started = True
        connection.let_be()

    def over(self) -> None:
        """The call has ended. An answer that it left without an end is one that must not look whole."""
        connection = self._connection
        connection.forget(self._interrupt)
        connection.tasks.discard(self.task)
        self.task = self._interrupt = None
        self.here, self._pieces = None, []  # the connection keeps its last client
        if not self.response_complete and not self.disconnected:
            connection.transport.close()

    def written(self) -> int:
        """Bytes that were given to the connection since it began."""
        return self._connection.written

    def unsent(self) -> int:
        """Bytes written that the kernel has not taken yet."""
        return self._connection.unsent()

    def hang_up(self) -> Taken | None:
        """Ends the connection at once; what the kernel had taken."""
        return self._connection.hang_up_after(self._before)
