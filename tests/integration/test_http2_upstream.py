"""HTTP/2 to providers by setting, on real sockets with TLS: what `http2 = true` promises, frame by frame."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway_core.config import UpstreamConfig
from gateway_core.errors import NoConnectionFree, Unavailable
from gateway_core.ports import UpstreamRequest
from gateway_core.testing.authority import Authority
from gateway_core.testing.http2_server import Codes, Exchange, Handler, Http2Server
from gateway_core.types import Deadlines
from gateway_core.upstream.http2.session import MOST_ANSWERED, MOST_STREAMS, QUIET
from gateway_core.upstream.httpx_upstream import HttpxUpstream

SECRET = "sk-very-secret"
PATIENCE = 20.0
"""Seconds for what takes none: where they pass, it hangs."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "ours")


def client(**settings: object) -> HttpxUpstream:
    return HttpxUpstream(UpstreamConfig(client="httpx2", http2=True, **settings))  # type: ignore[arg-type]  # a test's own


@pytest.fixture
async def upstream(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpxUpstream]:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    monkeypatch.setenv("SSL_CERT_DIR", str(authority.file.parent / "none"))
    made = client()
    yield made
    await asyncio.wait_for(made.close(), PATIENCE)


def post(url: str, body: bytes = b"{}", **deadlines: float) -> UpstreamRequest:
    headers = {"content-type": "application/json", "authorization": f"Bearer {SECRET}"}
    return UpstreamRequest(url=f"{url}/v1/chat", headers=headers, body=body, deadlines=Deadlines(**deadlines))


async def ask(upstream: HttpxUpstream, request: UpstreamRequest) -> bytes:
    async with asyncio.timeout(PATIENCE):
        response = await upstream.send(request)
        try:
            return await response.read()
        finally:
            await response.close()


async def fault(upstream: HttpxUpstream, request: UpstreamRequest) -> str:
    with pytest.raises(Unavailable) as met:
        await ask(upstream, request)
    assert SECRET not in met.value.detail
    assert "localhost" not in met.value.detail
    return met.value.detail


async def soon(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), PATIENCE)


async def hello(exchange: Exchange) -> None:
    await exchange.asked.wait()
    await exchange.answer(b"hello")


def first(then: Handler) -> Handler:
    """The first exchange is answered by `then`, the others with hello."""
    seen: list[Exchange] = []

    async def handler(exchange: Exchange) -> None:
        seen.append(exchange)
        await (then if len(seen) == 1 else hello)(exchange)

    return handler


# ------------------------------------------------------------ requests and answers


async def test_what_is_sent_and_what_comes_back(upstream: HttpxUpstream, authority: Authority) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.asked.wait()
        await exchange.answer(b"slow down", 429, ("retry-after", "7"), ("x-thing", "a"))

    async with Http2Server(authority, handler) as server:
        response = await upstream.send(post(server.url, b'{"model":"m"}'))
        assert (response.status, response.retry_after, response.headers["x-thing"]) == (429, 7.0, "a")
        assert await response.read() == b"slow down"
        await response.close()
        (asked,) = server.exchanges
        assert bytes(asked.body) == b'{"model":"m"}'
        assert asked.headers == {
            ":method": "POST",
            ":scheme": "https",
            ":authority": server.url.removeprefix("https://"),
            ":path": "/v1/chat",
            "content-type": "application/json",
            "authorization": f"Bearer {SECRET}",
            "accept-encoding": "identity",
            "content-length": "13",
        }
        assert server.faults == []


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503, 529])
async def test_a_status_is_what_it_is_over_http_1(upstream: HttpxUpstream, authority: Authority, status: int) -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.head(status, ("retry-after", "3"), end=True)  # before the request is here

    async with Http2Server(authority, handler) as server:
        answer = await upstream.ask(post(server.url))
        assert (answer.status, answer.body, answer.retry_after) == (status, b"", 3.0)
        assert await upstream.ask(post(server.url)) == answer
        assert len(server.connections) == 1
        assert server.faults == []


async def test_calls_share_a_connection(upstream: HttpxUpstream, authority: Authority) -> None:
    gate = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        if len(server.exchanges) == 20:
            gate.set()
        await gate.wait()
        await exchange.answer(b"%d" % exchange.id)

    async with Http2Server(authority, handler) as server:
        answers = await asyncio.gather(*[ask(upstream, post(server.url)) for _ in range(20)])
        assert sorted(map(int, answers)) == list(range(1, 40, 2))
        assert len(server.connections) == 1
        assert server.faults == []


async def test_events_come_one_by_one(upstream: HttpxUpstream, authority: Authority) -> None:
    more = asyncio.Queue[bytes]()

    async def handler(exchange: Exchange) -> None:
        exchange.head(200, ("content-type", "text/event-stream"))
        while piece := await more.get():
            await exchange.data(piece)
        await exchange.data(end=True)

    async with Http2Server(authority, handler) as server:
        response = await upstream.send(post(server.url))
        events = aiter(response.events())
        for number in range(5):
            more.put_nowait(b"data: %d\n\n" % number)
            assert await asyncio.wait_for(anext(events), PATIENCE) == [b"%d" % number]
        more.put_nowait(b"")
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(events), PATIENCE)
        await response.close(finished=True)
        assert not server.exchanges[0].left.is_set()


async def test_a_body_larger_than_every_window_in_both_directions(
    upstream: HttpxUpstream, authority: Authority
) -> None:
    async def echo(exchange: Exchange) -> None:
        await exchange.asked.wait()
        await exchange.answer(bytes(exchange.body))

    body = bytes(range(256)) * 8_000
    async with Http2Server(authority, echo, initial_window_size=1000) as server:
        assert await ask(upstream, post(server.url, body)) == body
        assert server.faults == []


async def test_an_answer_may_come_before_the_request_is_taken(upstream: HttpxUpstream, authority: Authority) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.answer(b"too large", 413)

    async with Http2Server(authority, first(handler)) as server:
        server.takes = False
        request = post(server.url, b"x" * 1_000_000)
        answer = await asyncio.wait_for(upstream.ask(request), PATIENCE)
        assert (answer.status, answer.body) == (413, b"too large")
        await soon(server.exchanges[0].left)
        assert server.exchanges[0].code == Codes.CANCEL
        assert await ask(upstream, post(server.url, b"")) == b"hello"
        assert len(server.connections) == 1


async def test_early_answers_trailers_and_pings_are_passed_over(upstream: HttpxUpstream, authority: Authority) -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.head(103, ("link", "</x>"))
        exchange.connection.h2.ping(b"12345678")
        exchange.head(200)
        await exchange.data(b"hello")
        exchange.trailers(("x-cost", "1"))

    async with Http2Server(authority, handler) as server:
        assert [await ask(upstream, post(server.url)) for _ in range(2)] == [b"hello"] * 2
        assert len(server.connections) == 1


# ------------------------------------------------------------ who speaks what


async def test_a_server_that_does_not_offer_it_is_asked_over_http_1(
    upstream: HttpxUpstream, authority: Authority
) -> None:
    taken = 0
    both, met = asyncio.Event(), 0

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken, met
        taken += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"POST /v1/chat HTTP/1.1\r\n")
                await reader.readexactly(2)
                met += 1
                if met >= 2:
                    both.set()
                await both.wait()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0, ssl=authority.server("localhost")) as server:
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        # At once: neither waits for what the other is answered.
        assert await asyncio.gather(*[ask(upstream, post(url)) for _ in range(2)]) == [b"hello"] * 2
        assert await ask(upstream, post(url)) == b"hello"
        assert taken == 2
        await upstream.close()


async def test_an_address_without_tls_is_asked_over_http_1(upstream: HttpxUpstream) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        assert await ask(upstream, post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")) == b"hello"


async def test_a_proxy_lets_it_through(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    heads: list[bytes] = []
    pipes: list[asyncio.Task[None]] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        port = int(heads[-1].split()[1].rpartition(b":")[2])
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        pipes.extend(asyncio.ensure_future(pipe(*ends)) for ends in ((reader, there_writer), (there_reader, writer)))

    async with Http2Server(authority, hello) as server, await asyncio.start_server(connected, "127.0.0.1", 0) as proxy:
        address = f"http://user:letmein@127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        config = UpstreamConfig(client="httpx2", http2=True, proxy="env:PROXY")
        upstream = HttpxUpstream(config, environ={"PROXY": address})
        assert [await ask(upstream, post(server.url)) for _ in range(3)] == [b"hello"] * 3
        await upstream.close()
        await asyncio.wait_for(asyncio.gather(*pipes), PATIENCE)
        assert len(server.connections) == 1
        assert server.faults == []
    (head,) = heads
    assert head.startswith(b"CONNECT localhost:")
    assert b"dXNlcjpsZXRtZWlu" in head
    assert SECRET.encode() not in head


async def test_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as proxy:
        upstream = client(proxy=f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
        assert "the proxy refused" in await fault(upstream, post("https://provider.invalid"))
        await upstream.close()


async def test_a_certificate_is_held_to_its_name(upstream: HttpxUpstream, tmp_path: Path) -> None:
    async with Http2Server(Authority(tmp_path, "theirs"), hello) as server:
        assert await fault(upstream, post(server.url)) == "could not be connected to (SSLCertVerificationError)"


async def test_a_server_that_says_nothing_is_held_to_the_deadline_for_connecting(
    upstream: HttpxUpstream, authority: Authority
) -> None:
    server = Http2Server(authority, hello)
    server.silent = True
    async with server:
        assert await fault(upstream, post(server.url, connect=0.3)) == "could not be connected to in time"
        await soon(server.connections[0].closed)


# ------------------------------------------------------------ who leaves


@pytest.mark.parametrize("begun", [False, True], ids=["before the head", "in the body"])
async def test_a_call_that_leaves_resets_its_exchange_and_no_other(
    upstream: HttpxUpstream, authority: Authority, begun: bool
) -> None:
    second, go_on = asyncio.Event(), asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        await exchange.asked.wait()
        if exchange.id == 1 or begun:
            exchange.head(200)
            await exchange.data(b"data: 1\n\n")
        if exchange.id == 3:
            second.set()
        await go_on.wait()
        await exchange.data(b"data: 2\n\n", end=True)

    async with Http2Server(authority, handler) as server:
        stays = await upstream.send(post(server.url))
        leaves = asyncio.create_task(ask(upstream, post(server.url)))
        await soon(second)
        leaves.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaves
        await soon(server.exchanges[1].left)
        assert server.exchanges[1].code == Codes.CANCEL
        go_on.set()
        assert await stays.read() == b"data: 1\n\ndata: 2\n\n"
        await stays.close()
        assert len(server.connections) == 1
        assert server.faults == []


async def turns(count: int) -> None:
    """Lets everything else go on so many times: a way to be at each await of it once."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_wherever_a_call_is_cancelled_the_others_of_its_connection_go_on(
    upstream: HttpxUpstream, authority: Authority
) -> None:
    over = asyncio.Event()

    async def long(exchange: Exchange) -> None:
        exchange.head(200)
        while not over.is_set():
            await exchange.data(b"%d\n" % len(server.exchanges))
            await asyncio.sleep(0)
        await exchange.data(b"end", end=True)

    async with Http2Server(authority, first(long)) as server:
        running = await upstream.send(post(server.url))
        reading = asyncio.create_task(running.read())
        for count in range(60):
            left = asyncio.create_task(ask(upstream, post(server.url, b"x" * 40_000)))
            await turns(count)
            left.cancel()
            await asyncio.gather(left, return_exceptions=True)
            if count % 10 == 9:
                assert await ask(upstream, post(server.url)) == b"hello"
        over.set()
        assert (await asyncio.wait_for(reading, PATIENCE)).endswith(b"end")
        await running.close()
        assert len(server.connections) == 1
        assert server.faults == []


async def test_wherever_the_first_call_is_cancelled_while_it_connects_the_others_are_served(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    async with Http2Server(authority, hello) as server:
        for count in range(0, 60, 2):
            upstream = client(max_connections=3)
            calls = [asyncio.create_task(ask(upstream, post(server.url))) for _ in range(3)]
            await turns(count)
            calls[0].cancel()
            assert await asyncio.gather(*calls[1:]) == [b"hello"] * 2
            await asyncio.gather(calls[0], return_exceptions=True)
            await asyncio.wait_for(upstream.close(), PATIENCE)
        for connection in server.connections:
            await soon(connection.closed)
        assert server.faults == []


async def test_what_still_comes_for_who_has_left_takes_no_room_from_others(
    upstream: HttpxUpstream, authority: Authority
) -> None:
    """More than the connection's window in all: what nobody reads must be given back."""

    async def handler(exchange: Exchange) -> None:
        exchange.head(200)
        await exchange.data(b"x" * 300_000, end=True)

    async with Http2Server(authority, handler) as server:
        for _ in range(80):
            response = await upstream.send(post(server.url))
            await response.close()
        assert await ask(upstream, post(server.url)) == b"x" * 300_000
        assert len(server.connections) == 1


async def test_a_slow_reader_makes_only_its_own_answer_wait(upstream: HttpxUpstream, authority: Authority) -> None:
    sent: dict[int, int] = {}
    full = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        exchange.head(200)
        for _ in range(100):
            if exchange.connection.h2.local_flow_control_window(exchange.id) == 0:
                full.set()
            await exchange.data(b"x" * 16_384)
            sent[exchange.id] = sent.get(exchange.id, 0) + 16_384
        await exchange.data(end=True)

    async with Http2Server(authority, handler) as server:
        slow = [await upstream.send(post(server.url)) for _ in range(70)]  # together more than the connection's window
        await soon(full)
        for _ in range(3):
            assert len(await ask(upstream, post(server.url))) == 100 * 16_384
        assert max(sent[exchange.id] for exchange in server.exchanges[:70]) <= 256 * 1024
        assert {len(await asyncio.wait_for(response.read(), PATIENCE)) for response in slow} == {100 * 16_384}
        for response in slow:
            await response.close()
        assert len(server.connections) == 1


async def test_a_deadline_resets_its_exchange(upstream: HttpxUpstream, authority: Authority) -> None:
    """The connection goes on: an answer that runs on it comes whole."""
    go_on = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        if exchange.id != 3:
            exchange.head(200)
            await exchange.data(b"x")
        await go_on.wait()
        await exchange.data(b"y", end=True)

    async with Http2Server(authority, handler) as server:
        running = await upstream.send(post(server.url))
        assert await fault(upstream, post(server.url, first_byte=0.2)) == "sent no first byte within 0.2 s"
        server.connections[0].h2.ping(b"12345678")  # something is heard
        server.connections[0].flush()
        assert await fault(upstream, post(server.url, idle=0.2)) == "was silent for 0.2 s"
        for exchange in server.exchanges[1:]:
            await soon(exchange.left)
            assert exchange.code == Codes.CANCEL
        go_on.set()
        assert await asyncio.wait_for(running.read(), PATIENCE) == b"xy"
        await running.close()


async def test_a_connection_on_which_nothing_was_heard_takes_no_new_call(
    upstream: HttpxUpstream, authority: Authority
) -> None:
    """It may lead nowhere; the next call must not find that out by its own deadline."""

    async def nothing(exchange: Exchange) -> None:
        await exchange.left.wait()

    async def handler(exchange: Exchange) -> None:
        await (nothing if exchange.id == 3 else hello)(exchange)

    async with Http2Server(authority, handler) as server:
        assert await ask(upstream, post(server.url)) == b"hello"
        assert "no first byte" in await fault(upstream, post(server.url, first_byte=1.2 * QUIET))
        assert await ask(upstream, post(server.url)) == b"hello"
        assert len(server.connections) == 2
        await soon(server.connections[0].closed)


# ------------------------------------------------------------ what goes wrong


async def test_a_reset_in_the_middle_cuts_that_answer_only(upstream: HttpxUpstream, authority: Authority) -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.head(200)
        await exchange.data(b"data: 1\n\n")
        exchange.reset()

    async with Http2Server(authority, first(handler)) as server:
        response = await upstream.send(post(server.url))
        events = aiter(response.events())
        assert await asyncio.wait_for(anext(events), PATIENCE) == [b"1"]
        with pytest.raises(Unavailable, match="hung up"):
            await asyncio.wait_for(anext(events), PATIENCE)
        await response.close()
        assert await ask(upstream, post(server.url)) == b"hello"
        assert len(server.connections) == 1
        assert len(server.exchanges) == 2


@pytest.mark.parametrize("code", [Codes.NO_ERROR, Codes.INTERNAL_ERROR, Codes.CANCEL, Codes.ENHANCE_YOUR_CALM])
async def test_a_reset_before_an_answer_is_a_failed_attempt(
    upstream: HttpxUpstream, authority: Authority, code: int
) -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.reset(code)

    async with Http2Server(authority, handler) as server:
        assert "hung up" in await fault(upstream, post(server.url))
        assert len(server.exchanges) == 1  # asked once: it may have been acted on


async def test_a_refused_exchange_is_asked_once_more(upstream: HttpxUpstream, authority: Authority) -> None:
    async def refuse(exchange: Exchange) -> None:
        exchange.reset(Codes.REFUSED_STREAM)

    async with Http2Server(authority, first(refuse)) as server:
        assert await ask(upstream, post(server.url)) == b"hello"
        assert len(server.exchanges) == 2
    async with Http2Server(authority, refuse) as server:
        assert "hung up" in await fault(upstream, post(server.url))
        assert len(server.exchanges) == 2


@pytest.mark.parametrize("status", [103, 200])
async def test_a_refusal_after_an_answer_has_begun_is_not_believed(
    upstream: HttpxUpstream, authority: Authority, status: int
) -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.head(status)
        exchange.reset(Codes.REFUSED_STREAM)

    async with Http2Server(authority, handler) as server:
        assert "hung up" in await fault(upstream, post(server.url))
        assert len(server.exchanges) == 1


async def test_a_farewell_ends_new_calls_and_lets_those_that_run_end(
    upstream: HttpxUpstream, authority: Authority
) -> None:
    parted = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        exchange.head(200)
        await exchange.data(b"data: 1\n\n")
        await parted.wait()
        await exchange.data(b"data: 2\n\n", end=True)

    async with Http2Server(authority, first(handler)) as server:
        running = await upstream.send(post(server.url))
        events = aiter(running.events())
        assert await asyncio.wait_for(anext(events), PATIENCE) == [b"1"]
        server.connections[0].part(2**31 - 1)
        server.connections[0].part(1)
        while len(server.connections) == 1:  # until the farewell is heard
            assert await ask(upstream, post(server.url)) == b"hello"
        parted.set()
        assert await asyncio.wait_for(anext(events), PATIENCE) == [b"2"]
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(events), PATIENCE)
        await running.close(finished=True)
        await soon(server.connections[0].closed)
        assert await ask(upstream, post(server.url)) == b"hello"
        assert len(server.connections) == 2


@pytest.mark.parametrize("code", [Codes.NO_ERROR, Codes.ENHANCE_YOUR_CALM])
async def test_a_farewell_sends_on_what_was_not_begun_and_nothing_else(
    upstream: HttpxUpstream, authority: Authority, code: int
) -> None:
    """Of three exchanges the provider has begun with one: the others are asked again, elsewhere, and it is not."""

    async def handler(exchange: Exchange) -> None:
        await exchange.asked.wait()
        if exchange.connection is server.connections[0]:
            if len(server.exchanges) == 3 and all(one.asked.is_set() for one in server.exchanges):
                exchange.connection.part(1, code)
                exchange.connection.close()
        else:
            await exchange.answer(b"hello")

    async with Http2Server(authority, handler) as server:
        found = await asyncio.gather(
            *[ask(upstream, post(server.url, b"%d" % number)) for number in range(3)], return_exceptions=True
        )
        assert sorted(map(type, found), key=str) == [bytes, bytes, Unavailable]
        begun = bytes(server.connections[0].exchanges[1].body)
        again = {bytes(one.body) for one in server.connections[1].exchanges.values()}
        assert len(server.connections) == 2
        assert again == {b"0", b"1", b"2"} - {begun}


async def test_a_provider_that_only_ever_parts_is_not_asked_for_ever(
    upstream: HttpxUpstream, authority: Authority
) -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.connection.part(0)

    async with Http2Server(authority, handler) as server:
        assert "hung up" in await fault(upstream, post(server.url))
        assert len(server.exchanges) == 2


async def test_a_connection_that_ends_in_the_middle_cuts_its_answers(
    upstream: HttpxUpstream, authority: Authority
) -> None:
    async def handler(exchange: Exchange) -> None:
        if exchange.id == 1:
            exchange.head(200)
            await exchange.data(b"data: 1\n\n")
        if len(server.connections[0].exchanges) == 3:
            exchange.connection.close()

    async with Http2Server(authority, handler) as server:
        running = await upstream.send(post(server.url))
        faults = await asyncio.gather(*[fault(upstream, post(server.url)) for _ in range(2)])
        assert all("hung up" in one for one in faults)
        with pytest.raises(Unavailable, match="hung up"):
            await asyncio.wait_for(running.read(), PATIENCE)
        await running.close()
        assert len(server.exchanges) == 3  # nothing was asked again


@pytest.mark.parametrize(
    "frames",
    [
        b"\x00\x40\x01\x00\x00\x00\x00\x00\x01" + bytes(16_385),  # DATA that is too long
        b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",  # the promise of one
        b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x",  # DATA of no exchange
        b"\x00\x00\x01\x00\x00\x00\x00\x00\x63x",  # DATA of one that was never begun
        b"\x00\x00\x04\x01\x04\x00\x00\x00\x01\xff\xff\xff\xff",  # HEADERS that are none
        b"\x00\x00\x05\x06\x00\x00\x00\x00\x00abcde",  # PING of five bytes
        b"\x00\x00\x01\x09\x04\x00\x00\x00\x01x",  # CONTINUATION of nothing
        b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00",  # WINDOW_UPDATE by nothing
        b"\x00\x00\x08\x05\x04\x00\x00\x00\x01\x00\x00\x00\x02\x88\x00\x00\x00",  # PUSH_PROMISE
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        bytes(64),
    ],
)
async def test_what_is_not_http_2_ends_the_connection(
    upstream: HttpxUpstream, authority: Authority, frames: bytes
) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.asked.wait()
        exchange.connection.raw(frames)
        exchange.connection.close()

    async with Http2Server(authority, first(handler)) as server:
        assert await fault(upstream, post(server.url)) == "hung up, or did not speak HTTP"
        assert await ask(upstream, post(server.url)) == b"hello"
        assert len(server.connections) == 2


async def test_a_length_that_is_not_true_is_no_answer(upstream: HttpxUpstream, authority: Authority) -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.head(200, ("content-length", "9"))
        await exchange.data(b"hello", end=True)

    async with Http2Server(authority, handler) as server:
        assert "hung up" in await fault(upstream, post(server.url))


@pytest.mark.parametrize("early", [0, 1, 5])
async def test_a_head_is_bounded(upstream: HttpxUpstream, authority: Authority, early: int) -> None:
    """With the 1xx answers before it."""

    async def handler(exchange: Exchange) -> None:
        for _ in range(early):
            exchange.head(103, ("x-much", "y" * 15_000))
        exchange.head(200, *[("x-much", "y" * 15_000)] * (5 - early or 1))
        await exchange.data(b"hello")

    async with Http2Server(authority, handler) as server:
        assert await fault(upstream, post(server.url)) == "hung up, or did not speak HTTP"
        await soon(server.exchanges[0].left)


async def test_a_provider_that_asks_and_does_not_listen_is_left(upstream: HttpxUpstream, authority: Authority) -> None:
    async def handler(exchange: Exchange) -> None:
        transport = exchange.connection._transport
        assert transport is not None
        transport.pause_reading()
        ping = b"\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678"
        while not exchange.connection.closed.is_set():
            exchange.connection.raw(ping * MOST_ANSWERED * 10)
            await asyncio.sleep(0)

    async with Http2Server(authority, handler) as server:
        assert "hung up" in await fault(upstream, post(server.url, first_byte=15))


# ------------------------------------------------------------ how many at once


async def test_beyond_the_providers_limit_there_is_another_connection(
    upstream: HttpxUpstream, authority: Authority
) -> None:
    gate = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        if len(server.exchanges) == 10:
            gate.set()
        await gate.wait()
        await exchange.answer(b"hello")

    async with Http2Server(authority, handler, max_concurrent_streams=3) as server:
        assert await asyncio.gather(*[ask(upstream, post(server.url)) for _ in range(10)]) == [b"hello"] * 10
        assert [len(connection.exchanges) for connection in server.connections] == [3, 3, 3, 1]
        assert server.faults == []


async def test_beyond_all_connections_calls_wait_their_turn(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    upstream = client(max_connections=2)
    async with Http2Server(authority, hello, max_concurrent_streams=2) as server:
        assert await asyncio.gather(*[ask(upstream, post(server.url)) for _ in range(50)]) == [b"hello"] * 50
        assert len(server.connections) == 2
        assert server.faults == []
        await upstream.close()


async def test_who_waits_too_long_for_a_place_is_told(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    upstream = client(max_connections=1)

    async def handler(exchange: Exchange) -> None:
        exchange.head(200)
        await exchange.left.wait()

    async with Http2Server(authority, handler, max_concurrent_streams=1) as server:
        running = await upstream.send(post(server.url))
        with pytest.raises(NoConnectionFree):
            await upstream.send(post(server.url, connect=0.2))
        await running.close()
        await upstream.close()


async def test_a_limit_that_falls_holds_for_new_calls(upstream: HttpxUpstream, authority: Authority) -> None:
    gate = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        exchange.head(200)
        await gate.wait()
        await exchange.data(b"hello", end=True)

    async with Http2Server(authority, handler, max_concurrent_streams=5) as server:
        running = [await upstream.send(post(server.url)) for _ in range(3)]
        (connection,) = server.connections
        connection.h2.update_settings({3: 1})
        connection.flush()
        while len(server.connections) == 1:
            running.append(await upstream.send(post(server.url)))
        gate.set()
        assert {await asyncio.wait_for(response.read(), PATIENCE) for response in running} == {b"hello"}
        assert server.faults == []


async def test_a_provider_that_takes_none_is_not_connected_to_for_ever(
    upstream: HttpxUpstream, authority: Authority
) -> None:
    async with Http2Server(authority, hello, max_concurrent_streams=0) as server:
        assert "hung up" in await fault(upstream, post(server.url))
        assert len(server.connections) == 1


async def test_many_calls_are_a_few_connections(upstream: HttpxUpstream, authority: Authority) -> None:
    gate = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        if len(server.exchanges) == 250:
            gate.set()
        await gate.wait()
        await exchange.answer(b"hello")

    async with Http2Server(authority, handler) as server:
        assert await asyncio.gather(*[ask(upstream, post(server.url)) for _ in range(250)]) == [b"hello"] * 250
        assert [len(one.exchanges) for one in server.connections] == [MOST_STREAMS, MOST_STREAMS, 50]


async def test_closing_says_farewell_and_leaves_nothing(upstream: HttpxUpstream, authority: Authority) -> None:
    before = asyncio.all_tasks()

    async def handler(exchange: Exchange) -> None:
        exchange.head(200)
        await exchange.left.wait()

    async with Http2Server(authority, handler) as server:
        running = await upstream.send(post(server.url))
        await upstream.close()
        await soon(server.connections[0].closed)
        assert server.partings == [Codes.NO_ERROR]
        with pytest.raises(Unavailable):
            await running.read()
        await running.close()
    assert asyncio.all_tasks() == before
