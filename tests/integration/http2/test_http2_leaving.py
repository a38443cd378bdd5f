"""Who leaves an HTTP/2 connection, reads slowly or waits too long there takes nothing from the others on it."""

import asyncio

import pytest

from gateway_core.testing.authority import Authority
from gateway_core.testing.http2_calls import PATIENCE, ask, client, fault, first, hello, post, soon
from gateway_core.testing.http2_server import Codes, Exchange, Http2Server
from gateway_core.upstream.http2.session import QUIET
from gateway_core.upstream.httpx_upstream import HttpxUpstream


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
