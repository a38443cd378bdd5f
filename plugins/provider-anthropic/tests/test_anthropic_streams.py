"""How a stream is said: each event as it comes, in OpenAI's order, however its bytes are written and cut."""

from typing import Any

import msgspec
import pytest
from spl_provider_anthropic.provider import AnthropicProvider

from gateway_core.testing.anthropic_fixture import AnthropicHandle
from gateway_core.testing.provider_suite import chat, choices_of, stream_of
from gateway_core.types import Chunk, Route

MODEL = "claude-sonnet-4-5"
ROUTE = Route("mine", MODEL)
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("f", "g")]
CALLS: list[dict[str, Any]] = [
    {"id": "toolu_1", "name": "f", "input": {"a": 1}},
    {"id": "toolu_2", "name": "g", "thinking": "between"},
]


async def test_X1_X14_a_role_first_and_one_reason_last(provider: AnthropicProvider) -> None:
    choices = choices_of(await stream_of(provider, chat(stream=True), ROUTE))
    assert choices[0] == {
        "index": 0, "delta": {"role": "assistant", "content": "", "refusal": None}, "logprobs": None,
        "finish_reason": None,
    }  # fmt: skip
    assert [choice["finish_reason"] for choice in choices[:-1]] == [None] * (len(choices) - 1)
    assert choices[-1] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert all("role" not in choice["delta"] for choice in choices[1:])


async def test_X2_X3_the_count_is_with_a_chunk_that_has_a_choice(provider: AnthropicProvider) -> None:
    chunks = await stream_of(provider, chat(stream=True), ROUTE)
    assert all(bytes(chunk.choices) != b"[]" for chunk in chunks)
    assert chunks[-1].usage is not None
    assert not chunks[-1].usage.estimated


async def test_X4_each_event_comes_when_it_comes(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle
) -> None:
    anthropic_upstream.script(MODEL, text="abcdefgh", gap_ms=100)
    stream = await provider.stream(chat(stream=True), ROUTE, None)
    seen = []
    async for batch in stream:
        seen.append([text for chunk in batch for text in chunk.texts])
        if seen[-1] == ["abcd"]:
            break
    state = anthropic_upstream.log()[-1]["state"]
    await stream.aclose()
    assert state == "open"


async def test_X5_X6_a_calls_deltas(provider: AnthropicProvider, anthropic_upstream: AnthropicHandle) -> None:
    calls = [{"id": "x", "name": "f", "input": {"abc": "defgh"}}, {"id": "y", "name": "g"}]
    anthropic_upstream.script(MODEL, text="text", calls=calls, thinking=["hm"], oddities=True)
    chunks = await stream_of(provider, chat(stream=True, tools=TOOLS, reasoning_effort="low"), ROUTE)
    deltas = [choice["delta"] for choice in choices_of(chunks)]
    pieces = [piece for delta in deltas for piece in delta.get("tool_calls", ())]
    opening = [piece for piece in pieces if "id" in piece]
    assert opening == [
        {"index": 0, "id": "x", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 1, "id": "y", "type": "function", "function": {"name": "g", "arguments": ""}},
    ]
    for piece in pieces:
        if "id" not in piece:
            assert set(piece) == {"index", "function"}
            assert set(piece["function"]) == {"arguments"}
            assert piece["function"]["arguments"]


@pytest.mark.parametrize("split", [1, 2, 3, 7, 50, 10_000])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
async def test_X7_X8_X9_any_writing_reads_the_same(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, split: int, line_end: str
) -> None:
    script = {"text": "hé 漢 😀 \u2028 x", "thinking": ["Ünd"], "calls": CALLS, "oddities": True, "cached": 2}
    anthropic_upstream.script(MODEL, **script, times=1)
    asked = chat(stream=True, tools=TOOLS, reasoning_effort="low")
    expected = await stream_of(provider, asked, ROUTE)
    anthropic_upstream.script(MODEL, **script, split=split, line_end=line_end, comments=True)
    chunks = await stream_of(provider, asked, ROUTE)
    assert uncounted(chunks) == uncounted(expected)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage == expected[-1].usage


def uncounted(chunks: list[Chunk]) -> list[Chunk]:
    """The chunks without their counts: of events that are read at once only the last one has any."""
    return [msgspec.structs.replace(chunk, usage=None) for chunk in chunks]
