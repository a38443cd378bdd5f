"""One call's request and answer, as the chat endpoint sees them, and the same over any server that speaks ASGI.

Our own server has one of its own (`direct.py`), which spares the hot path what ASGI costs.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from starlette.types import Message, Receive, Scope, Send

from gateway_core.delivery import Taken
from gateway_core.edge.errors import Headers
from gateway_core.edge.guard import read_body
from gateway_core.edge.host import CONNECTION, REQUEST_ID

if TYPE_CHECKING:
    from gateway_core.edge.protocol import GuardedProtocol


class Exchange(Protocol):
    """A request, and the way back to its client."""

    request_id: str
    #: The address of the socket's other end; "" where it has none.
    peer: str
    #: A part of the answer may have left.
    started: bool

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """The request's, names in lower case."""

    async def body(self, limit: int) -> bytes:
        """The whole body. Raises RequestTooLarge at the first byte over the limit, ClientGone where it never came."""

    @property
    def has_body(self) -> bool:
        """Whether the body is here already: reading it waits for nothing."""

    def watch(self, on_gone: Callable[[], None]) -> None:
        """Calls that once when the client goes."""

    def forget(self, on_gone: Callable[[], None]) -> None:
        """That one wants to know no more."""

    def lost(self) -> bool:
        """Whether the client can be told nothing more."""

    async def answer(self, headers: Headers, body: bytes) -> bool:
        """Sends a whole answer; False where the connection was gone."""

    def begin(self, headers: Headers) -> None:
        """A stream's head, which goes out with its first bytes."""

    async def write(self, data: bytes) -> bool:
        """Sends a part of a stream; False where the connection was gone."""

    async def finish(self, data: bytes) -> None:
        """Sends a stream's last part, and its end."""

    def written(self) -> int:
        """Bytes that were given to the connection since it began."""

    def unsent(self) -> int:
        """Bytes written that the kernel has not taken yet."""

    def hang_up(self) -> Taken | None:
        """Ends the connection at once; what the kernel had taken, None where that is not known."""


class AsgiExchange:
    """An exchange by ASGI's messages."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        #: The server's connection, where it is ours: knows at once that it is lost, and what was sent.
        self._connection: GuardedProtocol | None = scope.get("extensions", {}).get(CONNECTION)
        self._before = 0 if self._connection is None else self._connection.written
        self._written = 0
        self._head: Headers | None = None
        self._watcher: asyncio.Future[Message] | None = None
        self._on_gone: Callable[[], None] | None = None
        self._gone = False
        self.started = False
        self.has_body = False
        self.request_id: str = scope[REQUEST_ID]
        self.headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
        client = scope.get("client")
        self.peer: str = client[0] if client else ""

    # ------------------------------------------------------------ in

    async def body(self, limit: int) -> bytes:
        """The whole body."""
        return await read_body(self._scope, self._receive, limit)

    def watch(self, on_gone: Callable[[], None]) -> None:
        """Calls that once when the client goes."""
        if self._connection is not None:
            self._connection.watch(on_gone)
            return
        self._on_gone = on_gone
        self._watcher = asyncio.ensure_future(self._receive())
        self._watcher.add_done_callback(self._received)

    def _received(self, watcher: "asyncio.Future[Message]") -> None:
        if not watcher.cancelled() and self._on_gone is not None:
            self._gone = True
            self._on_gone()

    def forget(self, on_gone: Callable[[], None]) -> None:
        """That one wants to know no more."""
        self._on_gone = None
        if self._connection is not None:
            self._connection.forget(on_gone)
        elif self._watcher is not None and not self._watcher.done():
            self._watcher.cancel()

    # ------------------------------------------------------------ out

    def lost(self) -> bool:
        """Whether the client can be told nothing more."""
        return self._gone or (self._connection is not None and self._connection.is_closing())

    async def answer(self, headers: Headers, body: bytes) -> bool:
        """Sends a whole answer; False where the connection was gone."""
        self.started = True
        headers.append((b"content-length", b"%d" % len(body)))
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        before = self.written()
        await self._send({"type": "http.response.body", "body": body})
        return self._wrote(before, body)

    def begin(self, headers: Headers) -> None:
        """A stream's head, which goes out with its first bytes."""
        self.started = True
        self._head = headers

    async def write(self, data: bytes) -> bool:
        """Sends a part of a stream; False where the connection was gone."""
        before = self.written()
        await self._send_head()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        return self._wrote(before, data)

    async def finish(self, data: bytes) -> None:
        """Sends a stream's last part, and its end."""
        await self._send_head()
        await self._send({"type": "http.response.body", "body": data})

    async def _send_head(self) -> None:
        if self._head is not None:
            head, self._head = self._head, None
            await self._send({"type": "http.response.start", "status": 200, "headers": head})

    def _wrote(self, before: int, data: bytes) -> bool:
        # The server's send() says nothing after a disconnect: look at what was written, not at what it returns.
        if self._connection is not None:
            return self._connection.written > before
        self._written += len(data)
        return not self._gone

    def written(self) -> int:
        """Bytes that were given to the connection since it began."""
        return self._written if self._connection is None else self._connection.written

    def unsent(self) -> int:
        """Bytes written that the kernel has not taken yet."""
        return 0 if self._connection is None else self._connection.unsent()

    def hang_up(self) -> Taken | None:
        """Ends the connection at once; what the kernel had taken, None where that is not known."""
        return None if self._connection is None else self._connection.hang_up_after(self._before)
