"""Streams, however they come and wherever they end."""

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
        {"done": False},
        {"until_close": True, "done": False},
        {"space": False},
        {"space": False, "split": 1},
    ],
)
async def test_X7_X9_a_stream_needs_no_done_and_no_spaces(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle, script: dict[str, Any]
) -> None:
    text = "naïve 漢字 😀 text"
    openai_upstream.script("m", text=text, times=1)
    expected = choices_of(await ask(provider, chat(stream=True)))
    openai_upstream.script("m", text=text, **script)
    chunks = await ask(provider, chat(stream=True))
    assert choices_of(chunks) == expected
    assert "".join(piece for chunk in chunks for piece in chunk.texts) == text


@pytest.mark.parametrize(
    "events",
    [
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
async def test_E4_a_stream_that_is_not_finished_is_never_a_success(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle, events: tuple[str, ...]
) -> None:
    openai_upstream.script("m", events=events)
    with pytest.raises(Unavailable):
        await ask(provider, chat(stream=True))


async def test_E4_a_missing_done_can_be_an_error(make: Make, openai_upstream: UpstreamHandle) -> None:
    openai_upstream.script("m", done=False)
    with pytest.raises(Unavailable, match="before its answer was finished"):
        await ask(make(missing_done="refuse"), chat(stream=True))
