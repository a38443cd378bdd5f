"""The OpenAI SDK's own retry after a connection that broke: with an Idempotency-Key it is the same call, paid once."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from openai import AsyncOpenAI

from gateway_core.testing.server import ServedGateway

HELLO: list[Any] = [{"role": "user", "content": "Say hello to the gateway"}]


class Breaker:
    """A way to the gateway that breaks off the first answers before a byte of them arrives."""

    def __init__(self, port: int, breaks: int) -> None:
        self._port = port
        self._breaks = breaks
        self._tasks: set[asyncio.Task[None]] = set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, both ways."""
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._port)
        up = asyncio.create_task(self._copy(reader, to_writer))
        self._tasks.add(up)
        try:
            while data := await to_reader.read(65536):
                if self._breaks:
                    # Everything was answered and paid for; nothing arrives.
                    self._breaks -= 1
                    break
                writer.write(data)
                await writer.drain()
        finally:
            up.cancel()
            writer.transport.abort()
            to_writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def broken(served: ServedGateway, breaks: int) -> AsyncIterator[AsyncOpenAI]:
    """The SDK, behind such a way."""
    breaker = Breaker(urlsplit(served.url).port or 0, breaks)
    server = await asyncio.start_server(breaker.connected, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server, AsyncOpenAI(base_url=url, api_key=served.key, max_retries=3) as client:
        yield client


def calls(served: ServedGateway) -> list[str]:
    """Ids of every call on record."""
    records = json.loads(served.spl("thread", "records", "th_audit_api_usage", "-o", "json"))
    return [record["body"]["request_id"] for record in records]


async def test_a_retry_after_a_broken_connection_is_the_same_call(running_server: ServedGateway) -> None:
    before = len(calls(running_server))
    async with broken(running_server, breaks=2) as client:
        answer = await client.chat.completions.with_raw_response.create(
            model="demo", messages=HELLO, extra_headers={"Idempotency-Key": "a-purchase"}
        )
    assert answer.parse().choices[0].message.content
    assert answer.headers["idempotent-replayed"] == "true"
    made = calls(running_server)[before:]
    assert made == [answer.headers["x-syncropic-original-request-id"]]
    assert answer.retries_taken == 2


async def test_without_a_key_each_retry_is_a_call(running_server: ServedGateway) -> None:
    before = len(calls(running_server))
    async with broken(running_server, breaks=1) as client:
        await client.chat.completions.create(model="demo", messages=HELLO)
    assert len(calls(running_server)) == before + 2


async def test_a_replayed_stream_reads_like_the_first(running_server: ServedGateway) -> None:
    async with AsyncOpenAI(base_url=running_server.base_url, api_key=running_server.key, max_retries=0) as client:
        texts = []
        for _ in range(2):
            stream = await client.chat.completions.create(
                model="demo",
                messages=HELLO,
                stream=True,
                stream_options={"include_usage": True},
                extra_headers={"Idempotency-Key": "a-stream"},
            )
            texts.append([chunk.model_dump() async for chunk in stream])
        assert texts[0] == texts[1]
        assert texts[0][-1]["usage"]["cost_cents"] == "0"


async def test_another_body_is_not_tried_again(running_server: ServedGateway) -> None:
    async with AsyncOpenAI(base_url=running_server.base_url, api_key=running_server.key, max_retries=3) as client:
        key = {"Idempotency-Key": "one-body"}
        await client.chat.completions.create(model="demo", messages=HELLO, extra_headers=key)
        with pytest.raises(openai.UnprocessableEntityError) as refused:
            await client.chat.completions.create(model="demo", messages=HELLO, temperature=1, extra_headers=key)
        assert refused.value.code == "idempotency_key_reused"
