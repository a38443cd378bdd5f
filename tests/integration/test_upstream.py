"""Both upstreams on real sockets: deadlines, caps, faults, and connections that are cut or kept."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from gateway_core.config import UpstreamConfig
from gateway_core.errors import Unavailable
from gateway_core.ports import Upstream, UpstreamRequest, UpstreamResponse, WholeAnswer
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.server import PATIENCE
from gateway_core.types import Deadlines
from gateway_core.upstream.httpx_upstream import HttpxUpstream
from gateway_core.upstream.native import NativeUpstream

SECRET = "sk-very-secret"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Serve = Callable[[Handler], Awaitable[str]]


@pytest.fixture(params=[NativeUpstream, HttpxUpstream], ids=["native", "httpx2"])
async def upstream(request: pytest.FixtureRequest) -> AsyncIterator[Upstream]:
    upstream: Upstream = request.param(UpstreamConfig(max_answer_bytes=100_000, max_event_bytes=10_000))
    yield upstream
    await upstream.close()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """serve(handler) → the address of a raw server that reads a request's head, and leaves the rest to the handler."""
    servers: list[asyncio.Server] = []
    tasks: list[asyncio.Task[None]] = []

    async def start(handler: Handler) -> str:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.append(asyncio.current_task())  # type: ignore[arg-type]  # a connection is handled by a task
            try:
                await reader.readuntil(b"\r\n\r\n")
                await handler(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/chat/completions"

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for server in servers:
        server.close()


def post(url: str, **deadlines: float) -> UpstreamRequest:
    headers = {"content-type": "application/json", "authorization": f"Bearer {SECRET}"}
    return UpstreamRequest(url=url, headers=headers, body=b"{}", deadlines=Deadlines(**deadlines))


def says(answer: bytes, then: Handler | None = None) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2)  # to close with something unread would be a reset
        writer.write(answer)
        await writer.drain()
        if then is not None:
            await then(reader, writer)

    return handler


async def forever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


def plain(body: bytes, *headers: str, status: int = 200) -> bytes:
    lines = "".join(f"{line}\r\n" for line in (f"content-length: {len(body)}", *headers))
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + body


async def ask(upstream: Upstream, request: UpstreamRequest) -> bytes:
    response = await upstream.send(request)
    try:
        return await response.read()
    finally:
        await response.close()


async def fault(upstream: Upstream, request: UpstreamRequest) -> str:
    with pytest.raises(Unavailable) as met:
        await ask(upstream, request)
    assert SECRET not in met.value.detail
    assert "127.0.0.1" not in met.value.detail
    return met.value.detail


async def test_a_plain_answer_and_its_head(upstream: Upstream, serve: Serve) -> None:
    url = await serve(says(plain(b"hello", "X-Thing: a", "Retry-After: 3", status=429), forever))
    response = await upstream.send(post(url))
    assert (response.status, response.headers["x-thing"], response.retry_after) == (429, "a", 3.0)
    assert [chunk async for chunk in response.chunks()] == [b"hello"]
    await response.close()


async def test_what_is_sent(upstream: Upstream, serve: Serve) -> None:
    seen: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readexactly(2))
        writer.write(plain(b"", "set-cookie: a=b"))
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head)
        writer.write(plain(b""))

    url = await serve(handler)
    await ask(upstream, post(url))
    await ask(upstream, post(url))
    assert seen[0] == b"{}"
    names = {line.split(b":")[0].lower() for line in seen[1].split(b"\r\n")[1:] if line}
    assert names == {b"host", b"content-type", b"authorization", b"accept-encoding", b"content-length"}
    assert b"accept-encoding: identity" in seen[1].lower()


# ---------------------------------------------------------------- deadlines


async def test_nobody_listens(upstream: Upstream, refusing_port: int) -> None:
    assert "could not be connected" in await fault(upstream, post(f"http://127.0.0.1:{refusing_port}/"))


@pytest.mark.parametrize(
    ("answer", "deadlines", "complaint"),
    [
        (b"", {"first_byte": 0.1}, "no first byte within 0.1 s"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", {"first_byte": 0.1}, "no first byte within 0.1 s"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", {"first_byte": 0.1}, "no first byte within 0.1 s"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab", {"idle": 0.1}, "silent for 0.1 s"),
        (b"", {"total": 0.1}, "longer than 0.1 s in all"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab", {"total": 0.1}, "longer than 0.1 s in all"),
    ],
)
async def test_a_provider_that_is_silent(
    upstream: Upstream, serve: Serve, answer: bytes, deadlines: dict[str, float], complaint: str
) -> None:
    hung_up = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        hung_up.set()

    assert complaint in await fault(upstream, post(await serve(says(answer, wait)), **deadlines))
    await asyncio.wait_for(hung_up.wait(), PATIENCE)


async def test_a_provider_that_drips_is_ended_by_the_total(upstream: Upstream, serve: Serve) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    url = await serve(says(b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n", drip))
    assert "in all" in await fault(upstream, post(url, idle=5, total=0.2))


async def test_a_cancelled_call_is_a_cancelled_call_and_cuts_the_connection(upstream: Upstream, serve: Serve) -> None:
    asked, hung_up = asyncio.Event(), asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        hung_up.set()

    task = asyncio.create_task(ask(upstream, post(await serve(handler))))
    await asyncio.wait_for(asked.wait(), PATIENCE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(hung_up.wait(), PATIENCE)


# ---------------------------------------------------------------- caps and nonsense


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (plain(b"x" * 100_001), "more than 100000 bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000, "more than 100000 bytes"),
        (plain(gzip.compress(b"x" * 10_000_000), "content-encoding: gzip"), "compressed"),
        (b"HTTP/1.1 200 OK\r\nx-long: " + b"x" * 1_000_000, "did not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"x-many: y\r\n" * 100_000, "did not speak HTTP"),
        (b"SSH-2.0-OpenSSH\r\n", "did not speak HTTP"),
        (b"", "hung up"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab", "hung up"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n", "hung up"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nab\r\n", "did not speak HTTP"),
    ],
)
async def test_what_is_no_answer_is_a_fault(upstream: Upstream, serve: Serve, answer: bytes, complaint: str) -> None:
    assert complaint in await fault(upstream, post(await serve(says(answer)), first_byte=5))


async def test_an_error_may_be_read_with_a_smaller_limit(upstream: Upstream, serve: Serve) -> None:
    response = await upstream.send(post(await serve(says(plain(b"x" * 500, status=500), forever))))
    with pytest.raises(Unavailable, match="more than 100 bytes"):
        await response.read(100)
    await response.close()


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (plain(b"hello"), WholeAnswer(200, b"hello")),
        (plain(b"hello", "content-encoding: identity"), WholeAnswer(200, b"hello")),
        (plain(b""), WholeAnswer(200, b"")),
        (plain(b"x" * 100_000), WholeAnswer(200, b"x" * 100_000)),
        (CHUNKED, WholeAnswer(200, b"abc")),
        (plain(b"no", "retry-after: 7", status=429), WholeAnswer(429, b"no", 7.0)),
        (plain(b"x" * 200_000, status=500), WholeAnswer(500, b"x" * 200_000)),
        # A failure's body that is too long, or does not come, is none: the status says enough.
        (plain(b"x" * 300_000, status=500), WholeAnswer(500, b"")),
        (b"HTTP/1.1 503 X\r\ncontent-length: 9\r\n\r\nab", WholeAnswer(503, b"")),
        (plain(gzip.compress(b"x"), "content-encoding: gzip", status=400), WholeAnswer(400, b"")),
    ],
)
async def test_an_answer_is_asked_for_whole(
    upstream: Upstream, serve: Serve, answer: bytes, expected: WholeAnswer
) -> None:
    assert await upstream.ask(post(await serve(says(answer)), first_byte=5)) == expected


async def test_an_answer_that_comes_in_pieces_is_waited_for(upstream: Upstream, serve: Serve) -> None:
    async def rest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.01)
        writer.write(b"cd")

    url = await serve(says(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab", rest))
    assert await upstream.ask(post(url, first_byte=5)) == WholeAnswer(200, b"abcd")


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (plain(b"x" * 100_001), "more than 100000 bytes"),
        (plain(gzip.compress(b"x"), "content-encoding: gzip"), "compressed"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab", "hung up"),
        (b"", "hung up"),
    ],
)
async def test_a_success_that_cannot_be_had_whole_is_a_fault(
    upstream: Upstream, serve: Serve, answer: bytes, complaint: str
) -> None:
    with pytest.raises(Unavailable, match=complaint):
        await upstream.ask(post(await serve(says(answer)), first_byte=5))


async def test_a_redirect_is_an_answer_and_is_not_followed(upstream: Upstream, serve: Serve) -> None:
    url = await serve(says(plain(b"", "location: http://127.0.0.1:1/", status=307), forever))
    response = await upstream.send(post(url))
    assert response.status == 307
    await response.close()


@pytest.mark.parametrize("url", ["ftp://example.com/", "http://", "nonsense", "http://exa mple/\x00"])
async def test_a_bad_address_is_a_fault_that_does_not_show_it(upstream: Upstream, url: str) -> None:
    assert await fault(upstream, post(url))


async def test_a_huge_event_is_refused_and_the_loop_stays_free(upstream: Upstream, serve: Serve) -> None:
    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 1000)
            await writer.drain()

    url = await serve(says(b"HTTP/1.1 200 OK\r\n\r\ndata: ", pour))
    response = await upstream.send(post(url))
    with pytest.raises(Unavailable, match="larger than 10000 bytes"):
        async for _ in response.events():
            pass
    await response.close()


async def test_events_come_as_they_are_sent(upstream: Upstream, serve: Serve) -> None:
    second = asyncio.Event()

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await second.wait()
        writer.write(b"data: b\n\ndata: c\n\ndata: d")

    response = await upstream.send(post(await serve(says(b"HTTP/1.1 200 OK\r\n\r\ndata: a\n\n", stream))))
    seen = []
    async for events in response.events():
        seen.append(list(events))
        second.set()
    await response.close()
    assert [event for events in seen for event in events] == [b"a", b"b", b"c", b"d"]
    assert seen[0] == [b"a"]


# ---------------------------------------------------------------- connections


async def read_all(response: UpstreamResponse) -> None:
    async for _ in response.events():
        pass
    await response.close()


BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}'


def chat(server: UpstreamHandle) -> UpstreamRequest:
    headers = {"content-type": "application/json", "authorization": f"Bearer {server.key}"}
    return UpstreamRequest(url=f"{server.base_url}/chat/completions", headers=headers, body=BODY)


async def test_a_connection_is_used_again(upstream: Upstream, openai_upstream: UpstreamHandle) -> None:
    for _ in range(3):
        await read_all(await upstream.send(chat(openai_upstream)))
    assert len({entry["connection"] for entry in openai_upstream.log()}) == 1


async def test_a_finished_stream_gives_its_connection_back(upstream: Upstream, openai_upstream: UpstreamHandle) -> None:
    for _ in range(3):
        response = await upstream.send(chat(openai_upstream))
        async for events in response.events():
            if b"[DONE]" in events:
                break
        await response.close(finished=True)
    assert len({entry["connection"] for entry in openai_upstream.log()}) == 1


async def test_an_answer_that_is_left_unread_is_cut(upstream: Upstream, openai_upstream: UpstreamHandle) -> None:
    openai_upstream.script("m", words=1000, gap_ms=20)
    response = await upstream.send(chat(openai_upstream))
    async for _ in response.events():
        break
    await response.close()
    (entry,) = await asyncio.to_thread(
        openai_upstream.wait_for, lambda log: bool(log) and log[0]["state"] == "client_gone"
    )
    assert entry["sent"] < 100_000, "half of it came before the provider was let go"


async def test_a_connection_that_the_provider_closed_is_not_used_again(upstream: Upstream, serve: Serve) -> None:
    url = await serve(says(plain(b"once")))
    assert [await ask(upstream, post(url)) for _ in range(3)] == [b"once"] * 3
