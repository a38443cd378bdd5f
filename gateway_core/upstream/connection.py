"""One HTTP/1.1 connection to a provider: an asyncio.Protocol around httptools' parser, one exchange at a time."""

import asyncio
import math
import select
import socket
from collections.abc import Callable
from typing import cast

import httptools

from gateway_core.errors import Unavailable
from gateway_core.types import Deadlines
from gateway_core.upstream.deadlines import Sweep
from gateway_core.upstream.faults import HUNG_UP, broken, too_slow
from gateway_core.upstream.head import ENCODED, Headers, begins
from gateway_core.upstream.target import Origin

KEEP_ALIVE = 30.0
"""Seconds that an idle connection is kept; less where the provider says so."""

MOST_HEAD = 64 * 1024
"""Bytes of an answer's head, or of anything else between two pieces of its body: extensions, trailers, 1xx answers."""

MOST_HELD = 256 * 1024
"""Bytes of a body that wait here before the provider is made to wait: one read more may come on top of it."""

_COPIED = 64 * 1024
"""A body up to this size is put behind its head for one system call."""

_IDLE, _HEAD, _BODY, _DONE = range(4)

_KEPT = begins("keep-alive")


class Unprocessed(Unavailable):
    """The connection was lost before the request had left us whole, so nobody can have acted on it."""


class Unasked(Exception):
    """Another answer behind one that is whole; raised through the parser, which ends the connection."""


class Connection(asyncio.Protocol):
    """A connection, and the answer that comes in on it. The parser calls its on_… methods.

    `due` is the deadline of what is awaited, or of its rest: the sweep ends it then.
    """

    __slots__ = (
        "_answered",
        "_behind",
        "_beyond",
        "_came",
        "_deadlines",
        "_fault",
        "_head",
        "_held",
        "_last",
        "_lower",
        "_on_lost",
        "_parser",
        "_paused",
        "_pieces",
        "_poll",
        "_served",
        "_started",
        "_state",
        "_stopped",
        "_sweep",
        "_take",
        "_transport",
        "_unwritten",
        "_waiter",
        "due",
        "good_until",
        "looked_at",
        "loop",
        "on_body",
        "origin",
        "reusable",
        "status",
    )

    def __init__(
        self, origin: Origin, loop: asyncio.AbstractEventLoop, sweep: Sweep, on_lost: Callable[["Connection"], None]
    ) -> None:
        self.origin = origin
        self.loop = loop
        self._sweep = sweep
        #: On the loop's clock.
        self.due = self.looked_at = math.inf
        #: On the loop's clock: until when it may be idle.
        self.good_until = 0.0
        self.status = 0
        #: The answer is over, and another may follow it.
        self.reusable = False
        self._on_lost = on_lost
        #: What has come of the body since it was last asked for: one list for good, since the parser adds to it.
        self._pieces: list[bytes] = []
        self.on_body = self._pieces.append
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._poll = select.poll()
        self._deadlines = Deadlines()
        self._last = 0.0
        self._state = _IDLE
        self._served = 0
        self._started = False
        self._answered = False
        self._unwritten = False
        self._fault: str | None = None
        #: Bytes of the reads that they came in.
        self._held = 0
        #: Bytes that came since the last piece of a body.
        self._beyond = 0
        #: What came up to the answer's head, and where the last 1xx head in it ended.
        self._came = b""
        self._behind = 0
        #: The answer's head, and the same in lower case.
        self._head = self._lower = b""
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        #: Takes the body as it comes, while somebody waits in `poured`; and what ended that.
        self._take: Callable[[bytes], bool] | None = None
        self._stopped: bool | BaseException | None = None

    # ------------------------------------------------------------ one exchange

    def begin(self, head: bytes, body: bytes, deadlines: Deadlines, began: float) -> None:
        """Writes a request: `head` ends where the length of the body belongs. `began`: the loop's time of the call."""
        self._state, self._fault = _HEAD, None
        self._started = self._answered = self._unwritten = self.reusable = False
        self._beyond = 0
        self._served += 1
        self._deadlines = deadlines
        first, self._last = began + deadlines.first_byte, began + deadlines.total
        self._expect_by(min(first, self._last))
        transport = self._transport
        if transport is None or transport.is_closing():
            self._fault = HUNG_UP
        elif len(body) <= _COPIED:
            transport.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
        else:
            transport.writelines((b"%b%d\r\n\r\n" % (head, len(body)), body))

    def awaited(self) -> asyncio.Future[None] | None:
        """What to wait for, and then to ask again; None: `status` and `headers` of the answer are there."""
        if self._state != _HEAD:
            self._waiter = None
            return None
        if self._fault is not None:
            if self._unwritten and not self._answered and self._served > 1:
                raise Unprocessed(self._fault)
            raise Unavailable(self._fault)
        self._waiter = self.loop.create_future()
        return self._waiter

    def plain(self, limit: int) -> bytes | None:
        """The body of a success that is here whole, within `limit`, and not compressed. None: there is more to it."""
        if self._state != _DONE or self.status != 200 or self._lower.find(ENCODED) >= 0:
            return None
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return body if len(body) <= limit else None

    async def piece(self) -> bytes:
        """What has come of the body since the last call, b"" at its end."""
        while not self._pieces:
            if self._state == _DONE:
                return b""
            if self._fault is not None:
                raise Unavailable(self._fault)
            if self._started:
                self._expect_by(min(self.loop.time() + self._deadlines.idle, self._last))
            await self._wait()
            if self._started:
                self.due = self._last
        return self.left()

    def left(self) -> bytes:
        """What has come of the body since it was last asked for."""
        body = b"".join(self._pieces)  # of one piece it is the piece itself
        self._pieces.clear()
        self._held = 0
        if self._paused:
            self._resume()
        return body

    async def poured(self, take: Callable[[bytes], bool]) -> bool:
        """Gives what comes of the body to `take` as it comes: without a wake-up for each piece.

        True at its end; False where `take` answered so, which is to be asked again for the rest.
        """
        while True:
            if self._pieces and not take(self.left()):
                return False
            if self._state == _DONE:
                return True
            if self._fault is not None:
                raise Unavailable(self._fault)
            self._await_more(take)
            try:
                await self._wait()
            finally:
                self._take = None
                self.due = self._last
            if isinstance(self._stopped, BaseException):
                raise self._stopped
            if self._stopped:
                return False

    def _await_more(self, take: Callable[[bytes], bool]) -> None:
        self._take, self._stopped = take, None
        self._expect_by(min(self.loop.time() + self._deadlines.idle, self._last))

    def _pour(self, take: Callable[[bytes], bool]) -> None:
        """In the callback that brought it."""
        idle, self.due = self.loop.time() + self._deadlines.idle, self._last
        if idle < self.due:
            self.due = idle
        piece = b"".join(self._pieces)
        self._pieces.clear()
        try:
            if not take(piece):
                self._stopped = True
        except BaseException as error:  # noqa: BLE001  # it belongs to who waits in `poured`
            self._stopped = error

    @property
    def headers(self) -> Headers:
        """The answer's."""
        return Headers(self._head, self._lower)

    @property
    def done(self) -> bool:
        """The whole answer is here."""
        return self._state == _DONE

    async def _wait(self) -> None:
        waiter = self._waiter = self.loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _expect_by(self, due: float) -> None:
        """A new deadline, on the loop's clock. One that is only put off need not be told to the sweep."""
        self.due = due
        if due < self.looked_at:
            self._sweep.add(self)

    def expire(self) -> None:
        """The deadline has passed."""
        if self._state == _IDLE:
            self.cut()
            return
        self._unwritten = False  # there is no time for another try
        self._fail(too_slow(self._deadlines, in_all=self.due >= self._last, started=self._started))

    def _fail(self, fault: str) -> None:
        if self._fault is None:
            self._fault = fault
        self.cut()
        self._wake()

    # ------------------------------------------------------------ between exchanges

    def rest(self) -> None:
        """The exchange is over, and the connection is kept for another."""
        self._state = _IDLE
        self._pieces.clear()
        self._held = 0
        self._expect_by(self.good_until)
        if self._paused:
            self._resume()

    def usable(self, now: float) -> bool:
        """Whether a request may be sent: nothing has come on the idle connection, its end least of all."""
        transport = self._transport
        if transport is None or transport.is_closing() or now >= self.good_until:
            return False
        # The loop may not have looked yet: what waits in the kernel now is the end, or something nobody asked for.
        return not self._poll.poll(0)

    def cut(self) -> None:
        """Hangs up at once. Does nothing where that has happened already."""
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------ what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there, TLS included."""
        self._transport = cast("asyncio.Transport", transport)
        end: socket.socket = transport.get_extra_info("socket")
        self._poll.register(end.fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._state == _IDLE or self._state == _DONE:
            self.reusable = False  # nobody asked
            self.cut()
            return
        self._answered = True
        if self._state == _HEAD:
            self._came = self._came + data if self._came else data
        before = len(self._pieces)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.reusable = False
            if self._state != _DONE:
                self._fail(HUNG_UP)
        if len(self._pieces) > before:
            self._started = True
            self._beyond = 0
        else:
            self._note_beyond(len(data))
        if self._take is not None:
            if self._pieces:
                self._pour(self._take)
            if self._stopped or self._state != _BODY or self._fault is not None:
                self._take = None
                self._wake()
        elif self._state == _DONE:
            self._wake()
        elif self._state == _BODY:
            self._hold(len(data))
            self._wake()

    def _note_beyond(self, size: int) -> None:
        """So much came, and nothing of a body with it."""
        self._beyond += size
        if self._beyond > MOST_HEAD and self._state != _DONE:
            self._fail(HUNG_UP)

    def _hold(self, size: int) -> None:
        """So much waits here until somebody asks for it; where that is too much, the provider is made to wait."""
        self._held += size
        if self._held > MOST_HELD and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def eof_received(self) -> None:
        """The provider says no more; a body that has no other end ends here. The transport then closes itself."""
        self.reusable = False
        if self._state == _BODY and _until_close(self.headers):
            self._state = _DONE
            self._wake()
        elif self._state == _HEAD or self._state == _BODY:
            self._fail(HUNG_UP)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over, whoever ended it."""
        self.reusable = False
        if self._fault is None and (self._state == _HEAD or self._state == _BODY):
            self._fault = HUNG_UP if exc is None else broken(exc)
        self._transport = None
        self._on_lost(self)
        self._wake()

    def pause_writing(self) -> None:
        """Much of the request has not left us yet."""
        self._unwritten = True

    def resume_writing(self) -> None:
        """All but a little of it has."""
        self._unwritten = False

    def _resume(self) -> None:
        self._paused = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # ------------------------------------------------------------ what the parser calls

    def on_message_begin(self) -> None:
        """An answer begins; behind a whole one, nobody asked for it."""
        if self._state == _DONE:
            raise Unasked

    def on_headers_complete(self) -> None:
        """The head is whole. 1xx is only a word in between, but a change of protocol is none that we speak."""
        if self._state != _HEAD:
            return
        came, begin = self._came, self._behind
        while came[begin] in b"\r\n":  # the parser passes over these, too
            begin += 1
        end = came.find(b"\r\n\r\n", begin)
        self.status = self._parser.get_status_code()
        if end > MOST_HEAD:
            self._fail(HUNG_UP)
        elif self.status >= 200:
            self._came, self._behind, self._head = b"", 0, came[begin:end]
            self._lower = self._head.lower()
            if self._fault is None:
                self._state = _BODY
        elif self.status < 100 or self.status == 101:
            self._fail(HUNG_UP)
        else:
            self._behind = end + 4

    def on_message_complete(self) -> None:
        """The answer is whole, or a 1xx one is."""
        if self._state == _BODY:
            self._state = _DONE
            # Only here: once the message is over the parser forgets.
            self.reusable = self._parser.should_keep_alive()
            if self.reusable:
                kept = KEEP_ALIVE if self._lower.find(_KEPT) < 0 else _kept_for(self.headers["keep-alive"])
                self.good_until = self.loop.time() + kept


def _until_close(headers: Headers) -> bool:
    """Whether the body ends with the connection."""
    codings = headers.get("transfer-encoding")
    if codings is not None:
        return codings.rpartition(",")[2].strip().lower() != "chunked"
    return "content-length" not in headers


def _kept_for(said: str) -> float:
    """Seconds that the connection may be idle: a second less than the provider says that it waits."""
    for part in said.split(","):
        name, _, value = part.partition("=")
        if name.strip().lower() == "timeout" and value.strip().isdecimal():
            return min(KEEP_ALIVE, max(0.0, int(value) - 1.0))
    return KEEP_ALIVE
