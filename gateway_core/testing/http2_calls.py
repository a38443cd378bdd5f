"""What tests of HTTP/2 to providers ask, and how: the client, requests, and handlers for `http2_server`."""

import asyncio

import pytest

from gateway_core.config import UpstreamConfig
from gateway_core.errors import Unavailable
from gateway_core.ports import UpstreamRequest
from gateway_core.testing.http2_server import Exchange, Handler
from gateway_core.types import Deadlines
from gateway_core.upstream.httpx_upstream import HttpxUpstream

SECRET = "sk-very-secret"  # noqa: S105  # no secret: what must not be told
PATIENCE = 20.0
"""Seconds for what takes none: where they pass, it hangs."""


def client(**settings: object) -> HttpxUpstream:
    """A client that offers HTTP/2, with these settings of `[upstream]`."""
    return HttpxUpstream(UpstreamConfig(client="httpx2", http2=True, **settings))  # type: ignore[arg-type]  # a test's own


def post(url: str, body: bytes = b"{}", **deadlines: float) -> UpstreamRequest:
    """A request with a secret in it."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {SECRET}"}
    return UpstreamRequest(url=f"{url}/v1/chat", headers=headers, body=body, deadlines=Deadlines(**deadlines))


async def ask(upstream: HttpxUpstream, request: UpstreamRequest) -> bytes:
    """The body of the answer."""
    async with asyncio.timeout(PATIENCE):
        response = await upstream.send(request)
        try:
            return await response.read()
        finally:
            await response.close()


async def fault(upstream: HttpxUpstream, request: UpstreamRequest) -> str:
    """What is said of an attempt that fails; nothing secret, and no address."""
    with pytest.raises(Unavailable) as met:
        await ask(upstream, request)
    assert SECRET not in met.value.detail
    assert "localhost" not in met.value.detail
    return met.value.detail


async def soon(event: asyncio.Event) -> None:
    """Waits for what is about to happen."""
    await asyncio.wait_for(event.wait(), PATIENCE)


async def hello(exchange: Exchange) -> None:
    """Answers a request that is whole."""
    await exchange.asked.wait()
    await exchange.answer(b"hello")


def first(then: Handler) -> Handler:
    """The first exchange is answered by `then`, the others with hello."""
    seen: list[Exchange] = []

    async def handler(exchange: Exchange) -> None:
        seen.append(exchange)
        await (then if len(seen) == 1 else hello)(exchange)

    return handler
