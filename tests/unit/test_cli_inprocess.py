"""The gateway in this process answers as a server would: streamed, with disconnects noticed and errors seen."""

import asyncio
from typing import Any

import httpx2
import pytest

from gateway_core.cli.inprocess import InProcess


def client(app: Any) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url="http://localhost", transport=InProcess(app))


async def start(send: Any, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"x-a", b"1")]})


async def test_request_and_answer_arrive_whole() -> None:
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope, body=(await receive())["body"])
        await start(send, 201)
        await send({"type": "http.response.body", "body": b"made"})

    async with client(app) as http:
        answer = await http.post("/v1/th%20x?a=1", content=b"{}", headers={"Authorization": "Bearer k"})
    assert (answer.status_code, answer.headers["x-a"], answer.content) == (201, "1", b"made")
    assert (seen["method"], seen["path"], seen["query_string"], seen["body"]) == ("POST", "/v1/th x", b"a=1", b"{}")
    assert (b"authorization", b"Bearer k") in seen["headers"]


async def test_a_streamed_answer_comes_piece_by_piece() -> None:
    go_on = asyncio.Event()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await start(send)
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"second"})

    async with client(app) as http, http.stream("GET", "/") as answer:
        pieces = answer.aiter_raw()
        assert await anext(pieces) == b"first"
        go_on.set()
        assert [piece async for piece in pieces] == [b"second"]


async def test_leaving_early_is_a_disconnect_and_waits_until_the_app_is_done() -> None:
    events: list[str] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await start(send)
        for _ in range(5):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        events.append((await receive())["type"])
        await asyncio.sleep(0)
        events.append("settled")

    async with client(app) as http:
        async with http.stream("GET", "/") as answer:
            await anext(answer.aiter_raw())
        assert events == ["http.disconnect", "settled"]


async def test_an_app_that_fails_fails_the_request() -> None:
    async def before(_scope: Any, _receive: Any, _send: Any) -> None:
        raise ValueError("broken")

    async def early(_scope: Any, _receive: Any, send: Any) -> None:
        await start(send)
        await send({"type": "http.response.body", "body": b"x", "more_body": True})

    async with client(before) as http:
        with pytest.raises(ValueError, match="broken"):
            await http.get("/")
    async with client(early) as http:
        with pytest.raises(httpx2.RemoteProtocolError, match="ended the answer early"):
            await http.get("/")
