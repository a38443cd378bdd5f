"""The Upstream on connections of our own: asyncio.Protocol and httptools. HTTP/1.1, with TLS, without proxies.

When a request is sent twice
----------------------------
A completion that is sent twice may be paid twice. So this client sends a request again in one case only, once, and on
a new connection: a connection that had served before was lost, nothing of an answer had come, and a part of the
request had not left this process. A server that lacks a part of the body cannot have acted on it.

The classic race is not that case. A provider may close an idle connection at the moment in which a request is
written to it; the request was sent, and nobody here can know what became of it: that is Unavailable, and whether the
call is worth another attempt is decided where attempts are counted and configured (`[upstream] retries`). The race
is kept rare instead. An idle connection is dropped as soon as the loop hears that it was closed; what the kernel has
heard and the loop has not is looked for right before a request is written; and a connection is used no longer than
the provider's own Keep-Alive says.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping

from gateway_core.config import UpstreamConfig
from gateway_core.errors import Unavailable
from gateway_core.ports import UpstreamRequest, WholeAnswer
from gateway_core.types import Deadlines
from gateway_core.upstream.body import Events, whole
from gateway_core.upstream.connection import Connection, Unprocessed
from gateway_core.upstream.deadlines import Sweep
from gateway_core.upstream.faults import COMPRESSED
from gateway_core.upstream.head import ENCODED
from gateway_core.upstream.pool import Pool
from gateway_core.upstream.retry_after import retry_after
from gateway_core.upstream.target import Target
from gateway_core.upstream.tls import client_context
from gateway_core.upstream.unexpected import whole_answer

LAST_MOMENT = 0.05
"""Seconds that a finished stream gets to end its body, so that its connection can be used again."""

_MOST_TARGETS = 1024
_RETRY = b"\r\nretry-after"


class NativeUpstream:
    """Connections to all providers."""

    def __init__(self, config: UpstreamConfig, trust: Callable[[], ssl.SSLContext] = client_context) -> None:
        self.deadlines = Deadlines(
            connect=config.connect_timeout,
            first_byte=config.first_byte_timeout,
            idle=config.idle_timeout,
            total=config.total_timeout,
        )
        self._config = config
        self._pool = Pool(config.max_connections, Sweep(), trust)
        self._targets: dict[str, Target] = {}

    async def send(self, request: UpstreamRequest) -> "NativeResponse":
        """Sends it and waits for the answer's head. The method is one whose answers have bodies: not HEAD."""
        return NativeResponse(await self._answering(request), self._pool, self._config)

    async def ask(self, request: UpstreamRequest) -> WholeAnswer:
        """Sends it and waits for the whole answer, which mostly comes with its head."""
        connection = await self._answering(request)
        body = connection.plain(self._config.max_answer_bytes)
        if body is None:
            return await whole_answer(NativeResponse(connection, self._pool, self._config))
        self._pool.give(connection)
        return WholeAnswer(200, body)

    async def close(self) -> None:
        """Closes every connection."""
        await self._pool.close()

    async def _answering(self, request: UpstreamRequest) -> Connection:
        """A connection on which the head of the answer is there."""
        target = self._targets.get(request.url)
        if target is None:
            target = self._target(request.url)
        head = target.head(request.method, request.headers)
        deadlines = request.deadlines or self.deadlines
        began = asyncio.get_running_loop().time()
        connection = self._pool.kept(target.origin, began)
        if connection is None:
            connection = await self._pool.opened(target.origin, deadlines, began)
        try:
            connection.begin(head, request.body, deadlines, began)
            while (waiter := connection.awaited()) is not None:
                await waiter
        except Unprocessed:
            self._end(connection)
            connection = await self._pool.opened(target.origin, deadlines, began, new=True)
            await self._once_more(connection, head, request.body, deadlines, began)
        except BaseException:
            self._end(connection)
            raise
        return connection

    async def _once_more(
        self, connection: Connection, head: bytes, body: bytes, deadlines: Deadlines, began: float
    ) -> None:
        """The same, on a connection that is new."""
        try:
            connection.begin(head, body, deadlines, began)
            while (waiter := connection.awaited()) is not None:
                await waiter
        except BaseException:
            self._end(connection)
            raise

    def _end(self, connection: Connection) -> None:
        connection.cut()
        self._pool.give(connection)

    def _target(self, url: str) -> Target:
        if len(self._targets) >= _MOST_TARGETS:
            self._targets.clear()
        target = self._targets[url] = Target(url)
        return target


class NativeResponse:
    """A provider's answer."""

    __slots__ = ("_config", "_connection", "_events", "_pool", "_readable", "headers", "retry_after", "status")

    def __init__(self, connection: Connection, pool: Pool, config: UpstreamConfig) -> None:
        self.status = connection.status
        headers = connection.headers
        self.headers: Mapping[str, str] = headers
        self.retry_after = retry_after(headers) if headers.have(_RETRY) else None
        self._readable = not headers.have(ENCODED) or headers["content-encoding"].lower() == "identity"
        self._connection: Connection | None = connection
        self._events: Events | None = None
        self._pool = pool
        self._config = config

    async def read(self, limit: int | None = None) -> bytes:
        """The whole body, at most `limit` bytes (None: as configured); raises Unavailable beyond that."""
        return await whole(self._open().piece, self._config.max_answer_bytes if limit is None else limit)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, nothing held back."""
        connection = self._open()
        while piece := await connection.piece():
            yield piece

    def events(self) -> Events:
        """The body as server-sent events."""
        if self._events is None:
            self._events = Events(self._open().piece, self._config.max_event_bytes)
        return self._events

    async def pour(self, take: Callable[[bytes], bool]) -> bool:
        """Gives what is left of the body to `take`, in the very callback that brought it, until its end or until that
        wants no more."""
        return await self._open().poured(take)

    async def close(self, *, finished: bool = False) -> None:
        """Gives the connection back, or cuts it where the answer has not come to its end."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            if finished and not connection.done:
                async with asyncio.timeout(LAST_MOMENT):
                    while await connection.piece():
                        pass
        except (TimeoutError, Unavailable):
            pass  # it is cut instead
        finally:
            self._pool.give(connection)

    def _open(self) -> Connection:
        if self._connection is None:
            raise Unavailable("was closed before it was read")
        if not self._readable:
            raise Unavailable(COMPRESSED)
        return self._connection
