"""An HTTP/2 session on a stream in memory: what is written at a time, and what a cut in the bytes changes."""

import asyncio

import h2.config
import h2.connection
import h2.events
import httpcore2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_core.upstream.http2.frames import MOST_FRAME, Frames
from gateway_core.upstream.http2.session import MOST_UNSENT, Session

GOAWAY = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00"
PING = b"\x00\x00\x08\x06\x00\x00\x00\x00\x00abcdefgh"
DATA = b"\x00\x00\x05\x00\x01\x00\x00\x00\x07hello"


class Stream(httpcore2.AsyncNetworkStream):
    """The other end is h2's server, with windows as wide as can be; its tables, too."""

    def __init__(self) -> None:
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.h2.initiate_connection()
        self.h2.update_settings({1: 2**32 - 1, 4: 2**31 - 1})
        self.h2.increment_flow_control_window(2**31 - 1 - 65_535)
        self.writes: list[int] = []
        self.received = 0
        self.closed = False
        self._more = asyncio.Event()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  # as the interface has it
        while not (data := self.h2.data_to_send()):
            self._more.clear()
            await self._more.wait()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  # as the interface has it
        self.writes.append(len(buffer))
        await asyncio.sleep(0)
        for event in self.h2.receive_data(buffer):
            if isinstance(event, h2.events.DataReceived):
                assert event.data is not None
                self.received += len(event.data)
            elif isinstance(event, h2.events.StreamEnded):
                self.h2.send_headers(event.stream_id, [(":status", "200")], end_stream=True)
        self._more.set()

    async def aclose(self) -> None:
        self.closed = True


def request() -> httpcore2.Request:
    return httpcore2.Request("POST", "https://localhost/v1", headers=[("Host", "localhost"), ("x-id", "1")])


async def test_a_large_body_is_handed_on_in_bounded_writes() -> None:
    stream, gone = Stream(), asyncio.Event()
    session = Session(stream, lambda _: gone.set())
    await session.open()
    for _ in range(2):
        exchange = session.begin(request(), bare=False)
        await session.send(exchange, bytes(20_000_000))
        await session.head(exchange)
        session.leave(exchange)
    assert stream.received == 40_000_000
    assert max(stream.writes) < MOST_UNSENT + 2 * MOST_FRAME + MOST_UNSENT // 1000
    session.finish(httpcore2.RemoteProtocolError("closed"))
    await session.gone()
    assert stream.closed
    assert gone.is_set()


async def test_what_is_remembered_of_heads_is_bounded() -> None:
    session = Session(Stream(), lambda _: None)
    await session.open()
    exchange = session.begin(request(), bare=True)
    await session.head(exchange)
    session.leave(exchange)
    assert session._h2.encoder.header_table_size == 4096
    session.finish(httpcore2.RemoteProtocolError("closed"))
    await session.gone()


@given(st.lists(st.integers(1, 60), max_size=30))
def test_farewells_are_found_wherever_the_bytes_are_cut(cuts: list[int]) -> None:
    sent = PING + GOAWAY + DATA + GOAWAY + PING
    frames, passed, partings = Frames(), b"", []
    for size in [*cuts, len(sent)]:
        more, found = frames.feed(sent[:size])
        sent = sent[size:]
        passed += more
        partings += found
    assert passed == PING + DATA + PING
    assert partings == [5, 5]


def test_a_frame_that_is_too_long_is_refused_at_its_first_bytes() -> None:
    with pytest.raises(httpcore2.RemoteProtocolError):
        Frames().feed((MOST_FRAME + 1).to_bytes(3) + bytes(6))
