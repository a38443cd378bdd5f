"""What the server's answers become."""

import json
from typing import Any

import pytest
from spl_provider_openai.provider import OpenAIProvider

from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.provider_suite import ask, chat, choices_of
from gateway_core.types import Completion


async def test_what_a_plain_answer_becomes(provider: OpenAIProvider) -> None:
    completion: Completion = await ask(provider, chat())
    assert completion.id == "chatcmpl-upstream"
    assert completion.created == 1_700_000_000
    assert {name: json.loads(bytes(raw)) for name, raw in completion.extra.items()} == {
        "system_fingerprint": "fp_upstream",
        "service_tier": "default",
    }
    assert completion.usage is not None
    assert completion.usage.output == 5
    assert completion.usage_fields is not None
    assert "prompt_tokens_details" in completion.usage_fields


async def test_every_billed_text_is_seen(provider: OpenAIProvider, openai_upstream: UpstreamHandle) -> None:
    delta = {
        "role": "assistant",
        "content": "a",
        "reasoning_content": "b",
        "refusal": "c",
        "tool_calls": [
            {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "d"}},
            {"index": 1, "id": "call_2", "type": "custom", "custom": {"name": "g", "input": "e"}},
        ],
        "function_call": {"arguments": "f"},
        "annotations": [{"type": "url_citation"}],
        "audio": {"id": "x"},
    }
    choice = {"index": 0, "finish_reason": "tool_calls", "logprobs": {"content": []}, "odd": 1}
    openai_upstream.script("m", body=json.dumps({"choices": [{**choice, "message": delta}]}), times=1)
    completion: Completion = await ask(provider, chat())
    openai_upstream.script("m", events=(json.dumps({"choices": [{**choice, "delta": delta}]}), "[DONE]"))
    (chunk,) = await ask(provider, chat(stream=True))
    assert completion.texts == chunk.texts == ("a", "b", "c", "d", "e", "f")
    assert json.loads(bytes(completion.choices)) == [{**choice, "message": delta}]
    assert json.loads(bytes(chunk.choices)) == [{**choice, "delta": delta}]


@pytest.mark.parametrize(
    "content",
    [[{"type": "text", "text": "hi"}, {"type": "thinking"}], "hi"],
)
async def test_content_may_be_parts(provider: OpenAIProvider, openai_upstream: UpstreamHandle, content: Any) -> None:
    message = {"role": "assistant", "content": content, "reasoning": {"odd": 1}}
    openai_upstream.script("m", body=json.dumps({"choices": [{"message": message}]}))
    assert (await ask(provider, chat())).texts == ("hi",)


async def test_the_role_that_a_server_leaves_out_is_put_in(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle
) -> None:
    openai_upstream.script("m", role=False)
    choices = choices_of(await ask(provider, chat(stream=True, n=2)))
    firsts = [next(choice for choice in choices if choice["index"] == index) for index in (0, 1)]
    assert [choice["delta"] for choice in firsts] == [{"role": "assistant", "content": "word0"}] * 2
    assert sum("role" in choice["delta"] for choice in choices) == 2
