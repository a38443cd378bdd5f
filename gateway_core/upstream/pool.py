"""Connections that are kept for reuse, and a bound on how many there are."""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable

from gateway_core.errors import NoConnectionFree, Unavailable
from gateway_core.types import Deadlines
from gateway_core.upstream.connect import connected_socket
from gateway_core.upstream.connection import Connection
from gateway_core.upstream.deadlines import Sweep, Wait
from gateway_core.upstream.faults import CONNECT_TIMEOUT, NONE_FREE, not_connected, too_slow
from gateway_core.upstream.target import Origin


class Pool:
    """At most `most` connections, in use and idle together. Who comes first gets the next one that is free.

    An idle one that is due is closed by the sweep.
    """

    def __init__(self, most: int, sweep: Sweep, trust: Callable[[], ssl.SSLContext]) -> None:
        self._most = most
        self._sweep = sweep
        self._trust = trust
        self._context: ssl.SSLContext | None = None
        #: Of each origin the one used last at the end: it is the next to be used.
        self._idle: dict[Origin, list[Connection]] = {}
        #: Places that are taken, by connections in use and by those that are being made.
        self._taken = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._all: set[Connection] = set()
        self._closed = False
        #: Done, once the pool is closed, when the last connection is lost.
        self._gone: asyncio.Future[None] | None = None

    def kept(self, origin: Origin, now: float) -> Connection | None:
        """An idle connection that can be used at once, if there is one and nobody waits for a place."""
        if self._taken >= self._most:
            return None
        connection = self._usable(origin, now)
        if connection is not None:
            self._taken += 1
        return connection

    async def opened(self, origin: Origin, deadlines: Deadlines, began: float, *, new: bool = False) -> Connection:
        """A connection as soon as there is a place for it; `new`: not one that has served before."""
        loop = asyncio.get_running_loop()
        connect, last = loop.time() + deadlines.connect, began + deadlines.total
        end = min(began + deadlines.first_byte, last)
        late = too_slow(deadlines, in_all=end == last, started=False)
        if self._closed:
            raise Unavailable("is not asked any more: the gateway stops")
        if self._taken >= self._most:
            try:
                with Wait(self._sweep, loop, min(connect, end), NONE_FREE if connect < end else late):
                    await self._place(loop)
            except Unavailable as met:
                raise NoConnectionFree(met.detail) from None
            connect = loop.time() + deadlines.connect
        else:
            self._taken += 1
        try:
            connection = None if new else self._usable(origin, loop.time())
            if connection is None:
                self._make_room()
                with Wait(self._sweep, loop, min(connect, end), CONNECT_TIMEOUT if connect < end else late):
                    connection = await self._connect(loop, origin)
        except BaseException:
            self._leave_place()
            raise
        return connection

    def give(self, connection: Connection) -> None:
        """Takes a connection back: it is kept where it can be used again, and cut where it cannot."""
        if connection.reusable and not self._closed:
            connection.rest()
            self._idle.setdefault(connection.origin, []).append(connection)
        else:
            connection.cut()
        if self._queue:
            self._leave_place()
        else:
            self._taken -= 1

    async def close(self) -> None:
        """Cuts every connection, and returns when all are gone."""
        self._closed = True
        if self._all:
            self._gone = asyncio.get_running_loop().create_future()
            for connection in self._all:
                connection.cut()
            await self._gone

    # ------------------------------------------------------------ places

    async def _place(self, loop: asyncio.AbstractEventLoop) -> None:
        ticket = loop.create_future()
        self._queue.append(ticket)
        try:
            await ticket
        except asyncio.CancelledError:
            if ticket.done() and not ticket.cancelled():
                self._leave_place()  # it was ours already
            raise

    def _leave_place(self) -> None:
        while self._queue:
            ticket = self._queue.popleft()
            if not ticket.done():
                ticket.set_result(None)  # the place goes on to it
                return
        self._taken -= 1

    # ------------------------------------------------------------ idle connections

    def _usable(self, origin: Origin, now: float) -> Connection | None:
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.usable(now):
                return connection
            connection.cut()
        return None

    def _make_room(self) -> None:
        """For one more connection, where idle ones to other origins have what is left: the oldest of one goes."""
        if self._taken + sum(map(len, self._idle.values())) > self._most:
            oldest = min((idle[0] for idle in self._idle.values() if idle), key=lambda idle: idle.good_until)
            self._forget(oldest)
            oldest.cut()

    def _forget(self, connection: Connection) -> None:
        idle = self._idle.get(connection.origin, [])
        if connection in idle:
            idle.remove(connection)
            if not idle:
                del self._idle[connection.origin]

    # ------------------------------------------------------------ new connections

    async def _connect(self, loop: asyncio.AbstractEventLoop, origin: Origin) -> Connection:
        connection = Connection(origin, loop, self._sweep, self._lost)
        self._all.add(connection)
        try:
            end = await connected_socket(origin.host, origin.port)
            try:
                await loop.create_connection(
                    lambda: connection,
                    sock=end,
                    ssl=self._tls() if origin.secure else None,
                    server_hostname=origin.host if origin.secure else None,
                )
            except BaseException:
                end.close()
                raise
        except (OSError, UnicodeError) as error:
            self._lost(connection)
            raise Unavailable(not_connected(error)) from None
        except BaseException:
            self._lost(connection)
            raise
        return connection

    def _tls(self) -> ssl.SSLContext:
        # Made when the first provider is reached by https: it reads all the system's certificates.
        if self._context is None:
            self._context = self._trust()
        return self._context

    def _lost(self, connection: Connection) -> None:
        self._all.discard(connection)
        self._sweep.discard(connection)
        self._forget(connection)
        if self._gone is not None and not self._all and not self._gone.done():
            self._gone.set_result(None)
