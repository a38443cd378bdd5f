"""What a provider does wrong over HTTP/2 costs the calls it is about, and no call is made twice without its word."""

import asyncio

import pytest

from gateway_core.errors import Unavailable
from gateway_core.testing.authority import Authority
from gateway_core.testing.http2_calls import PATIENCE, ask, fault, first, post, soon
from gateway_core.testing.http2_server import Codes, Exchange, Http2Server
from gateway_core.upstream.http2.session import MOST_ANSWERED
from gateway_core.upstream.httpx_upstream import HttpxUpstream


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
