"""What reaches the server, what its answers become, and what its failures are."""

import asyncio
import json
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest
from spl_provider_openai.provider import OpenAIProvider

from gateway_core.errors import (
    ConfigError,
    ContentRefused,
    ProviderFault,
    RouteRefused,
    Throttled,
    Unavailable,
)
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.provider_suite import chat, choices_of, stream_of
from gateway_core.types import ChatRequest, Chunk, Completion, Deadlines, Route, Usage

ROUTE = Route("mine", "m")
Make = Callable[..., OpenAIProvider]


async def one(provider: OpenAIProvider, request: ChatRequest, route: Route = ROUTE, limit: int | None = None) -> Any:
    """Asks in the way that the request says."""
    if request.stream:
        return await stream_of(provider, request, route, limit)
    return await provider.complete(request, route, limit)


def body_sent(openai_upstream: UpstreamHandle) -> dict[str, Any]:
    body: dict[str, Any] = openai_upstream.log()[-1]["body"]
    return body


# ---------------------------------------------------------------- requests


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
    await one(provider, chat(**fields))
    expected = {**fields, "model": "m"} | ({"stream_options": {"include_usage": True}} if stream else {})
    assert body_sent(openai_upstream) == expected


async def test_the_clients_stream_options_are_kept(provider: OpenAIProvider, openai_upstream: UpstreamHandle) -> None:
    await one(provider, chat(stream=True, stream_options={"include_usage": False, "include_obfuscation": False}))
    assert body_sent(openai_upstream)["stream_options"] == {"include_usage": True, "include_obfuscation": False}


async def test_a_server_that_knows_no_stream_options_gets_none(make: Make, openai_upstream: UpstreamHandle) -> None:
    chunks = await one(make(stream_usage=False), chat(stream=True, stream_options={"include_usage": True}))
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
    await one(make(limit_field=setting), chat(**asked), Route("mine", model), limit)
    body = body_sent(openai_upstream)
    assert {name: value for name, value in body.items() if name.startswith("max_")} == sent


async def test_the_headers_are_ours(make: Make, openai_upstream: UpstreamHandle) -> None:
    provider = make(organization="org-1", project="proj-1", headers={"X-Team": "a b"})
    await one(provider, chat())
    headers = openai_upstream.log()[-1]["headers"]
    assert headers.pop("user-agent").startswith("spl-gateway/")
    assert headers.pop("host") == f"127.0.0.1:{openai_upstream.port}"
    assert int(headers.pop("content-length")) > 0
    assert headers == {
        "accept": "application/json, text/event-stream",
        "accept-encoding": "identity",
        "authorization": f"Bearer {openai_upstream.key}",
        "content-type": "application/json",
        "openai-organization": "org-1",
        "openai-project": "proj-1",
        "x-team": "a b",
    }


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"base_url": "example.com/v1"}, "base_url"),
        ({"base_url": "ftp://example.com"}, "base_url"),
        ({"base_url": "https://user:secret@example.com/v1"}, "base_url"),
        ({"base_url": "https://example.com/v1?key=secret"}, "base_url"),
        ({"headers": {"x y": "a"}}, "headers"),
        ({"headers": {"x": "secret\r\ny: z"}}, "headers"),
        ({"headers": {"Host": "secret"}}, "headers"),
        ({"organization": "secret\n"}, "openai-organization"),
        ({"api_key": "secret\n"}, "api_key"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(make: Make, settings: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError) as refused:
        make(**settings)
    assert "providers.mine." in str(refused.value)
    assert where in refused.value.where
    assert "secret" not in str(refused.value)


# ---------------------------------------------------------------- answers


async def test_what_a_plain_answer_becomes(provider: OpenAIProvider) -> None:
    completion: Completion = await one(provider, chat())
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
            {"index": 0, "function": {"arguments": "d"}},
            {"index": 1, "type": "custom", "custom": {"input": "e"}},
        ],
        "function_call": {"arguments": "f"},
        "annotations": [{"type": "url_citation"}],
        "audio": {"id": "x"},
    }
    choice = {"index": 0, "finish_reason": "stop", "logprobs": {"content": []}, "odd": 1}
    openai_upstream.script("m", body=json.dumps({"choices": [{**choice, "message": delta}]}), times=1)
    completion: Completion = await one(provider, chat())
    openai_upstream.script("m", events=(json.dumps({"choices": [{**choice, "delta": delta}]}), "[DONE]"))
    (chunk,) = await one(provider, chat(stream=True))
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
    assert (await one(provider, chat())).texts == ("hi",)


USAGES = [
    (None, None),
    ({}, None),
    ({"prompt_tokens": 5}, None),
    ({"prompt_tokens": 5, "completion_tokens": -1}, None),
    ({"prompt_tokens": "5", "completion_tokens": 1}, None),
    ({"prompt_tokens": 5, "completion_tokens": 10**9 + 1}, None),
    ({"prompt_tokens": 0, "completion_tokens": 0}, None),
    ({"prompt_tokens": True, "completion_tokens": 1}, None),
    ([1], None),
    ({"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 99}, Usage(5, 6)),
    (
        {"prompt_tokens": 5, "completion_tokens": 6, "prompt_tokens_details": {"cached_tokens": 4},
         "completion_tokens_details": {"reasoning_tokens": 3}},
        Usage(5, 6, cached=4, reasoning=3),
    ),
    (
        {"prompt_tokens": 5, "completion_tokens": 6, "prompt_tokens_details": {"cached_tokens": 50},
         "completion_tokens_details": {"reasoning_tokens": 60}},
        Usage(5, 6, cached=5, reasoning=6, estimated=True),
    ),
    (
        {"prompt_tokens": 5, "completion_tokens": 6, "prompt_tokens_details": {"cached_tokens": -5}},
        Usage(5, 6, estimated=True),
    ),
    (
        {"prompt_tokens": 9, "completion_tokens": 6,
         "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 5}},
        Usage(9, 6, cached=4, cache_write=5),
    ),
    ({"prompt_tokens": 5, "completion_tokens": 6, "prompt_tokens_details": None}, Usage(5, 6)),
]  # fmt: skip


@pytest.mark.parametrize(("report", "expected"), USAGES)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_usage_report_is_believed_only_where_it_can_be(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle, report: Any, expected: Usage | None, stream: bool
) -> None:
    answer = {"choices": [{"message": {"content": "hi"}, "delta": {"content": "hi"}, "finish_reason": "stop"}]}
    text = json.dumps({**answer, "usage": report})
    if stream:
        openai_upstream.script("m", events=(text, "[DONE]"))
        (chunk,) = await one(provider, chat(stream=True))
        assert chunk.usage == expected
    else:
        openai_upstream.script("m", body=text)
        assert (await one(provider, chat())).usage == expected


async def test_usage_sent_many_times_stands_in_each_chunk(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle
) -> None:
    reports = [{"prompt_tokens": 5, "completion_tokens": count} for count in (1, 2, 3)]
    openai_upstream.script("m", usage=reports)
    chunks: list[Chunk] = await one(provider, chat(stream=True))
    assert [chunk.usage for chunk in chunks if chunk.usage] == [Usage(5, 1), Usage(5, 2), Usage(5, 3)]


async def test_the_role_that_a_server_leaves_out_is_put_in(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle
) -> None:
    openai_upstream.script("m", role=False)
    choices = choices_of(await one(provider, chat(stream=True, n=2)))
    firsts = [next(choice for choice in choices if choice["index"] == index) for index in (0, 1)]
    assert [choice["delta"] for choice in firsts] == [{"role": "assistant", "content": "word0"}] * 2
    assert sum("role" in choice["delta"] for choice in choices) == 2


# ---------------------------------------------------------------- streams, however they come


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
    expected = choices_of(await one(provider, chat(stream=True)))
    openai_upstream.script("m", text=text, **script)
    chunks = await one(provider, chat(stream=True))
    assert choices_of(chunks) == expected
    assert "".join(piece for chunk in chunks for piece in chunk.texts) == text


async def read_into(texts: list[str], provider: OpenAIProvider) -> None:
    async for batch in await provider.stream(chat(stream=True), ROUTE, None):
        texts += [text for chunk in batch for text in chunk.texts]


async def test_a_stream_broken_off_at_any_byte_raises_after_what_had_come(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle
) -> None:
    await one(provider, chat(stream=True))
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
        await one(provider, chat(stream=True))


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
        await one(make(missing_done="refuse"), chat(stream=True))


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


# ---------------------------------------------------------------- failures

ERROR = {"message": "it is bad", "type": "invalid_request_error", "param": "temperature", "code": "bad_value"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ContentRefused),
        (413, ContentRefused),
        (422, ContentRefused),
        (401, RouteRefused),
        (402, RouteRefused),
        (403, RouteRefused),
        (404, RouteRefused),
        (429, Throttled),
        (302, Unavailable),
        (408, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
        (529, Unavailable),
        (201, Unavailable),
    ],
)
async def test_each_status_is_its_fault(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle, status: int, kind: type[ProviderFault], stream: bool
) -> None:
    openai_upstream.script("m", status=status, body=json.dumps({"error": ERROR}), headers={"retry-after": "7"})
    with pytest.raises(kind) as met:
        await one(provider, chat(stream=stream))
    if isinstance(met.value, ContentRefused):
        expected = ("it is bad", 413 if status == 413 else 400, "temperature")
        assert (met.value.message, met.value.status, met.value.param) == expected
    else:
        assert "it is bad" not in met.value.detail
        assert str(status) in met.value.detail
    if status in (429, 503):
        assert met.value.retry_after == 7.0


async def test_the_upstreams_own_refusal_of_content_comes_through(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle
) -> None:
    with pytest.raises(ContentRefused) as met:
        await one(provider, chat(stop=["a", "b", "c", "d", "e"]))
    assert met.value.param == "stop"


async def test_a_date_in_retry_after(provider: OpenAIProvider, openai_upstream: UpstreamHandle) -> None:
    openai_upstream.script("m", status=429, body="{}", headers={"retry-after": formatdate(4e9, usegmt=True)})
    with pytest.raises(Throttled) as met:
        await one(provider, chat())
    assert met.value.retry_after == 86_400


@pytest.mark.parametrize(
    "error",
    [
        {"message": "API key not valid. Please pass a valid API key.", "code": 400, "status": "INVALID_ARGUMENT"},
        {"message": "x", "code": "invalid_api_key"},
        {"message": "No such organization: org-1", "param": None},
    ],
)
async def test_a_400_about_our_key_is_not_the_clients(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle, error: dict[str, Any]
) -> None:
    openai_upstream.script("m", status=400, body=json.dumps({"error": error}))
    with pytest.raises(RouteRefused):
        await one(provider, chat())


async def test_a_wrong_key_is_the_routes_fault(make: Make) -> None:
    with pytest.raises(RouteRefused) as met:
        await one(make(api_key="sk-wrong"), chat())
    assert "sk-wrong" not in str(met.value)
    with pytest.raises(RouteRefused):
        await one(make(api_key=None), chat())


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('{"error": "plain words"}', "plain words"),
        ('{"message": "flat"}', "flat"),
        ('{"detail": "of a framework"}', "of a framework"),
        ('{"detail": [{"loc": ["a"]}]}', "The provider refused the request."),
        ("<html>nginx</html>", "The provider refused the request."),
        ("[" * 5000, "The provider refused the request."),
        ("", "The provider refused the request."),
        ('{"error": {"message": "see http://10.0.0.1:8000/v1/x for\\r\\nmore"}}', "see … for more"),
        ('{"error": {"message": "your key sk-upstream-test is"}}', "your key … is"),
    ],
)
async def test_a_refusals_words_reach_the_client_without_what_is_ours(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle, body: str, says: str
) -> None:
    openai_upstream.script("m", status=422, body=body)
    with pytest.raises(ContentRefused) as met:
        await one(provider, chat())
    assert met.value.message == says


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("body", "content_type", "kind"),
    [
        ("<html>hello</html>", "text/html", Unavailable),
        ("<html>hello</html>", "application/json", Unavailable),
        ('{"error": {"message": "x", "code": 500}}', "application/json", Unavailable),
        ('{"error": {"message": "x", "code": 429}}', "application/json", Throttled),
        ('{"error": "x"}', "application/json", Unavailable),
        ("{}", "application/json", Unavailable),
        ('{"choices": []}', "application/json", Unavailable),
        ('{"choices": null}', "application/json", Unavailable),
        ('{"choices": [{}]}', "application/json", Unavailable),
        ('{"choices": [{"message": "hi"}]}', "application/json", Unavailable),
        ("", "application/json", Unavailable),
        ("[" * 5000, "application/json", Unavailable),
    ],
)
async def test_a_200_that_is_no_answer_is_a_fault(
    provider: OpenAIProvider,
    openai_upstream: UpstreamHandle,
    body: str,
    content_type: str,
    kind: type[ProviderFault],
    stream: bool,
) -> None:
    openai_upstream.script("m", body=body, content_type=content_type)
    with pytest.raises(kind):
        await one(provider, chat(stream=stream))


@pytest.mark.parametrize("hang", ["before_head", "after_head"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_provider_that_never_answers(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle, hang: str, stream: bool
) -> None:
    openai_upstream.script("m", hang=hang)
    with pytest.raises(Unavailable, match="no first byte within"):
        await one(provider, chat(stream=stream), Route("mine", "m", Deadlines(first_byte=0.1)))


@pytest.mark.parametrize(
    ("model", "vocabulary"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("gpt-4.1-nano", "o200k_base"),
        ("gpt-5", "o200k_base"),
        ("o1", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("o4-mini", "o200k_base"),
        ("openai/gpt-4o", "o200k_base"),
        ("ft:gpt-4o:acme::1", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("llama-3", None),
    ],
)
def test_the_vocabulary_of_a_model(make: Make, model: str, vocabulary: str | None) -> None:
    assert make().tokenizer(model) == vocabulary
    assert make(tokenizer="cl100k_base").tokenizer(model) == "cl100k_base"
