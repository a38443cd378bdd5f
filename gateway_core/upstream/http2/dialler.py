"""Streams to providers with TLS in them, through a proxy where one is configured."""

import base64
import ssl

import httpcore2
import httpx2

from gateway_core.upstream.http2.session import Session

Options = list[tuple[int, int, int]]
"""Of every socket: level, name, value."""


class Dialler:
    """Makes the streams of a pool and the sessions on them, and knows who speaks what. Its callers bound the time."""

    def __init__(self, context: ssl.SSLContext, options: Options, proxy: httpx2.Proxy | None) -> None:
        self._context = context
        self._options = options
        self._proxy = proxy
        self._backend = httpcore2.AnyIOBackend()
        #: Hosts and ports whose last connection was HTTP/1.1.
        self.plain: set[tuple[bytes, int]] = set()
        #: All that are not gone yet.
        self.sessions: set[Session] = set()

    async def dial(self, origin: httpcore2.Origin) -> httpcore2.AsyncNetworkStream:
        """A stream to an origin; whoever gets it closes it. Raises ProxyError where the proxy lets nothing through."""
        if self._proxy is None:
            stream = await self._connect(origin)
        else:
            stream = await self._tunnel(self._proxy, origin)
        return await _with_tls(stream, self._context, origin)

    async def session(self, stream: httpcore2.AsyncNetworkStream) -> Session:
        """An open session on a stream, which it closes in the end."""
        session = Session(stream, self.sessions.discard)
        self.sessions.add(session)
        await session.open()
        return session

    async def _connect(self, origin: httpcore2.Origin) -> httpcore2.AsyncNetworkStream:
        return await self._backend.connect_tcp(origin.host.decode("ascii"), origin.port, socket_options=self._options)

    async def _tunnel(self, proxy: httpx2.Proxy, origin: httpcore2.Origin) -> httpcore2.AsyncNetworkStream:
        target = b"%b:%d" % (origin.host, origin.port)
        url = httpcore2.URL(scheme=proxy.url.raw_scheme, host=proxy.url.raw_host, port=proxy.url.port, target=target)
        headers = [(b"Host", target), (b"Accept", b"*/*"), *proxy.headers.raw]
        if proxy.raw_auth is not None:
            headers.append((b"Proxy-Authorization", b"Basic " + base64.b64encode(b":".join(proxy.raw_auth))))
        stream = await self._connect(url.origin)
        if url.scheme == b"https":
            stream = await _with_tls(stream, proxy.ssl_context or httpcore2.default_ssl_context(), url.origin)
        tunnel = httpcore2.AsyncHTTP11Connection(url.origin, stream)
        try:
            answer = await tunnel.handle_async_request(httpcore2.Request("CONNECT", url, headers=headers))
        except BaseException:
            await stream.aclose()
            raise
        if not 200 <= answer.status <= 299:
            await stream.aclose()
            raise httpcore2.ProxyError(str(answer.status))
        through: httpcore2.AsyncNetworkStream = answer.extensions["network_stream"]
        return through


async def _with_tls(
    stream: httpcore2.AsyncNetworkStream, context: ssl.SSLContext, origin: httpcore2.Origin
) -> httpcore2.AsyncNetworkStream:
    try:
        return await stream.start_tls(context, server_hostname=origin.host.decode("ascii"))
    except BaseException:
        await stream.aclose()
        raise
