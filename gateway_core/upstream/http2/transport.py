"""httpx2's pool, proxies and HTTP/1.1, and sessions of our own where TLS settles on h2.

httpcore2 speaks HTTP/2 itself and is not asked to. It resets no exchange that is left, so a provider goes on
generating for nobody; a call that is cancelled can take a part of others' frames with it; one slow reader can stop
every other of its connection; a farewell cuts the answers that run; and what is beyond the provider's limit waits.
"""

import asyncio
import ssl
from collections.abc import AsyncIterable, AsyncIterator

import httpcore2
import httpx2

from gateway_core.upstream.http2.dialler import Dialler, Options
from gateway_core.upstream.http2.session import Exchange, Session, Unprocessed


class Http2Transport(httpx2.AsyncHTTPTransport):
    """httpx2's transport over a pool for https, in which a server is offered HTTP/2 and HTTP/1.1, and chooses."""

    def __init__(
        self, context: ssl.SSLContext, proxy: httpx2.Proxy | None, limits: httpx2.Limits, options: Options
    ) -> None:
        super().__init__(verify=context, trust_env=False, limits=limits)
        context.set_alpn_protocols(["h2", "http/1.1"])
        self._pool = _Pool(Dialler(context, options, proxy), limits)


class _Pool(httpcore2.AsyncConnectionPool):
    def __init__(self, dialler: Dialler, limits: httpx2.Limits) -> None:
        super().__init__(
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
        )
        self._dialler = dialler
        self._keep = limits.keepalive_expiry

    def create_connection(self, origin: httpcore2.Origin) -> httpcore2.AsyncConnectionInterface:
        """One that is not connected yet."""
        return _Negotiated(origin, self._dialler, self._keep)

    async def handle_async_request(self, request: httpcore2.Request) -> httpcore2.Response:
        """Sends a request, and once more where the provider says that it has not begun with it."""
        try:
            return await super().handle_async_request(request)
        except Unprocessed:
            return await super().handle_async_request(request)

    async def aclose(self) -> None:
        """Closes every connection, and returns when all are gone."""
        await super().aclose()
        sessions = list(self._dialler.sessions)
        for session in sessions:
            session.finish(httpcore2.RemoteProtocolError("closed"))
        for session in sessions:
            await session.gone()


class _Negotiated(httpcore2.AsyncConnectionInterface):
    """A connection of the pool: made by its first request, and then what TLS has settled on."""

    def __init__(self, origin: httpcore2.Origin, dialler: Dialler, keep: float | None) -> None:
        self._origin = origin
        self._place = (origin.host, origin.port)
        self._dialler = dialler
        self._keep = keep
        self._opening = asyncio.Lock()
        self._failed = False
        self._over: httpcore2.AsyncConnectionInterface | None = None

    async def handle_async_request(self, request: httpcore2.Request) -> httpcore2.Response:
        """Raises ConnectionNotAvailable where the pool has to find the request another connection."""
        over = self._over
        if over is None:
            async with self._opening:
                if self._failed:
                    raise httpcore2.ConnectionNotAvailable
                over = self._over
                if over is None:
                    over = self._over = await self._opened(request.extensions["timeout"]["connect"])
        return await over.handle_async_request(request)

    async def _opened(self, within: float) -> httpcore2.AsyncConnectionInterface:
        try:
            async with asyncio.timeout(within):
                return await self._settled()
        except TimeoutError:
            self._failed = True
            raise httpcore2.ConnectTimeout from None
        except BaseException:
            self._failed = True
            raise

    async def _settled(self) -> httpcore2.AsyncConnectionInterface:
        stream = await self._dialler.dial(self._origin)
        if stream.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            self._dialler.plain.add(self._place)
            return httpcore2.AsyncHTTP11Connection(self._origin, stream, self._keep)
        self._dialler.plain.discard(self._place)
        return _Multiplexed(self._origin, await self._dialler.session(stream), self._keep)

    def is_available(self) -> bool:
        """While it is being made: whether it may be HTTP/2, as far as is known."""
        if self._over is None:
            return not self._failed and self._place not in self._dialler.plain
        return self._over.is_available()

    def can_handle_request(self, origin: httpcore2.Origin) -> bool:
        """Whether it leads there."""
        return origin == self._origin

    def can_multiplex(self) -> bool:
        """Whether it may serve several requests at once."""
        return self._over is not None and self._over.can_multiplex()

    def is_connected(self) -> bool:
        """Whether it has been made and is not over."""
        return self._over is not None and self._over.is_connected()

    def is_idle(self) -> bool:
        """Whether it serves nothing."""
        return self._failed if self._over is None else self._over.is_idle()

    def is_closed(self) -> bool:
        """Whether it is over."""
        return self._failed if self._over is None else self._over.is_closed()

    def has_expired(self) -> bool:
        """Whether it has been idle for too long, or its end was heard."""
        return self._failed if self._over is None else self._over.has_expired()

    def info(self) -> str:
        """For the log."""
        return "CONNECTING" if self._over is None else self._over.info()

    async def aclose(self) -> None:
        """Closes it."""
        if self._over is not None:
            await self._over.aclose()


class _Multiplexed(httpcore2.AsyncConnectionInterface):
    """A session as the pool sees it."""

    def __init__(self, origin: httpcore2.Origin, session: Session, keep: float | None) -> None:
        self._origin = origin
        self._session = session
        self._keep = keep

    async def handle_async_request(self, request: httpcore2.Request) -> httpcore2.Response:
        """Sends it and waits for the answer's head. Raises ConnectionNotAvailable where there is no room for it."""
        stream = request.stream
        assert isinstance(stream, AsyncIterable)  # noqa: S101  # narrows: what an async client sends is that
        body = b"".join([part async for part in stream])
        if not self._session.available:
            raise httpcore2.ConnectionNotAvailable
        exchange = self._session.begin(request, bare=not body)
        try:
            await self._session.send(exchange, body)
            await self._session.head(exchange)
        except BaseException:
            self._session.leave(exchange)
            raise
        return httpcore2.Response(exchange.status, headers=exchange.headers, content=_Body(self._session, exchange))

    def is_available(self) -> bool:
        """Whether it has room for another request."""
        return self._session.available

    def can_handle_request(self, origin: httpcore2.Origin) -> bool:
        """Whether it leads there."""
        return origin == self._origin

    def can_multiplex(self) -> bool:
        """Several at once."""
        return True

    def is_connected(self) -> bool:
        """Whether it is not over."""
        return not self._session.closed

    def is_idle(self) -> bool:
        """Whether it serves nothing."""
        return self._session.idle

    def is_closed(self) -> bool:
        """Whether it is over."""
        return self._session.closed

    def has_expired(self) -> bool:
        """Whether it has been idle for too long."""
        return self._keep is not None and self._session.idle_for() > self._keep

    def info(self) -> str:
        """For the log."""
        return "HTTP/2"

    async def aclose(self) -> None:
        """Begins to close it. Nothing is awaited: who closes it may be cancelled."""
        self._session.finish(httpcore2.RemoteProtocolError("closed"))


class _Body:
    """What is left of an answer."""

    def __init__(self, session: Session, exchange: Exchange) -> None:
        self._session = session
        self._exchange = exchange

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._session.pieces(self._exchange)

    async def aclose(self) -> None:
        """Leaves the exchange. Nothing is awaited, as above."""
        self._session.leave(self._exchange)
