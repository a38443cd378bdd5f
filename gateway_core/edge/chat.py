"""POST /v1/chat/completions: the client's end of the pipeline, on raw ASGI."""

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from starlette.types import Message, Receive, Scope, Send

from gateway_core.delivery import Taken
from gateway_core.edge.access import Access
from gateway_core.edge.errors import Headers, error_object
from gateway_core.edge.guard import ClientGone, idempotency_key_of, read_body
from gateway_core.edge.host import CONNECTION, REQUEST_ID, Host
from gateway_core.errors import GatewayError, InternalError, RateLimited
from gateway_core.interrupt import Interrupt
from gateway_core.money import Units, cents
from gateway_core.store_ports import KeptAnswer
from gateway_core.types import Credentials, LimitState
from gateway_core.wire.chat import error_event
from gateway_core.wire.ratelimit import headers as ratelimit_headers

if TYPE_CHECKING:
    from gateway_core.edge.protocol import GuardedProtocol

log = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode


class ChatEndpoint:
    """Serves calls: gives each to the pipeline, and tells its client what the pipeline refuses."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._pipeline = host.pipeline
        self._access = Access(host)
        self._server = host.services.config.server
        prefix = self._server.header_prefix.lower().encode()
        self._tier_header, self._cost_header = prefix + b"tier", prefix + b"cost-cents"
        self._original_header = prefix + b"original-request-id"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One call. What is refused before the answer's head is raised, for the application to render."""
        self._host.enter()
        client = ChatClient(self, scope, receive, send)
        try:
            await self._pipeline.serve(client)
        except GatewayError as error:
            if not client.started:
                if isinstance(error, RateLimited):
                    client.limits = ()  # it brings its own, which are newer
                error.headers = (*error.headers, *client.known_headers())
                raise
            await client.break_off(error)
        except ClientGone:
            raise
        except Exception:
            if not client.started:
                raise
            log.exception("a stream failed")
            await client.break_off(InternalError("The gateway failed in the middle of the answer."))
        finally:
            client.forget()
            self._host.leave()

    def credentials(self, scope: Scope) -> Credentials:
        """What the caller showed."""
        return self._access.credentials(scope)

    @property
    def max_body(self) -> int:
        """Bytes that a request's body may have."""
        return self._server.max_body_bytes

    def head(self, tier: str | None, limits: Sequence[LimitState]) -> Headers:
        """The headers that are known before an answer is."""
        out: Headers = []
        if tier is not None:
            out.append((self._tier_header, tier.encode()))
        if limits:
            out += ratelimit_headers(limits)
        return out

    def replayed(self, request_id: str) -> Headers:
        """The headers that say whose answer it is."""
        return [(b"idempotent-replayed", b"true"), (self._original_header, request_id.encode())]

    def cost(self, charge: Units) -> tuple[bytes, bytes]:
        """The header that says what a plain answer cost."""
        return self._cost_header, cents(charge).encode()

    def event(self, error: GatewayError, request_id: str) -> bytes:
        """A failure as a stream's last event."""
        return error_event(_encode({"error": error_object(error, request_id, self._server)}))


class ChatClient:
    """One caller's connection, as `pipeline.Client` wants it."""

    def __init__(self, endpoint: ChatEndpoint, scope: Scope, receive: Receive, send: Send) -> None:
        self._endpoint = endpoint
        self._scope = scope
        self._receive = receive
        self._send = send
        #: The server's connection, where it is ours: knows at once that it is lost, and what was sent.
        self._connection: GuardedProtocol | None = scope.get("extensions", {}).get(CONNECTION)
        self._before = 0 if self._connection is None else self._connection.written
        self._written = 0
        self._interrupt: Interrupt | None = None
        self._watcher: asyncio.Future[Message] | None = None
        self._gone = False
        self.started = False
        self.request_id: str = scope[REQUEST_ID]
        self.credentials = endpoint.credentials(scope)
        self.tier: str | None = None
        self.limits: Sequence[LimitState] = ()
        self._replayed: Headers = []

    # ------------------------------------------------------------ in

    async def body(self) -> bytes:
        """The request's body."""
        return await read_body(self._scope, self._receive, self._endpoint.max_body)

    def idempotency_key(self) -> str | None:
        """The Idempotency-Key header."""
        return idempotency_key_of(self._scope["headers"])

    def watch(self, interrupt: Interrupt) -> None:
        """Cuts the call when the client goes."""
        self._interrupt = interrupt
        if self._connection is not None:
            self._connection.watch(self._went)
        else:
            self._watcher = asyncio.ensure_future(self._receive())
            self._watcher.add_done_callback(self._received)

    def _received(self, watcher: "asyncio.Future[Message]") -> None:
        if not watcher.cancelled():
            self._went()

    def _went(self) -> None:
        if self._interrupt is not None:
            self._gone = True
            self._interrupt.cut("client_disconnect")

    def forget(self) -> None:
        """The call is over."""
        self._interrupt = None
        if self._connection is not None:
            self._connection.forget(self._went)
        elif self._watcher is not None and not self._watcher.done():
            self._watcher.cancel()

    # ------------------------------------------------------------ out

    def keep(self, data: bytes) -> KeptAnswer | None:  # noqa: ARG002  # there is nobody who would ask again
        """Nothing: the call has no Idempotency-Key."""
        return None

    def replays(self, request_id: str) -> None:
        """The answer that follows is that call's."""
        self._replayed = self._endpoint.replayed(request_id)

    async def answer(self, body: bytes, charge: Units) -> bool:
        """Sends a whole answer; False where the connection was gone."""
        if self._lost():
            return False
        headers = self.known_headers()
        headers += (
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            self._endpoint.cost(charge),
        )
        self.started = True
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        before = self.written()
        await self._send({"type": "http.response.body", "body": body})
        return self._wrote(before, body)

    async def write(self, data: bytes) -> bool:
        """Sends a part of a stream, its head first; False where the connection is gone and nothing was written."""
        if self._lost():
            return False
        before = self.written()
        if not self.started:
            self.started = True
            await self._send({"type": "http.response.start", "status": 200, "headers": self._stream_headers()})
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        return self._wrote(before, data)

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
        connection = self._connection
        if connection is None:
            return None
        connection.hang_up()
        acknowledged = connection.acknowledged
        return Taken(connection.taken, None if acknowledged is None else max(0, acknowledged - self._before))

    async def finish(self, data: bytes) -> None:
        """Sends the last part and ends the stream. It is settled: that its client goes changes nothing any more."""
        self.forget()
        if not self._lost():
            if not self.started:
                await self.write(b"")
            await self._send({"type": "http.response.body", "body": data})

    async def break_off(self, error: GatewayError) -> None:
        """Sends one error event as the last, without [DONE]."""
        await self.finish(self._endpoint.event(error, self.request_id))

    def _lost(self) -> bool:
        return self._gone or (self._connection is not None and self._connection.is_closing())

    def known_headers(self) -> Headers:
        """Tier and limits, as far as they are known."""
        return [*self._endpoint.head(self.tier, self.limits), *self._replayed]

    def _stream_headers(self) -> Headers:
        return [
            *self.known_headers(),
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
        ]
