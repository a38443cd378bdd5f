"""HTTP/2 to providers by setting, on real sockets with TLS: what `http2 = true` promises, frame by frame."""

import asyncio
from pathlib import Path

import pytest

from gateway_core.config import UpstreamConfig
from gateway_core.errors import NoConnectionFree, Unavailable
from gateway_core.testing.authority import Authority
from gateway_core.testing.http2_calls import PATIENCE, SECRET, ask, client, fault, first, hello, post, soon
from gateway_core.testing.http2_server import Codes, Exchange, Http2Server
from gateway_core.upstream.http2.session import MOST_STREAMS
from gateway_core.upstream.httpx_upstream import HttpxUpstream

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
