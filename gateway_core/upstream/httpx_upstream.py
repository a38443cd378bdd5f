"""The Upstream over httpx2: its pooled transport, without a client's cookies and redirects. HTTP/2 where configured."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager

import httpx2

from gateway_core.config import UpstreamConfig
from gateway_core.errors import ConfigError, NoConnectionFree, Unavailable
from gateway_core.ports import UpstreamRequest, WholeAnswer
from gateway_core.types import Deadlines
from gateway_core.upstream.body import Events, whole
from gateway_core.upstream.deadlines import Sweep, Wait
from gateway_core.upstream.faults import (
    COMPRESSED,
    CONNECT_TIMEOUT,
    HUNG_UP,
    NO_ADDRESS,
    NONE_FREE,
    broken,
    not_connected,
    too_slow,
)
from gateway_core.upstream.retry_after import retry_after
from gateway_core.upstream.tls import client_context
from gateway_core.upstream.unexpected import whole_answer

KEEP_ALIVE = 30.0
"""Seconds that an idle connection is kept."""

LAST_MOMENT = 0.05
"""Seconds that a finished stream gets to end its body, so that its connection can be used again."""


class HttpxUpstream:
    """Connections to all providers, by httpx2."""

    def __init__(
        self,
        config: UpstreamConfig,
        trust: Callable[[], ssl.SSLContext] = client_context,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.deadlines = Deadlines(
            connect=config.connect_timeout,
            first_byte=config.first_byte_timeout,
            idle=config.idle_timeout,
            total=config.total_timeout,
        )
        self._config = config
        self._trust = trust
        self._proxy = None if config.proxy is None else _proxy(config.proxy, os.environ if environ is None else environ)
        self._sweep = Sweep()
        # Apart, so that the certificates are only loaded where some provider is reached by https.
        self._transports: dict[bool, httpx2.AsyncHTTPTransport] = {}

    async def send(self, request: UpstreamRequest) -> "HttpxResponse":
        """Sends it and waits for the answer's head."""
        deadlines = request.deadlines or self.deadlines
        timeouts = {"connect": deadlines.connect, "pool": deadlines.connect, "read": None, "write": None}
        clock = _CallClock(self._sweep, deadlines)
        with _faults_mapped():
            message = httpx2.Request(
                request.method,
                request.url,
                headers={**request.headers, "accept-encoding": "identity"},
                content=request.body,
                extensions={"timeout": timeouts},
            )
            transport = self._transport(secure=message.url.scheme == "https")
            with clock.wait():
                response = await transport.handle_async_request(message)
        return HttpxResponse(response, clock, self._config)

    async def ask(self, request: UpstreamRequest) -> WholeAnswer:
        """Sends it and waits for the whole answer."""
        return await whole_answer(await self.send(request))

    async def close(self) -> None:
        """Closes every connection."""
        transports, self._transports = self._transports, {}
        for transport in transports.values():
            await transport.aclose()

    def _transport(self, *, secure: bool) -> httpx2.AsyncHTTPTransport:
        if secure not in self._transports:
            self._transports[secure] = self._new_transport(secure=secure)
        return self._transports[secure]

    def _new_transport(self, *, secure: bool) -> httpx2.AsyncHTTPTransport:
        most = self._config.max_connections
        limits = httpx2.Limits(max_connections=most, max_keepalive_connections=most, keepalive_expiry=KEEP_ALIVE)
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        if secure and self._config.http2:
            # Only here: it needs h2, which nothing else does.
            from gateway_core.upstream.http2.transport import Http2Transport

            return Http2Transport(self._trust(), self._proxy, limits, options)
        return httpx2.AsyncHTTPTransport(
            verify=self._trust() if secure or self._proxy is not None else False,
            trust_env=False,
            proxy=self._proxy,
            limits=limits,
            socket_options=options,
        )


class _CallClock:
    """The deadlines of one call, from its start: until the first byte of the body, between two reads, in all."""

    __slots__ = ("_deadlines", "_first", "_last", "_loop", "_started", "_sweep")

    def __init__(self, sweep: Sweep, deadlines: Deadlines) -> None:
        self._sweep = sweep
        self._deadlines = deadlines
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._started = False
        self._first = now + deadlines.first_byte
        self._last = now + deadlines.total

    def started(self) -> None:
        """The first byte of the body is there."""
        self._started = True

    def wait(self) -> Wait:
        """For one wait for the provider: until the next of the deadlines."""
        due = self._loop.time() + self._deadlines.idle if self._started else self._first
        complaint = too_slow(self._deadlines, in_all=due >= self._last, started=self._started)
        return Wait(self._sweep, self._loop, min(due, self._last), complaint)


class HttpxResponse:
    """A provider's answer over httpx2."""

    def __init__(self, response: httpx2.Response, clock: _CallClock, config: UpstreamConfig) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.retry_after = retry_after(response.headers)
        self._response = response
        self._body = response.aiter_raw()
        self._events = Events(self._next, config.max_event_bytes)
        self._clock = clock
        self._config = config
        self._ended = False

    async def read(self, limit: int | None = None) -> bytes:
        """The whole body, at most `limit` bytes (None: as configured); raises Unavailable beyond that."""
        return await whole(self._next, self._config.max_answer_bytes if limit is None else limit)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, nothing held back."""
        while piece := await self._next():
            yield piece

    def events(self) -> Events:
        """The body as server-sent events."""
        return self._events

    async def pour(self, take: Callable[[bytes], bool]) -> bool:
        """Gives what is left of the body to `take`, until its end or until that wants no more."""
        while piece := await self._next():
            if not take(piece):
                return False
        return True

    async def close(self, *, finished: bool = False) -> None:
        """Gives the connection back, or cuts it where the body was not read to its end."""
        try:
            if finished and not self._ended:
                async with asyncio.timeout(LAST_MOMENT):
                    await self._next()
        except (TimeoutError, Unavailable):
            pass  # it is cut instead
        finally:
            if not self._ended:
                # Shielded: a call that is cancelled again while it hangs up must still hang up.
                await asyncio.shield(self._hang_up())

    async def _hang_up(self) -> None:
        await self._body.aclose()
        await self._response.aclose()

    async def _next(self) -> bytes:
        """The next piece of the body, b"" at its end."""
        if self._ended:
            return b""
        if self.headers.get("content-encoding", "identity") != "identity":
            raise Unavailable(COMPRESSED)
        with _faults_mapped(), self._clock.wait():
            piece = await anext(self._body, b"")
        self._clock.started()
        self._ended = not piece
        return piece


def _proxy(address: str, environ: Mapping[str, str]) -> httpx2.Proxy:
    """The proxy at an address, or at the one in the environment that "env:NAME" names. Raises ConfigError."""
    source, _, name = address.partition(":")
    if source == "env":
        address = environ.get(name, "").strip()
    try:
        return httpx2.Proxy(address)
    except (httpx2.InvalidURL, ValueError):
        message = f"the environment variable {name} holds no address" if source == "env" else "is no address"
        raise ConfigError(f'{message} such as "http://proxy.example.com:3128"', where="[upstream] proxy") from None


@contextmanager
def _faults_mapped() -> Iterator[None]:
    """What the library raises becomes a fault of ours, which names neither an address nor anything sent."""
    try:
        yield
    except httpx2.ConnectTimeout:
        raise Unavailable(CONNECT_TIMEOUT) from None
    except httpx2.ProxyError:
        raise Unavailable("could not be connected to: the proxy refused") from None
    except httpx2.ConnectError as error:
        raise Unavailable(not_connected(error)) from None
    except httpx2.PoolTimeout:
        raise NoConnectionFree(NONE_FREE) from None
    except httpx2.RemoteProtocolError:
        raise Unavailable(HUNG_UP) from None
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
        raise Unavailable(NO_ADDRESS) from None
    except (httpx2.HTTPError, httpx2.StreamError) as error:
        raise Unavailable(broken(error)) from None
