"""POST /v1/chat/completions: the client's end of the pipeline, on raw ASGI and on our own server's connections."""

import logging
from collections.abc import Sequence

import msgspec
from starlette.types import Receive, Scope, Send

from gateway_core.clients import Line
from gateway_core.delivery import Taken
from gateway_core.edge.direct import DirectExchange
from gateway_core.edge.errors import Headers, error_object
from gateway_core.edge.exchange import AsgiExchange, Exchange
from gateway_core.edge.guard import Addresses, ClientGone, bearer_of, idempotency_key_of
from gateway_core.edge.host import Host
from gateway_core.errors import GatewayError, InternalError, RateLimited
from gateway_core.interrupt import Interrupt
from gateway_core.money import Units, cents
from gateway_core.store_ports import KeptAnswer
from gateway_core.types import Credentials, LimitState
from gateway_core.wire.chat import error_event
from gateway_core.wire.ratelimit import headers as ratelimit_headers

log = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode

_STREAM_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class ChatEndpoint:
    """Serves calls: gives each to the pipeline, and tells its client what the pipeline refuses."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._pipeline = host.pipeline
        self._server = host.services.config.server
        self._addresses = Addresses(self._server.trusted_proxies)
        prefix = self._server.header_prefix.lower().encode()
        self._tier_header, self._cost_header = prefix + b"tier", prefix + b"cost-cents"
        self._original_header = prefix + b"original-request-id"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One call over any server."""
        await self.serve(AsgiExchange(scope, receive, send))

    async def serve(self, exchange: Exchange) -> None:
        """One call. What is refused before the answer's head is raised, for the application to render."""
        client = ChatClient(self, exchange)
        self._host.enter()
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

    def credentials(self, exchange: Exchange) -> Credentials:
        """What the caller showed. Raises InvalidBearer for an Authorization header that is not a bearer."""
        headers = exchange.headers
        return Credentials(bearer=bearer_of(headers), address=self._addresses.of(exchange.peer, headers))

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
    """One caller's connection, as `clients.Client` wants it."""

    __slots__ = (
        "_endpoint",
        "_exchange",
        "_gone",
        "_interrupt",
        "_replayed",
        "credentials",
        "limits",
        "request_id",
        "tier",
    )

    def __init__(self, endpoint: ChatEndpoint, exchange: Exchange) -> None:
        self._endpoint = endpoint
        self._exchange = exchange
        self._interrupt: Interrupt | None = None
        self._gone = False
        self.request_id = exchange.request_id
        self.credentials = endpoint.credentials(exchange)
        self.tier: str | None = None
        self.limits: Sequence[LimitState] = ()
        self._replayed: Headers = []

    @property
    def started(self) -> bool:
        """A part of the answer may have left."""
        return self._exchange.started

    # ------------------------------------------------------------ in

    @property
    def has_body(self) -> bool:
        """Whether the body is here already."""
        return self._exchange.has_body

    async def body(self) -> bytes:
        """The request's body."""
        return await self._exchange.body(self._endpoint.max_body)

    def idempotency_key(self) -> str | None:
        """The Idempotency-Key header."""
        return idempotency_key_of(self._exchange.headers)

    def watch(self, interrupt: Interrupt) -> None:
        """Cuts the call when the client goes."""
        self._interrupt = interrupt
        self._exchange.watch(self._went)

    def _went(self) -> None:
        if self._interrupt is not None:
            self._gone = True
            self._interrupt.cut("client_disconnect")

    def forget(self) -> None:
        """The call is over."""
        self._interrupt = None
        self._exchange.forget(self._went)

    # ------------------------------------------------------------ out

    def keep(self, data: bytes) -> KeptAnswer | None:  # noqa: ARG002  # there is nobody who would ask again
        """Nothing: the call has no Idempotency-Key."""
        return None

    def replays(self, request_id: str) -> None:
        """The answer that follows is that call's."""
        self._replayed = self._endpoint.replayed(request_id)

    async def answer(self, body: bytes, charge: Units) -> bool:
        """Sends a whole answer; False where the connection was gone."""
        exchange, endpoint = self._exchange, self._endpoint
        if self._gone or exchange.lost():
            return False
        headers = endpoint.head(self.tier, self.limits)
        headers += self._replayed
        headers += ((b"content-type", b"application/json"), endpoint.cost(charge))
        return await exchange.answer(headers, body)

    def line(self) -> Line | None:
        """The way to write at once, on our own server; the stream's head goes with the first bytes."""
        exchange = self._exchange
        if not isinstance(exchange, DirectExchange):
            return None
        if not exchange.started:
            exchange.begin(self._stream_headers())
        return exchange

    async def write(self, data: bytes) -> bool:
        """Sends a part of a stream, its head first; False where the connection is gone and nothing was written."""
        if self._lost():
            return False
        if not self._exchange.started:
            self._exchange.begin(self._stream_headers())
        return await self._exchange.write(data)

    def written(self) -> int:
        """Bytes that were given to the connection since it began."""
        return self._exchange.written()

    def unsent(self) -> int:
        """Bytes written that the kernel has not taken yet."""
        return self._exchange.unsent()

    def hang_up(self) -> Taken | None:
        """Ends the connection at once; what the kernel had taken, None where that is not known."""
        return self._exchange.hang_up()

    async def finish(self, data: bytes) -> None:
        """Sends the last part and ends the stream. It is settled: that its client goes changes nothing any more."""
        self.forget()
        if not self._lost():
            if not self._exchange.started:
                self._exchange.begin(self._stream_headers())
            await self._exchange.finish(data)

    async def break_off(self, error: GatewayError) -> None:
        """Sends one error event as the last, without [DONE]."""
        await self.finish(self._endpoint.event(error, self.request_id))

    def _lost(self) -> bool:
        return self._gone or self._exchange.lost()

    def known_headers(self) -> Headers:
        """Tier and limits, as far as they are known."""
        headers = self._endpoint.head(self.tier, self.limits)
        headers += self._replayed
        return headers

    def _stream_headers(self) -> Headers:
        headers = self.known_headers()
        headers += _STREAM_HEADERS
        return headers
