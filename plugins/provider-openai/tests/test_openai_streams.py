"""Streams, however they come and wherever they end."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from spl_provider_openai.provider import OpenAIProvider

from gateway_core.errors import (
    Unavailable,
)
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.provider_suite import ask, chat, choices_of
from gateway_core.types import Route

ROUTE = Route("mine", "m")
Make = Callable[..., OpenAIProvider]


@pytest.mark.parametrize(
    "script",
    [
        {"split": 1},
        {"split": 3, "line_end": "\r\n"},
        {"split": 7, "line_end": "\r"},
        {"line_end": "\r\n", "comments": True},
        {"comments": True, "split": 11},
        {"until_close": True},
        {"until_close": True, "done": False},
        {"split": 100_000},
        {"done": False},
        {"gap_ms": 1},
    ],
)
async def test_a_stream_is_the_same_however_it_is_written(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle, script: dict[str, Any]
) -> None:
    text = "naïve 漢字 😀 text"
    openai_upstream.script("m", text=text, times=1)
    expected = choices_of(await ask(provider, chat(stream=True)))
    openai_upstream.script("m", text=text, **script)
    chunks = await ask(provider, chat(stream=True))
    assert choices_of(chunks) == expected
    assert "".join(piece for chunk in chunks for piece in chunk.texts) == text


async def read_into(texts: list[str], provider: OpenAIProvider) -> None:
    async for batch in await provider.stream(chat(stream=True), ROUTE, None):
        texts += [text for chunk in batch for text in chunk.texts]


async def test_a_stream_broken_off_at_any_byte_raises_after_what_had_come(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle
) -> None:
    await ask(provider, chat(stream=True))
    whole = openai_upstream.log()[0]["sent"]
    openai_upstream.reset()
    for kind in ("reset_at", "close_at"):
        for at in range(1, whole - 10, 97):
            openai_upstream.script("m", **{kind: at}, times=1)
            texts: list[str] = []
            with pytest.raises(Unavailable):
                await read_into(texts, provider)
            assert texts == [f"{' ' if number else ''}word{number}" for number in range(len(texts))]


@pytest.mark.parametrize(
    "events",
    [
        (),
        ("[DONE]",),
        ('{"choices":[{"index":0,"delta":{"content":"hi"}}]}',),
        ('{"choices":[{"index":0,"delta":{"content":"hi"}}]}', "[DONE]"),
        ('{"choices":[{"index":0,"delta":{"content":"hi"}}]}', "{nonsense", "[DONE]"),
        ('{"choices":[{"index":0,"delta":{"content":"hi"}}]}', '{"error":{"message":"x","code":500}}', "[DONE]"),
        ('{"choices":[{"index":0,"delta":5,"finish_reason":"stop"}]}', "[DONE]"),
        ('{"choices":5}', "[DONE]"),
        ("[1]", "[DONE]"),
        ('"hi"', "[DONE]"),
        ('{"choices":[{"index":0,"finish_reason":"stop"},{"index":1,"delta":{"content":"x"}}]}', "[DONE]"),
        ("[" * 5000, "[DONE]"),
    ],
)
async def test_a_stream_that_is_not_finished_is_never_a_success(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle, events: tuple[str, ...]
) -> None:
    openai_upstream.script("m", events=events)
    with pytest.raises(Unavailable):
        await ask(provider, chat(stream=True))


async def test_what_came_before_an_error_is_delivered_however_it_was_read(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle
) -> None:
    events = ('{"choices":[{"delta":{"content":"hi"}}]}', '{"error":{"message":"x"}}')
    for split in (None, 1, 100_000):
        openai_upstream.script("m", events=events, split=split, times=1)
        stream = await provider.stream(chat(stream=True), ROUTE, None)
        assert [chunk.texts for chunk in await anext(stream)] == [("hi",)]
        with pytest.raises(Unavailable):
            await anext(stream)


async def test_a_missing_done_can_be_an_error(make: Make, openai_upstream: UpstreamHandle) -> None:
    openai_upstream.script("m", done=False)
    with pytest.raises(Unavailable, match="before its answer was finished"):
        await ask(make(missing_done="refuse"), chat(stream=True))


async def test_a_stream_that_is_left_is_cut_at_the_server(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle
) -> None:
    openai_upstream.script("m", words=10_000, gap_ms=5)
    stream = await provider.stream(chat(stream=True), ROUTE, None)
    await anext(stream)
    await stream.aclose()
    await asyncio.to_thread(openai_upstream.wait_for, lambda log: log[-1]["state"] == "client_gone", 1.0)


async def test_a_plain_call_that_is_cancelled_is_cut_at_the_server(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle
) -> None:
    openai_upstream.script("m", hang="before_head")
    task = asyncio.create_task(provider.complete(chat(), ROUTE, None))
    await asyncio.to_thread(openai_upstream.wait_for, lambda log: len(log) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(openai_upstream.wait_for, lambda log: log[-1]["state"] == "client_gone", 1.0)
