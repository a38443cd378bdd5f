"""One HTTP/2 connection to a provider: h2's state, the exchanges on it, and two tasks that no call can cancel.

A call that leaves may be cancelled at any await. So calls only touch what is in memory, and one task reads and
another writes: half a frame on the wire, or a read that is lost, would end the calls of everybody else here.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import httpcore2

from gateway_core.upstream.connection import MOST_HEAD, MOST_HELD
from gateway_core.upstream.http2.frames import Frames

MOST_STREAMS = 100
"""Exchanges at a time on one connection, where the provider allows as many."""

WINDOW = 16 * 1024 * 1024
"""Bytes of all bodies that may be on their way at once. They are given back as they come: an exchange that nobody
reads is made to wait by its own window of `MOST_HELD`, and by nothing that it shares."""

MOST_ANSWERED = 1000
"""Pings and settings that are answered while the provider takes no answer."""

MOST_UNSENT = 1024 * 1024
"""Bytes of requests' bodies that wait here for the socket; beyond that it waits where it is."""

TABLE = 4096
"""Bytes of header lines that are remembered, so that they need not be sent again: looking for one takes longer with
each, whatever the provider allows."""

QUIET = 1.0
"""Seconds in which a connection with an exchange may be silent without being doubted."""

PARTING = 1.0
"""Seconds that the last frames get to leave us."""

_READ = 64 * 1024
_LAST_ID = 2**31 - 1
_BETWEEN_HOPS = frozenset(
    {b"host", b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"te"}
)


class Unprocessed(httpcore2.RemoteProtocolError):
    """The provider says that it has not begun with the request: it may be sent again."""


class Exchange:
    """A request, and the answer to it."""

    __slots__ = (
        "_waiter",
        "began",
        "body",
        "ended",
        "fault",
        "headers",
        "held",
        "id",
        "owed",
        "reset",
        "sent",
        "size",
        "status",
    )

    def __init__(self, id: int, began: float) -> None:  # noqa: A002  # what a stream has
        self.id = id
        #: On the loop's clock.
        self.began = began
        #: 0: the answer's head is not here yet.
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        #: What has come of the body since it was last asked for; `held` as the window counts it.
        self.body = bytearray()
        self.held = 0
        #: What was taken, and not given back to the exchange's window.
        self.owed = 0
        #: Bytes of heads and trailers.
        self.size = 0
        #: The request is sent whole; the answer is here whole; the provider wants no more of either.
        self.sent = False
        self.ended = False
        self.reset = False
        self.fault: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def changed(self) -> None:
        """Waits until something happens to it. Raises what went wrong."""
        if self.fault is not None:
            raise self.fault
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def wake(self) -> None:
        """Something has happened to it."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def fail(self, fault: Exception) -> None:
        """The answer will not be whole. One that is stays so."""
        if not self.ended and self.fault is None:
            self.fault = fault
            self.wake()


class Session:
    """A connection, for as many exchanges at once as the provider allows."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream, on_closed: Callable[["Session"], None]) -> None:
        self._stream = stream
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._frames = Frames()
        config = h2.config.H2Configuration(header_encoding=None, validate_inbound_headers=False)
        self._h2 = h2.connection.H2Connection(config)
        self._exchanges: dict[int, Exchange] = {}
        self._ready = self._loop.create_future()
        #: No new exchanges: the provider has said so, or says nothing at all.
        self._draining = False
        self._fault: Exception | None = None
        self._limit = 0
        self._owed = 0
        #: Since the last write: answers to pings and settings, and bytes of bodies.
        self._unsent_answers = 0
        self._unsent = 0
        self._heard = self._loop.time()
        self._idle_since = self._heard
        self._to_write = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._end: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Says the first word and waits for the provider's: how many exchanges it takes is known only then."""
        code = h2.settings.SettingCodes
        wanted = {code.ENABLE_PUSH: 0, code.INITIAL_WINDOW_SIZE: MOST_HELD, code.MAX_HEADER_LIST_SIZE: MOST_HEAD}
        self._h2.local_settings = h2.settings.Settings(client=True, initial_values=wanted)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(WINDOW - self._h2.inbound_flow_control_window)
        self._tasks = [self._loop.create_task(self._read()), self._loop.create_task(self._write())]
        self._to_write.set()
        try:
            await self._ready
        except BaseException:
            self.finish(httpcore2.ConnectError("given up"))
            raise
        if not self.available:  # nor would the next connection be
            fault = httpcore2.RemoteProtocolError("takes no exchanges")
            self.finish(fault)
            raise fault

    # ------------------------------------------------------------ what calls do

    @property
    def available(self) -> bool:
        """Whether another exchange may begin now."""
        return not self._draining and self._fault is None and len(self._exchanges) < self._limit

    @property
    def idle(self) -> bool:
        """Whether there is no exchange."""
        return not self._exchanges

    def idle_for(self) -> float:
        """Seconds without an exchange."""
        return 0.0 if self._exchanges else self._loop.time() - self._idle_since

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self._fault is not None

    def begin(self, request: httpcore2.Request, *, bare: bool) -> Exchange:
        """Sends a request's head; `bare`: it has no body. Only where `available`."""
        exchange = Exchange(self._h2.get_next_available_stream_id(), self._loop.time())
        authority = next(value for name, value in request.headers if name.lower() == b"host")
        head = [
            (b":method", request.method),
            (b":authority", authority),
            (b":scheme", request.url.scheme),
            (b":path", request.url.target),
        ]
        named = [(name.lower(), value) for name, value in request.headers]
        try:
            self._h2.send_headers(
                exchange.id, head + [pair for pair in named if pair[0] not in _BETWEEN_HOPS], end_stream=bare
            )
        except h2.exceptions.ProtocolError as error:
            self._draining = True  # what it now thinks of this exchange is not known
            self._end_if_drained()
            raise httpcore2.LocalProtocolError(type(error).__name__) from None
        exchange.sent = bare
        self._exchanges[exchange.id] = exchange
        self._draining = self._draining or exchange.id + 2 > _LAST_ID
        self._to_write.set()
        return exchange

    async def send(self, exchange: Exchange, body: bytes) -> None:
        """Sends a request's body as the provider takes it; what is left where it has answered without it stays here."""
        at = 0
        while at < len(body) and not exchange.ended:  # answered whole, it wants no more
            if exchange.fault is not None:
                raise exchange.fault
            room = min(self._h2.local_flow_control_window(exchange.id), self._h2.max_outbound_frame_size)
            if room <= 0 or self._unsent > MOST_UNSENT:
                await exchange.changed()
                continue
            piece = body[at : at + room]
            at += len(piece)
            exchange.sent = at == len(body)
            self._h2.send_data(exchange.id, piece, end_stream=exchange.sent)
            self._unsent += len(piece)
            self._to_write.set()

    async def head(self, exchange: Exchange) -> None:
        """Waits for `status` and `headers` of the answer."""
        while not exchange.status:
            await exchange.changed()

    async def pieces(self, exchange: Exchange) -> AsyncIterator[bytes]:
        """The body of the answer, as it comes."""
        while True:
            if exchange.body:
                piece = bytes(exchange.body)
                exchange.body.clear()
                self._give_back(exchange)
                yield piece
            elif exchange.ended:
                return
            else:
                await exchange.changed()

    def leave(self, exchange: Exchange) -> None:
        """The exchange is over for us, and where it is not for the provider, that is told so."""
        if self._exchanges.pop(exchange.id, None) is None:
            return
        if self._fault is None and not exchange.reset and not (exchange.sent and exchange.ended):
            with suppress(h2.exceptions.ProtocolError):  # it has come to its end, which we did not want any more
                self._h2.reset_stream(exchange.id, h2.errors.ErrorCodes.CANCEL)
            self._to_write.set()
        self._idle_since = self._loop.time()
        if self._heard < exchange.began < self._idle_since - QUIET:
            self._draining = True  # not a word in all that time, for anybody: it may lead nowhere
        self._end_if_drained()

    def finish(self, fault: Exception) -> None:
        """Ends the connection, and every exchange on it with this fault. Does nothing where it is over."""
        if self._fault is not None:
            return
        self._fault = fault
        if not self._ready.done():
            self._ready.set_exception(fault)
        for exchange in self._exchanges.values():
            exchange.fail(type(fault)(str(fault)))
        with suppress(h2.exceptions.ProtocolError):  # it was said already
            self._h2.close_connection()
        self._to_write.set()
        self._end = self._loop.create_task(self._part())

    async def gone(self) -> None:
        """Waits until nothing of it is left."""
        if self._end is not None:
            await asyncio.shield(self._end)

    # ------------------------------------------------------------ what the provider says

    def _received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        passed, partings = self._frames.feed(data)
        for event in self._h2.receive_data(passed):
            self._happened(event)
        for last in partings:
            self._draining = True
            for exchange in [one for one in self._exchanges.values() if one.id > last]:
                self._turned_away(exchange)
        if self._owed >= WINDOW // 2:
            self._h2.increment_flow_control_window(self._owed)
            self._owed = 0
        self._end_if_drained()

    def _happened(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RemoteSettingsChanged):
            self._settled()
        elif isinstance(event, h2.events.PingReceived):
            self._count_answer()
        elif isinstance(event, h2.events.WindowUpdated):
            for waiting in self._exchanges.values() if event.stream_id == 0 else ():
                waiting.wake()
        if isinstance(event, h2.events.DataReceived):
            self._owed += event.flow_controlled_length
        exchange = self._exchanges.get(getattr(event, "stream_id", None) or 0)
        if exchange is not None:
            self._happened_to(exchange, event)

    def _happened_to(self, exchange: Exchange, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.DataReceived):
            exchange.held += event.flow_controlled_length
            exchange.body += event.data
            if not event.data:
                self._give_back(exchange)
        elif isinstance(
            event,
            h2.events.ResponseReceived | h2.events.InformationalResponseReceived | h2.events.TrailersReceived,
        ):
            exchange.size += sum(len(name) + len(value) + 4 for name, value in event.headers)
            if exchange.size > MOST_HEAD:
                exchange.fail(httpcore2.RemoteProtocolError("too much of a head"))
            elif isinstance(event, h2.events.ResponseReceived):
                self._answered(exchange, event)
        elif isinstance(event, h2.events.StreamEnded):
            exchange.ended = exchange.fault is None
        elif isinstance(event, h2.events.StreamReset):
            exchange.reset = True
            if event.error_code == h2.errors.ErrorCodes.REFUSED_STREAM:
                self._turned_away(exchange)
            else:
                exchange.fail(httpcore2.RemoteProtocolError("reset"))
        exchange.wake()

    def _answered(self, exchange: Exchange, event: h2.events.ResponseReceived) -> None:
        said = next((value for name, value in event.headers if name == b":status"), b"")
        if len(said) != 3 or not said.isdigit():
            exchange.fail(httpcore2.RemoteProtocolError("no status"))
            return
        exchange.headers = [(name, value) for name, value in event.headers if not name.startswith(b":")]
        exchange.status = int(said)

    def _turned_away(self, exchange: Exchange) -> None:
        """The provider says that it has not begun with it; where it has begun to answer, that is not believed."""
        exchange.fail(httpcore2.RemoteProtocolError("reset") if exchange.size else Unprocessed("not begun"))

    def _settled(self) -> None:
        self._limit = min(MOST_STREAMS, self._h2.remote_settings.max_concurrent_streams)
        self._h2.encoder.header_table_size = min(TABLE, self._h2.remote_settings.header_table_size)
        self._count_answer()
        if not self._ready.done():
            self._ready.set_result(None)
        for exchange in self._exchanges.values():
            exchange.wake()  # its window may be another

    def _count_answer(self) -> None:
        self._unsent_answers += 1
        if self._unsent_answers > MOST_ANSWERED:
            self.finish(httpcore2.RemoteProtocolError("asks and does not listen"))

    def _give_back(self, exchange: Exchange) -> None:
        """What was held is taken: so much more may come, where anything may."""
        exchange.owed += exchange.held
        exchange.held = 0
        if exchange.owed >= MOST_HELD // 2 and not exchange.ended and exchange.fault is None and self._fault is None:
            with suppress(h2.exceptions.ProtocolError, KeyError):  # over, and not said yet
                self._h2.increment_flow_control_window(exchange.owed, exchange.id)
            exchange.owed = 0
            self._to_write.set()

    # ------------------------------------------------------------ the two tasks, and the end

    async def _read(self) -> None:
        fault: Exception = httpcore2.RemoteProtocolError("hung up")
        try:
            while data := await self._stream.read(_READ):
                self._received(data)
                self._to_write.set()
        except (httpcore2.NetworkError, httpcore2.RemoteProtocolError) as error:
            fault = error
        except Exception as error:  # noqa: BLE001  # whatever bytes make of the parsers, no call may wait for nothing
            fault = httpcore2.RemoteProtocolError(type(error).__name__)
        self.finish(fault)

    async def _write(self) -> None:
        try:
            while True:
                if data := self._h2.data_to_send():
                    await self._stream.write(data)
                    self._written()
                elif self._fault is not None:
                    return
                else:
                    await self._to_write.wait()
                    self._to_write.clear()
        except httpcore2.NetworkError as error:
            self.finish(error)

    def _written(self) -> None:
        self._unsent_answers = 0
        if self._unsent:
            self._unsent = 0
            for exchange in self._exchanges.values():
                exchange.wake()  # it may have more to send

    def _end_if_drained(self) -> None:
        if self._draining and not self._exchanges:
            self.finish(httpcore2.RemoteProtocolError("drained"))

    async def _part(self) -> None:
        """The last frames go out, and then it is closed."""
        reading, writing = self._tasks or (None, None)
        try:
            if writing is not None:
                self._to_write.set()
                await asyncio.wait([writing], timeout=PARTING)
        finally:
            for task in (reading, writing):
                if task is not None:
                    task.cancel()
            with suppress(httpcore2.NetworkError, OSError):
                await self._stream.aclose()
            self._on_closed(self)
