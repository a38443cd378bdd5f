"""Our own connections to providers: what HTTP/1.1 allows a server to say, reuse and its races, places, backpressure."""

import asyncio
import socket
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from gateway_core.config import UpstreamConfig
from gateway_core.errors import Unavailable
from gateway_core.ports import UpstreamRequest
from gateway_core.testing.server import PATIENCE
from gateway_core.types import Deadlines
from gateway_core.upstream.connection import MOST_HELD
from gateway_core.upstream.native import NativeResponse, NativeUpstream

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"


class Peer:
    """A raw server. `answer` is given each request's number and may write, close or reset."""

    def __init__(self) -> None:
        self.url = ""
        self.connections = 0
        #: Bodies of the requests that came whole.
        self.requests: list[bytes] = []
        #: Connections that the client has ended.
        self.ended = asyncio.Semaphore(0)

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        self.requests.append(body)
        return body


Answer = Callable[[Peer, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[Peer]:
    peer = Peer()
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]  # a connection is handled by a task
        peer.connections += 1
        try:
            await answer(peer, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            peer.ended.release()
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    peer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield peer
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        server.close()


def always(answer: bytes) -> Answer:
    """The same answer to every request of a connection."""

    async def serve(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await peer.request(reader)
            writer.write(answer)

    return serve


@pytest.fixture
async def upstream() -> AsyncIterator[NativeUpstream]:
    upstream = NativeUpstream(UpstreamConfig())
    yield upstream
    await upstream.close()


def post(peer: Peer, body: bytes = b"{}", **deadlines: float) -> UpstreamRequest:
    return UpstreamRequest(url=peer.url, headers={"a": "b"}, body=body, deadlines=Deadlines(**deadlines))


async def ask(upstream: NativeUpstream, request: UpstreamRequest) -> bytes:
    response = await upstream.send(request)
    try:
        return await response.read()
    finally:
        await response.close()


async def fault(upstream: NativeUpstream, request: UpstreamRequest) -> str:
    with pytest.raises(Unavailable) as met:
        await ask(upstream, request)
    return met.value.detail


# ---------------------------------------------------------------- what a server may say

EXAMPLES = [
    (OK + b"content-length: 2\r\n\r\nab", b"ab"),
    (OK + b"Content-Length: 0\r\nx-empty:\r\n\r\n", b""),
    (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nlink: x\r\n\r\n" + OK + b"content-length: 2\r\n\r\nab", b"ab"),
    (CHUNKED + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", b"abc"),
    (CHUNKED + b'2;a=b;c="d e"\r\nab\r\n0;e\r\nx-trailer: 1\r\nContent-Type: x\r\n\r\n', b"ab"),
    (OK + b"upgrade: h2c\r\nconnection: Upgrade, Keep-Alive\r\ncontent-length: 2\r\n\r\nab", b"ab"),
]


@pytest.mark.parametrize(("answer", "body"), EXAMPLES)
async def test_an_answer_that_comes_byte_by_byte_is_the_same(
    upstream: NativeUpstream, answer: bytes, body: bytes
) -> None:
    async def drip(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        for at in range(len(answer)):
            writer.write(answer[at : at + 1])
            await asyncio.sleep(0)
        await always(answer)(peer, reader, writer)

    async with serving(drip) as peer:
        assert [await ask(upstream, post(peer)) for _ in range(3)] == [body] * 3
        assert peer.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 099 X\r\ncontent-length: 0\r\n\r\n",
        OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nabc",
        OK + b"content-length: 99999999999999999999\r\n\r\n",
        OK + b"a: b\r\n c\r\ncontent-length: 0\r\n\r\n",
        OK + b"x-many: y\r\n" * 7000 + b"content-length: 0\r\n\r\n",
        b"HTTP/1.1 100 X\r\n\r\n" * 5000,
        CHUNKED + b"2;" + b"e" * 300_000,
        CHUNKED + b"2\r\nab\r\n0\r\nx-trailer: " + b"t" * 300_000,
    ],
)
async def test_what_no_server_may_say_is_a_fault_and_held_to_a_bound(upstream: NativeUpstream, answer: bytes) -> None:
    async with serving(always(answer)) as peer:
        assert "did not speak HTTP" in await fault(upstream, post(peer, first_byte=10, idle=10))
        await asyncio.wait_for(peer.ended.acquire(), PATIENCE)


async def test_a_server_that_speaks_first_is_not_asked(upstream: NativeUpstream) -> None:
    async def greet(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH\r\n")
        await peer.request(reader)

    async with serving(greet) as peer:
        assert "did not speak HTTP" in await fault(upstream, post(peer))


async def test_a_body_without_a_length_ends_with_the_connection(upstream: NativeUpstream) -> None:
    async def close(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(OK + b"\r\nab")
        await writer.drain()
        writer.write(b"cd")

    async with serving(close) as peer:
        assert [await ask(upstream, post(peer)) for _ in range(2)] == [b"abcd"] * 2


def reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def test_a_body_without_a_length_does_not_end_with_a_reset(upstream: NativeUpstream) -> None:
    go_on = asyncio.Event()

    async def break_off(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(OK + b"\r\nab")
        await go_on.wait()
        reset(writer)

    async with serving(break_off) as peer:
        response = await upstream.send(post(peer))
        pieces = response.chunks()
        assert await anext(pieces) == b"ab"
        go_on.set()
        with pytest.raises(Unavailable, match=r"broke the connection \(ConnectionResetError\)"):
            await anext(pieces)
        await response.close()


async def test_a_peer_that_closes_its_half_has_answered(upstream: NativeUpstream) -> None:
    async def half(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(OK + b"content-length: 2\r\n\r\nab")
        writer.write_eof()
        await reader.read()
        peer.ended.release()

    async with serving(half) as peer:
        for _ in range(2):
            assert await ask(upstream, post(peer)) == b"ab"
            await asyncio.wait_for(peer.ended.acquire(), PATIENCE)
        assert peer.connections == 2


async def test_headers_are_read_in_any_case_and_lines_are_joined(upstream: NativeUpstream) -> None:
    async with serving(always(OK + b"X-A: 1\r\nx-a: 2\r\nRetry-After: 7\r\ncontent-length: 0\r\n\r\n")) as peer:
        response = await upstream.send(post(peer))
        assert response.headers["X-A"] == "1, 2"
        assert dict(response.headers) == {"x-a": "1, 2", "retry-after": "7", "content-length": "0"}
        assert len(response.headers) == 3
        assert response.retry_after == 7.0
        await response.close()
        with pytest.raises(Unavailable, match="closed before it was read"):
            await response.read()


# ---------------------------------------------------------------- reuse


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"connection: close\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nab",
        OK + b"content-length: 2\r\n\r\nabbeyond",
        (OK + b"content-length: 2\r\n\r\nab") * 2,
        OK + b"keep-alive: timeout=1, max=100\r\ncontent-length: 2\r\n\r\nab",
    ],
)
async def test_a_connection_that_may_not_be_used_again_is_not(upstream: NativeUpstream, answer: bytes) -> None:
    async with serving(always(answer)) as peer:
        assert [await ask(upstream, post(peer)) for _ in range(2)] == [b"ab"] * 2
        assert peer.connections == 2


async def test_what_a_server_sends_unasked_ends_the_idle_connection(upstream: NativeUpstream) -> None:
    async def speak(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(OK + b"content-length: 2\r\n\r\nab")
        await asyncio.sleep(0.01)
        writer.write(OK + b"content-length: 2\r\n\r\nno")
        await peer.request(reader)

    async with serving(speak) as peer:
        assert await ask(upstream, post(peer)) == b"ab"
        await asyncio.wait_for(peer.ended.acquire(), PATIENCE)
        assert await ask(upstream, post(peer)) == b"ab"
        assert peer.connections == 2


async def test_an_end_that_the_loop_has_not_heard_of_yet_is_noticed_before_the_request_is_written(
    upstream: NativeUpstream,
) -> None:
    """The server closes the kept connection while our loop does something else: only the kernel knows."""
    closed = threading.Event()
    seen: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                seen.append(connection.recv(65536))
                connection.sendall(OK + b"content-length: 2\r\n\r\nab")
            closed.set()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    peer = Peer()
    peer.url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    response = await upstream.send(post(peer))
    assert await response.read() == b"ab"
    await response.close()
    assert closed.wait(PATIENCE)  # blocks the loop, on purpose
    (connection,) = upstream._pool._all
    assert connection._poll.poll(PATIENCE * 1000), "the kernel never heard of the end"
    assert await ask(upstream, post(peer)) == b"ab"
    await asyncio.to_thread(thread.join)
    listener.close()
    assert len(seen) == 2


async def test_a_request_that_may_have_been_processed_is_never_sent_twice(upstream: NativeUpstream) -> None:
    """The classic race: a kept connection closes without a byte after the request was sent."""

    async def answer_once(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(OK + b"content-length: 2\r\n\r\nab")
        await peer.request(reader)

    async with serving(answer_once) as peer:
        assert await ask(upstream, post(peer, b"first")) == b"ab"
        assert "hung up" in await fault(upstream, post(peer, b"second"))
        assert peer.requests == [b"first", b"second"]
        assert peer.connections == 1


LARGE = b"x" * 40_000_000
"""More than the kernel takes on both sides, so that some of it is still here when the connection is lost."""


async def test_a_request_that_never_left_us_whole_is_sent_again_on_a_new_connection(upstream: NativeUpstream) -> None:
    async def answer_once(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(OK + b"content-length: 2\r\n\r\nab")
        await reader.readexactly(1)
        reset(writer)

    async with serving(answer_once) as peer:
        assert await ask(upstream, post(peer, b"first")) == b"ab"
        assert await ask(upstream, post(peer, LARGE)) == b"ab"
        assert [len(body) for body in peer.requests] == [5, len(LARGE)]
        assert peer.connections == 2


async def test_a_new_connection_that_is_lost_is_not_tried_again(upstream: NativeUpstream) -> None:
    async def refuse(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        reset(writer)

    async with serving(refuse) as peer:
        assert "broke the connection" in await fault(upstream, post(peer, LARGE))
        assert peer.connections == 1


async def test_idle_connections_are_closed_by_a_look_at_all_of_them(upstream: NativeUpstream) -> None:
    async with serving(always(OK + b"content-length: 2\r\n\r\nab")) as peer:
        await ask(upstream, post(peer))
        pool = upstream._pool
        (connection,) = pool._all
        pool._sweep._look(asyncio.get_running_loop())
        assert not connection._transport.is_closing()  # type: ignore[union-attr]  # it is connected
        connection._expect_by(0.0)
        pool._sweep._look(asyncio.get_running_loop())
        await asyncio.wait_for(peer.ended.acquire(), PATIENCE)
        assert not pool._all
        assert not pool._idle
        pool._sweep._look(asyncio.get_running_loop())
        assert pool._sweep._timer is None


@pytest.mark.parametrize(("answer", "body"), EXAMPLES)
async def test_a_connection_is_used_again_after_an_answer_that_was_asked_for_whole(
    upstream: NativeUpstream, answer: bytes, body: bytes
) -> None:
    async with serving(always(answer)) as peer:
        for _ in range(3):
            assert (await upstream.ask(post(peer))).body == body
        assert peer.connections == 1
        (connection,) = upstream._pool._all
        assert connection.due == connection.good_until


# ---------------------------------------------------------------- places


@pytest.fixture
async def narrow() -> AsyncIterator[NativeUpstream]:
    upstream = NativeUpstream(UpstreamConfig(max_connections=1))
    yield upstream
    await upstream.close()


ANSWERS = always(OK + b"content-length: 2\r\n\r\nab")


async def test_who_finds_no_connection_free_waits_in_turn(narrow: NativeUpstream) -> None:
    async with serving(ANSWERS) as peer:
        held = await narrow.send(post(peer))
        order: list[int] = []

        async def wait(number: int) -> None:
            response = await narrow.send(post(peer))
            order.append(number)
            await response.read()
            await response.close()

        waiting = [asyncio.create_task(wait(number)) for number in range(5)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        await held.read()
        await held.close()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert order == [0, 2, 3, 4]
        assert peer.connections == 1
        assert narrow._pool._taken == 0


async def test_the_wait_for_a_connection_is_bounded(narrow: NativeUpstream) -> None:
    async with serving(ANSWERS) as peer:
        held = await narrow.send(post(peer))
        assert "max_connections" in await fault(narrow, post(peer, connect=0.1))
        assert "no first byte" in await fault(narrow, post(peer, first_byte=0.1))
        await held.close()
        assert await ask(narrow, post(peer)) == b"ab"


async def test_a_place_given_to_a_call_that_was_cancelled_meanwhile_is_not_lost(narrow: NativeUpstream) -> None:
    async with serving(ANSWERS) as peer:
        held = await narrow.send(post(peer))
        task = asyncio.create_task(narrow.send(post(peer)))
        await asyncio.sleep(0)
        await held.close()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await ask(narrow, post(peer)) == b"ab"


async def test_an_idle_connection_makes_room_for_one_to_another_host(narrow: NativeUpstream) -> None:
    async with serving(ANSWERS) as one, serving(ANSWERS) as other:
        for peer in (one, other, one):
            assert await ask(narrow, post(peer)) == b"ab"
        assert (one.connections, other.connections) == (2, 1)


async def test_no_place_is_lost_where_nobody_listens(narrow: NativeUpstream, refusing_port: int) -> None:
    peer = Peer()
    peer.url = f"http://127.0.0.1:{refusing_port}/"
    for _ in range(3):
        assert "could not be connected to (ConnectionRefusedError)" in await fault(narrow, post(peer, connect=5))


async def test_a_closed_upstream_has_cut_everything_and_asks_nobody(narrow: NativeUpstream) -> None:
    async with serving(always(OK + b"content-length: 9\r\n\r\nab")) as peer:
        response = await narrow.send(post(peer))
        await narrow.close()
        with pytest.raises(Unavailable, match="hung up"):
            await response.read()
        await response.close()
        await asyncio.wait_for(peer.ended.acquire(), PATIENCE)
        assert "the gateway stops" in await fault(narrow, post(peer))


# ---------------------------------------------------------------- backpressure


async def test_a_slow_reader_makes_the_provider_wait_and_gets_everything(upstream: NativeUpstream) -> None:
    total = 64 * 1024 * 1024

    async def pour(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(OK + b"content-length: %d\r\n\r\n" % total)
        for _ in range(total // 65536):
            writer.write(b"x" * 65536)
            await writer.drain()
        await reader.read()

    async with serving(pour) as peer:
        response: NativeResponse = await upstream.send(post(peer))
        (connection,) = upstream._pool._all
        while not connection._paused:  # noqa: ASYNC110  # nobody tells of it but the connection itself
            await asyncio.sleep(0)
        held, size = connection._held, 0
        assert MOST_HELD < held < 3 * MOST_HELD
        await asyncio.sleep(0.05)
        assert connection._held == held
        async for piece in response.chunks():
            size += len(piece)
            assert connection._held < 3 * MOST_HELD
        assert size == total
        await response.close()
        assert sum(map(len, upstream._pool._idle.values())) == 1
