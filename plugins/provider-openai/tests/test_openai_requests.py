"""What reaches the server."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from spl_provider_openai import provider as provider_module
from spl_provider_openai.provider import OpenAIProvider

from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.provider_suite import ask, chat
from gateway_core.types import Route

Make = Callable[..., OpenAIProvider]


def body_sent(openai_upstream: UpstreamHandle) -> dict[str, Any]:
    body: dict[str, Any] = openai_upstream.log()[-1]["body"]
    return body


EVERYTHING = {
    "messages": [
        {"role": "developer", "content": [{"type": "text", "text": "be brief"}]},
        {"role": "user", "content": 'hé 漢 😀 \u2028 \\ "', "name": "ann", "weight": 0.5},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1.10}'}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "done"},
    ],
    "temperature": 0, "top_p": 1, "n": 2, "seed": 12345678901234, "stop": ["a"], "logit_bias": {"5": -100},
    "logprobs": True, "top_logprobs": 2, "presence_penalty": -0.5, "frequency_penalty": 0.25, "user": "u",
    "metadata": {"a": "b"}, "store": False, "service_tier": "default", "reasoning_effort": "low",
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "x": 1e100}}}],
    "tool_choice": "auto", "parallel_tool_calls": False, "top_k": 40,
    "chat_template_kwargs": {"a": {"b": [None, True]}},
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
async def test_every_field_reaches_the_server_with_its_value(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle, stream: bool
) -> None:
    fields = {**EVERYTHING, "max_tokens": 9, "max_completion_tokens": 7, "stream": stream}
    await ask(provider, chat(**fields))
    expected = {**fields, "model": "m"} | ({"stream_options": {"include_usage": True}} if stream else {})
    assert body_sent(openai_upstream) == expected


async def test_the_clients_stream_options_are_kept(provider: OpenAIProvider, openai_upstream: UpstreamHandle) -> None:
    await ask(provider, chat(stream=True, stream_options={"include_usage": False, "include_obfuscation": False}))
    assert body_sent(openai_upstream)["stream_options"] == {"include_usage": True, "include_obfuscation": False}


async def test_a_server_that_knows_no_stream_options_gets_none(make: Make, openai_upstream: UpstreamHandle) -> None:
    chunks = await ask(make(stream_usage=False), chat(stream=True, stream_options={"include_usage": True}))
    assert "stream_options" not in body_sent(openai_upstream)
    assert [chunk.usage for chunk in chunks if chunk.usage] == []


@pytest.mark.parametrize(
    ("setting", "model", "asked", "limit", "sent"),
    [
        ("auto", "m", {}, None, {}),
        ("auto", "m", {"max_tokens": 5}, None, {"max_tokens": 5}),
        ("auto", "m", {"max_completion_tokens": 5}, None, {"max_completion_tokens": 5}),
        ("auto", "m", {}, 3, {"max_tokens": 3}),
        ("auto", "m", {"max_tokens": 5}, 3, {"max_tokens": 3}),
        ("auto", "m", {"max_completion_tokens": 5}, 3, {"max_completion_tokens": 3}),
        ("auto", "m", {"max_tokens": 5, "max_completion_tokens": 6}, 3, {"max_tokens": 3, "max_completion_tokens": 3}),
        ("auto", "gpt-4o", {"max_tokens": 5}, None, {"max_tokens": 5}),
        ("auto", "gpt-5-mini", {"max_tokens": 5}, None, {"max_completion_tokens": 5}),
        ("auto", "o3", {}, 3, {"max_completion_tokens": 3}),
        ("auto", "openai/o3", {}, 3, {"max_completion_tokens": 3}),
        ("auto", "o1", {"max_tokens": 5, "max_completion_tokens": 6}, None, {"max_completion_tokens": 6}),
        ("max_tokens", "m", {"max_completion_tokens": 6}, None, {"max_tokens": 6}),
        ("max_completion_tokens", "m", {"max_tokens": 6}, 2, {"max_completion_tokens": 2}),
        ("max_tokens", "m", {"max_tokens": None}, None, {}),
    ],
)
async def test_the_output_limit_has_the_name_that_the_model_knows(
    make: Make, openai_upstream: UpstreamHandle, setting: str, model: str, asked: Any, limit: int | None, sent: Any
) -> None:
    await ask(make(limit_field=setting), chat(**asked), Route("mine", model), limit)
    body = body_sent(openai_upstream)
    assert {name: value for name, value in body.items() if name.startswith("max_")} == sent


async def test_K1_organization_and_project_are_headers(make: Make, openai_upstream: UpstreamHandle) -> None:
    await ask(make(organization="org-1", project="proj-1"), chat())
    headers = openai_upstream.log()[-1]["headers"]
    assert (headers["openai-organization"], headers["openai-project"]) == ("org-1", "proj-1")


@pytest.mark.parametrize(("size", "apart"), [(10, False), (200_000, True)])
async def test_a_large_request_is_written_in_a_thread(
    provider: OpenAIProvider, monkeypatch: pytest.MonkeyPatch, size: int, apart: bool
) -> None:
    threads: list[threading.Thread] = []
    encode = provider_module.encode_request

    def noting(*arguments: Any, **named: Any) -> bytes:
        threads.append(threading.current_thread())
        return encode(*arguments, **named)

    monkeypatch.setattr(provider_module, "encode_request", noting)
    await ask(provider, chat(messages=[{"role": "user", "content": "x" * size}]))
    assert [thread is not threading.main_thread() for thread in threads] == [apart]
