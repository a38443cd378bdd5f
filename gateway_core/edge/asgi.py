"""A call's client over any server that speaks ASGI.

Our own server has one of its own (`direct.py`), which spares the hot path what ASGI costs.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.types import Message, Receive, Scope, Send

from gateway_core.delivery import Taken
from gateway_core.edge.answer_heads import AnswerHeads
from gateway_core.edge.errors import pairs
from gateway_core.edge.guard import idempotency_key_of, read_body
from gateway_core.edge.host import CONNECTION, REQUEST_ID
from gateway_core.interrupt import Interrupt
from gateway_core.money import Units
from gateway_core.store_ports import KeptAnswer
from gateway_core.types import Credentials, LimitState

if TYPE_CHECKING:
    from gateway_core.edge.protocol import GuardedProtocol


class AsgiClient:
    """`clients.Client` by ASGI's messages. `max_body`: bytes that the request's body may have."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        credentials: Credentials,
        heads: AnswerHeads,
        max_body: int,
    ) -> None:
        self.request_id: str = scope[REQUEST_ID]
        self.credentials = credentials
        self.tier: str | None = None
        self.limits: Sequence[LimitState] = ()
        self.replayed: str | None = None
        self.here: bytes | None = None
        self.has_body = False
        #: A part of the answer may have left.
        self.started = False
        self._scope = scope
        self._receive = receive
        self._send = send
        self._heads = heads
        self._max_body = max_body
        #: The server's connection, where it is ours: knows at once that it is lost, and what was sent.
        self._connection: GuardedProtocol | None = scope.get("extensions", {}).get(CONNECTION)
        self._before = 0 if self._connection is None else self._connection.written
        self._written = 0
        self._watcher: asyncio.Future[Message] | None = None
        self._interrupt: Interrupt | None = None
        self._gone = False

    # ------------------------------------------------------------ in

    async def body(self) -> bytes:
        """The request's body."""
        return await read_body(self._scope, self._receive, self._max_body)

    def idempotency_key(self) -> str | None:
        """The Idempotency-Key header."""
        return idempotency_key_of(self._scope["headers"])

    def watch(self, interrupt: Interrupt) -> None:
        """Cuts the call when the client goes."""
        self._interrupt = interrupt
        if self._connection is not None:
            self._connection.watch(interrupt)
            return
        self._watcher = asyncio.ensure_future(self._receive())
        self._watcher.add_done_callback(self._received)

    def _received(self, watcher: "asyncio.Future[Message]") -> None:
        if not watcher.cancelled() and self._interrupt is not None:
            self._gone = True
            self._interrupt.cut("client_disconnect")

    def forget(self) -> None:
        """The call is settled, or over: that its client goes changes nothing any more."""
        interrupt, self._interrupt = self._interrupt, None
        if self._connection is not None:
            self._connection.forget(interrupt)
        elif self._watcher is not None and not self._watcher.done():
            self._watcher.cancel()

    def keep(self, data: bytes) -> KeptAnswer | None:  # noqa: ARG002  # there is nobody who would ask again
        """Nothing: the call has no Idempotency-Key."""
        return None

    def replays(self, request_id: str) -> None:
        """The answer that follows is that call's."""
        self.replayed = request_id

    # ------------------------------------------------------------ out

    async def answer(self, body: bytes, charge: Units) -> bool:
        """Sends a whole answer; False where the connection was gone."""
        if self._lost():
            return False
        self.started = True
        await self._send_head(self._heads.plain(self, charge, len(body)))
        before = self.written()
        await self._send({"type": "http.response.body", "body": body})
        return self._wrote(before, body)

    def line(self) -> None:
        """None: each write is waited for."""

    async def write(self, data: bytes) -> bool:
        """Sends a part of a stream, its head first; False where the connection is gone and nothing was written."""
        if self._lost():
            return False
        before = self.written()
        await self._begin()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        return self._wrote(before, data)

    async def finish(self, data: bytes) -> None:
        """Sends a stream's last part and ends it. It is settled: that its client goes changes nothing any more."""
        self.forget()
        if not self._lost():
            await self._begin()
            await self._send({"type": "http.response.body", "body": data})

    async def _begin(self) -> None:
        if not self.started:
            self.started = True
            await self._send_head(self._heads.stream(self))

    async def _send_head(self, lines: str) -> None:
        await self._send({"type": "http.response.start", "status": 200, "headers": pairs(lines)})

    def _lost(self) -> bool:
        return self._gone or (self._connection is not None and self._connection.is_closing())

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
