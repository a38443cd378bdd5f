"""uvicorn's HTTP protocol with the bounds that it lacks: on a head's size, and on the time a request may take to come.

There is no timer for each connection: the server looks at their `deadline`s twice a second. A stream under way has
none, so its connection is left out until something of it waits in the process: ten thousand of them cost nothing.
"""

import asyncio
import http
import logging
import math
from contextlib import suppress
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway_core.config import ServerConfig
from gateway_core.delivery import Taken
from gateway_core.edge.direct import DirectClient
from gateway_core.edge.errors import render
from gateway_core.edge.host import CONNECTION, Application
from gateway_core.edge.known_head import MOST_DIGITS, KnownHead, known_head
from gateway_core.edge.tcp import sent_and_acknowledged
from gateway_core.errors import InvalidBearer, InvalidRequest
from gateway_core.ids import RequestIds
from gateway_core.interrupt import Interrupt

log = logging.getLogger(__name__)

MAX_HEAD_BYTES = 64 * 1024
LESSONS = 3
"""Heads that a connection keeps one after another without any of them coming again: then it keeps none."""
SWEEP_SECONDS = 0.5
LINGER_SECONDS = 2.0
"""How long what is left of a refused body is read and thrown away, so that its sender gets to see the answer."""


class HeadTooLarge(Exception):
    """The request's head passes the cap; raised through the parser, which ends the connection."""


class Connection(Protocol):
    """One that counts what is written to it."""

    #: Bytes that were given to its transport.
    written: int


class OneWrite:
    """A transport for one answer, which keeps its head until the first bytes follow: one system call, one packet.

    Where none follow at once the head goes out alone.
    """

    __slots__ = ("_connection", "_head", "_head_is_next", "_loop", "_transport", "is_closing")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, connection: "Connection") -> None:
        self._transport = transport
        self._loop = loop
        self._connection = connection
        self._head = b""
        self._head_is_next = True
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Writes, or keeps the head for a moment."""
        if self._head:
            data, self._head = self._head + data, b""
        elif self._head_is_next and not data.startswith(b"HTTP/1.1 100 "):
            self._head_is_next, self._head = False, data
            self._loop.call_soon(self.flush)
            return
        self._pass_on(data)

    def flush(self) -> None:
        """Writes what is kept."""
        if self._head:
            data, self._head = self._head, b""
            self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        # What is written to a connection that is closing may still be sent, or not: nothing is, so that it is known.
        if not self.is_closing():
            self._connection.written += len(data)
            self._transport.write(data)

    def close(self) -> None:
        """Hangs up when everything is written."""
        self.flush()
        self._transport.close()


class GuardedProtocol(HttpToolsProtocol):
    """One connection. `server` is the configuration, everything else uvicorn's own."""

    cycle: RequestResponseCycle | DirectClient  # type: ignore[assignment]  # of a direct one only what both have is used

    def __init__(
        self,
        server: ServerConfig,
        application: Application,
        target: bytes,
        ids: RequestIds,
        watched: "set[GuardedProtocol]",
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        #: The connections that the sweep looks at.
        self.watched = watched
        self._server_config = server
        #: Calls, which are POSTs to this target, are served without ASGI.
        self._target = target
        self._call = application.call
        self._addresses = application.chat.addresses
        self.heads = application.chat.heads
        self.max_body = server.max_body_bytes
        self.ids = ids
        self._peer = ""
        #: The head of the call that the parser saw last, where the next one may have the same; how many such heads may
        #: still be kept without any having come again.
        self._known: KnownHead | None = None
        self._lessons = LESSONS
        #: Bytes that are awaited of a body whose head the parser did not see.
        self._missing = 0
        # The sweep comes up to SWEEP_SECONDS late: taken off here, so that the limit holds.
        self._patience = max(server.request_timeout - SWEEP_SECONDS, SWEEP_SECONDS)
        self._linger_limit = max(2 * server.max_body_bytes, 4 * 1024 * 1024)
        #: The loop's time at which the connection is closed unless what is awaited has come.
        self.deadline = math.inf
        self._in_head = False
        self._in_body = False
        self._lingering = False
        #: Bytes that came since the head began, but for those that are being parsed.
        self._came = 0
        self._parsing = 0
        self._head_too_large = False
        self._discarded = 0
        self._extensions: dict[str, Any] = {CONNECTION: self}
        #: Bytes of answers that were given to the transport; of these, what the kernel is known to have taken and what
        #: the peer acknowledged, as of when the connection was lost.
        self.written = 0
        self.taken = 0
        self.acknowledged: int | None = None
        self.gone = False
        #: Cuts the call that is under way when the connection is lost.
        self.interrupt: Interrupt | None = None
        #: What the kernel had taken at the last look that found something waiting, and when that last changed.
        self._progress: int | None = None
        self._moved = 0.0

    # ------------------------------------------------------------ what comes in

    def connection_made(self, transport: Any) -> None:
        """A client connected; it has its time to send a request."""
        super().connection_made(transport)
        self.watched.add(self)
        self._peer = self.client[0] if self.client else ""
        self.deadline = self.loop.time() + self._patience

    def data_received(self, data: bytes) -> None:
        """Bytes came: the rest of a body, a call whose head is known, or something for the parser."""
        if self._missing:
            data = self._took(data)
        elif self._known is not None and not self._in_body and self.cycle.response_complete:
            data = self._taken_up(self._known, data)
            if not data:
                return
        if data:
            self._parse(data)
        if self.deadline == math.inf:
            cycle: RequestResponseCycle | DirectClient | None = self.cycle  # uvicorn says that there always is one
            if cycle is None or cycle.response_complete:
                self.deadline = self.loop.time() + self._patience

    def _taken_up(self, known: KnownHead, data: bytes) -> bytes:
        """Begins a call whose head the parser need not see, since it has seen the same; what is left for the parser.

        That stands between two messages, and stays there.
        """
        begin = known.size
        if data[:begin] != known.before:
            return data
        end = data.find(b"\r", begin, begin + MOST_DIGITS + 1)
        after, digits = end + known.rest, data[begin:end]
        if end < 0 or data[end:after] != known.behind or not digits.isdigit():
            return data
        size = int(digits)
        if size > self.max_body:
            return data
        self._lessons = LESSONS
        credentials = known.credentials
        self.cycle = client = DirectClient(self, credentials.address, None, True)
        client.credentials = credentials
        self._begin(client)
        body = data[after:]
        if len(body) == size:
            client.here = body
            self.deadline = math.inf
            return b""
        self._missing, self._in_body = size, True
        self.deadline = self.loop.time() + self._patience
        return self._took(body) if body else body

    def _took(self, data: bytes) -> bytes:
        """Takes what is missing of a body whose head the parser did not see; what is left for the parser."""
        missing = self._missing
        piece, rest = (data, b"") if len(data) <= missing else (data[:missing], data[missing:])
        self._missing = missing = missing - len(piece)
        self.on_body(piece)
        if not missing:
            self.on_message_complete()
        return rest

    def _parse(self, data: bytes) -> None:
        """A head that does not end is noticed here: the parser keeps a long line to itself."""
        began_in_head, began_in_body, self._parsing = self._in_head, self._in_body, len(data)
        super().data_received(data)
        if self._in_head:
            if began_in_head:
                self._came += self._parsing
                if self._came > MAX_HEAD_BYTES and not self.transport.is_closing():
                    self._refuse_head()
        elif not began_in_head and not began_in_body and self._lessons and isinstance(self.cycle, DirectClient):
            self._learn(data, self.cycle)

    def _learn(self, data: bytes, client: DirectClient) -> None:
        """Keeps the head of the call that `data` begins with, if that is plain."""
        self._lessons -= 1
        if client.keep_alive and client.headers is self.headers:
            with suppress(InvalidBearer):  # it is told so in its turn
                known = known_head(data, self._target, self.headers, client.address, self.max_body)
                if known is not None:
                    self._known, client.credentials, client.headers = known, known.credentials, None

    def on_message_begin(self) -> None:
        """A request begins. Its scope is made once it is known to be wanted."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._known = None
        self._in_head = True
        self._came = 0
        self.watched.add(self)  # it may come in the middle of a stream
        self.deadline = self.loop.time() + self._patience

    def on_headers_complete(self) -> None:
        """The head is whole; the body has its own time. What came in few bytes needs no adding up."""
        if self._came + self._parsing > MAX_HEAD_BYTES and self._head_size() > MAX_HEAD_BYTES:
            self._head_too_large = True
            raise HeadTooLarge
        self._in_head, self._in_body, self._lingering = False, True, False
        self.deadline = self.loop.time() + self._patience
        if self.url == self._target and self._is_plain_post():
            self._begin_direct()
            return
        url, headers, expected = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expected
        self.scope["headers"] = headers
        self.scope["extensions"] = self._extensions
        super().on_headers_complete()
        # The answer begins in the task that was just made, so nothing is written yet.
        self.cycle.transport = OneWrite(self.transport, self.loop, self)  # type: ignore[union-attr]  # all that a cycle uses

    def _is_plain_post(self) -> bool:
        """Whether nothing about the request needs more than a call does: ASGI's way takes everything else."""
        parser = self.parser
        return (
            parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and not self.expect_100_continue
            and not parser.should_upgrade()
        )

    def _begin_direct(self) -> None:
        before: RequestResponseCycle | DirectClient | None = self.cycle
        address = self._addresses.of(self._peer, self.headers)
        client = DirectClient(self, address, self.headers, self.parser.should_keep_alive())
        self.cycle = client
        if before is None or before.response_complete:
            self._begin(client)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((client, self.app))  # type: ignore[arg-type]  # begun by the method below

    def _begin(self, client: DirectClient) -> None:
        """Begins a call, as a task that the server knows of until it is over."""
        client.task = task = asyncio.Task(self._call(client), loop=self.loop, name=client.request_id)
        self.tasks.add(task)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """Begins what was waiting for the answer before it."""
        if isinstance(cycle, DirectClient):
            self._begin(cycle)
        else:
            super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        """A part of the body; of a refused one, something to throw away, up to a bound."""
        if self._lingering:
            self._discarded += len(body)
            if self._discarded > self._linger_limit:
                self.transport.abort()
        cycle = self.cycle
        if isinstance(cycle, DirectClient):
            if not cycle.response_complete:
                cycle.came(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole: from now on it is waiting for us."""
        self._in_body = self._lingering = False
        self.deadline = math.inf
        cycle = self.cycle
        if isinstance(cycle, DirectClient):
            cycle.whole()
        else:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is out; where the request is not whole, its rest is awaited for a moment."""
        super().on_response_complete()
        if self._in_body:
            self._await_rest()

    def answered(self, client: DirectClient) -> None:
        """The same, of a direct one. An idle connection is the sweep's to close: no timer is set for it."""
        client.response_complete = True
        self.server_state.total_requests += 1
        if not client.keep_alive:
            self.transport.close()
        elif not self.transport.is_closing():
            if self.flow.read_paused:
                self.flow.resume_reading()
            if self.pipeline:
                self._start_asgi_task(*self.pipeline.pop())
            elif self.deadline == math.inf:
                self.deadline = self.loop.time() + self.timeout_keep_alive
        if self._in_body:
            self._await_rest()

    def _await_rest(self) -> None:
        if self.cycle.response_complete:
            self._lingering, self._discarded = True, 0
            self.deadline = self.loop.time() + LINGER_SECONDS
        else:  # the answer was another's: the body that comes has waited for it
            self.deadline = self.loop.time() + self._patience

    def _head_size(self) -> int:
        return len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers])

    # ------------------------------------------------------------ what goes out, and what became of it

    def write(self, data: bytes) -> bool:
        """Gives a part of an answer to the transport; False where it is closing: what is written then may still be
        sent, or not, so nothing is."""
        if self.transport.is_closing():
            return False
        self.written += len(data)
        self.transport.write(data)
        return True

    def is_closing(self) -> bool:
        """Whether the client can be told anything more."""
        closing: bool = self.transport.is_closing()
        return closing

    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""
        waiting: int = self.transport.get_write_buffer_size()
        return waiting

    def watch(self, interrupt: Interrupt) -> None:
        """Cuts by that when the connection is lost. A task that waits for it would cost 6 µs a call."""
        if self.gone:
            interrupt.cut("client_disconnect")
        else:
            self.interrupt = interrupt

    def forget(self, interrupt: Interrupt | None) -> None:
        """That one wants to know no more; a later request's on the same connection still does."""
        if self.interrupt is interrupt:
            self.interrupt = None

    def hang_up(self) -> None:
        """Ends the connection at once; what waits in the process is not sent."""
        closing = self.is_closing()
        if not closing:
            self.taken = max(self.taken, self.written - self.unsent())
        # One that closes is not lost yet where its end was noticed by a write: the socket is still there.
        self._look_at_socket()
        if not closing:
            self.transport.abort()

    def hang_up_after(self, before: int) -> Taken:
        """The same, and what became of what was written; `before`: the bytes that earlier answers had."""
        self.hang_up()
        return Taken(self.taken, None if self.acknowledged is None else max(0, self.acknowledged - before))

    def eof_received(self) -> None:
        """The client says no more. A call that is under way is cut: nothing more of it is sent. What is settled, and
        waits to be taken, still is."""
        if self.interrupt is not None:
            self.hang_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone. Its socket is still there, and knows what it has sent."""
        cycle: RequestResponseCycle | DirectClient | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._look_at_socket()
        self.gone = True
        self.watched.discard(self)
        super().connection_lost(exc)
        interrupt, self.interrupt = self.interrupt, None
        if interrupt is not None:
            interrupt.cut("client_disconnect")

    def _look_at_socket(self) -> None:
        if self.gone:
            return  # its file's number may be another connection's by now
        told = sent_and_acknowledged(self.transport.get_extra_info("socket"))
        if told is not None:
            self.taken = max(self.taken, min(told[0], self.written))
            self.acknowledged = min(told[1], self.written)

    def let_be(self) -> None:
        """A stream is under way: until something of it waits here nothing is to be looked at, unless the client's next
        request has begun already."""
        if self.deadline == math.inf and not self.unsent():
            self.watched.discard(self)

    def look(self, now: float) -> None:
        """One look at the connection's deadline, and at whether the client takes what waits for it."""
        if self.deadline < now:
            self.expire()
            return
        waiting = self.unsent()
        if not waiting:
            cycle = self.cycle
            if isinstance(cycle, DirectClient) and cycle.started and not cycle.response_complete:
                self.let_be()
        elif self.written - waiting != self._progress:
            self._progress, self._moved = self.written - waiting, now
        elif now - self._moved >= self._server_config.stall_seconds:
            log.info("a client took nothing for %g s: its connection is closed", self._server_config.stall_seconds)
            self.hang_up()
            self.transport.abort()  # also where it was closing, and waited for the client to take the rest

    # ------------------------------------------------------------ refusals of the connection itself

    def expire(self) -> None:
        """The deadline has passed: says so where an answer is still possible, and hangs up."""
        self.deadline = math.inf
        if self._lingering or self.transport.is_closing():
            self.transport.abort()
        elif self._is_behind():
            self.deadline = self.loop.time() + self._patience  # it waits for us
        elif self._in_body and not self.cycle.response_started:
            self._end(408, "The request's body did not come in time.")
        elif self._in_head:
            self._end(408, "The request's head did not come in time.")
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls when the parser gives up."""
        if self._head_too_large:
            self._refuse_head()
        else:
            self._end(400, msg)

    def _refuse_head(self) -> None:
        self._end(431, f"The request's head is larger than {MAX_HEAD_BYTES} bytes.")

    def _is_behind(self) -> bool:
        """Whether the answer to an earlier request is still to come, or its end."""
        cycle: RequestResponseCycle | DirectClient | None = self.cycle
        return bool(self.pipeline) or (not self._in_body and cycle is not None and not cycle.response_complete)

    def _has_begun(self) -> bool:
        """Whether an answer has begun, or may have, behind which nothing can be said."""
        cycle: RequestResponseCycle | DirectClient | None = self.cycle
        if cycle is None or not cycle.response_started:
            return bool(self.pipeline)
        return self._in_body or not cycle.response_complete

    def _end(self, status: int, message: str) -> None:
        if self._has_begun():
            self.transport.close()  # what is said now would be taken for a part of that answer
            return
        identifier = self.ids.new()
        _, headers, body = render(InvalidRequest(message), identifier, self._server_config)
        prefix = self._server_config.header_prefix.lower()
        name = identifier.encode()
        headers += [(b"connection", b"close"), (b"x-request-id", name), (f"{prefix}request-id".encode(), name)]
        lines = [f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}".encode()]
        lines += [key + b": " + value for key, value in headers]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        self.transport.close()
