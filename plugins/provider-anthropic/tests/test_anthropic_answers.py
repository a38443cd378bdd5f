"""What answers become, plain and streamed, over real sockets: O and U, and of F, R and X what is about answers."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from openai.lib.streaming._deltas import accumulate_delta
from spl_provider_anthropic.provider import AnthropicProvider
from spl_provider_anthropic.request import Reply
from spl_provider_anthropic.stream import StreamDecoder

from gateway_core.errors import InvalidRequest
from gateway_core.ports import MediaFile
from gateway_core.testing.anthropic_fixture import AnthropicHandle
from gateway_core.testing.anthropic_rules import signature_of
from gateway_core.testing.provider_parts import PlainMemory, TableMedia
from gateway_core.testing.provider_suite import chat, choices_of, stream_of
from gateway_core.types import Chunk, Completion, Route, Usage

Make = Callable[..., AnthropicProvider]
MODEL = "claude-sonnet-4-5"
ROUTE = Route("mine", MODEL)
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("f", "g")]
BOTH = pytest.mark.parametrize("stream", [False, True])
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}


class Got:
    """One choice, however it came."""

    def __init__(self, message: dict[str, Any], reason: str, texts: list[str], usage: Usage | None) -> None:
        self.message = message
        self.reason = reason
        self.texts = texts
        self.usage = usage


def put_together(chunks: list[Chunk]) -> Got:
    """A stream as a client puts it together: by openai-python's own rules."""
    message: dict[Any, Any] = {}
    reasons = []
    for choice in choices_of(chunks):
        accumulate_delta(message, choice["delta"])
        if choice["finish_reason"] is not None:
            reasons.append(choice["finish_reason"])
    (reason,) = reasons
    for one in ("tool_calls", "thinking_blocks"):
        for entry in message.get(one, ()):
            entry.pop("index")
    usages = [chunk.usage for chunk in chunks if chunk.usage is not None]
    return Got(message, reason, [text for chunk in chunks for text in chunk.texts], usages[-1] if usages else None)


async def got(provider: AnthropicProvider, *, stream: bool, model: str = MODEL, **fields: Any) -> Got:
    route = Route("mine", model)
    if stream:
        return put_together(await stream_of(provider, chat(stream=True, **fields), route))
    completion = await provider.complete(chat(**fields), route, None)
    (choice,) = json.loads(bytes(completion.choices))
    return Got(choice["message"], choice["finish_reason"], list(completion.texts), completion.usage)


@BOTH
async def test_O1_all_text_is_the_content_and_nothing_else(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, stream: bool
) -> None:
    anthropic_upstream.script(MODEL, text="hé 漢 😀 and more", oddities=True)
    answer = await got(provider, stream=stream)
    assert answer.message == {"role": "assistant", "content": "hé 漢 😀 and more", "refusal": None}
    assert "".join(answer.texts) == "hé 漢 😀 and more"
    assert answer.reason == "stop"


@BOTH
async def test_O2_O3_O12_calls_have_openais_form(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, stream: bool
) -> None:
    calls = [
        {"id": "toolu_1", "name": "f", "input": {"a": [1, {"b": "ü"}]}},
        {"id": "toolu_2", "name": "g", "input": {"c": 1}},
        {"id": "toolu_3", "name": "f", "input": {"a": [1, {"b": "ü"}]}},
    ]
    anthropic_upstream.script(MODEL, calls=calls)
    answer = await got(provider, stream=stream, tools=TOOLS)
    assert answer.message["content"] in (None, "")
    assert answer.message["content"] is None or stream
    told = [(one["id"], one["type"], one["function"]["name"]) for one in answer.message["tool_calls"]]
    assert told == [("toolu_1", "function", "f"), ("toolu_2", "function", "g"), ("toolu_3", "function", "f")]
    arguments = [one["function"]["arguments"] for one in answer.message["tool_calls"]]
    assert [json.loads(one) for one in arguments] == [call["input"] for call in calls]
    assert "".join(answer.texts) == "".join(arguments)
    assert answer.reason == "tool_calls"
    anthropic_upstream.reset()
    assert "tool_calls" not in (await got(provider, stream=stream, tools=TOOLS)).message


@BOTH
async def test_O4_a_call_without_arguments_has_an_empty_object(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, stream: bool
) -> None:
    anthropic_upstream.script(MODEL, calls=[{"name": "f"}])
    answer = await got(provider, stream=stream, tools=TOOLS)
    assert answer.message["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}


@BOTH
async def test_O5_text_and_calls_are_both_there(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, stream: bool
) -> None:
    calls = [{"name": "f", "input": {"a": 1}}, {"name": "g", "text": " and "}]
    anthropic_upstream.script(MODEL, text="let me see", calls=calls, oddities=True)
    answer = await got(provider, stream=stream, tools=TOOLS)
    assert answer.message["content"] == "let me see and "
    assert [one["function"]["name"] for one in answer.message["tool_calls"]] == ["f", "g"]


@BOTH
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("pause_turn", "stop"),
        ("of_tomorrow", "stop"),
        ("tool_use", "stop"),
    ],
)
async def test_O6_each_reason_has_openais_word(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, said: str, told: str, stream: bool
) -> None:
    anthropic_upstream.script(MODEL, stop_reason=said)
    assert (await got(provider, stream=stream)).reason == told


@BOTH
async def test_O7_a_refusal_says_why(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, stream: bool
) -> None:
    details = {"type": "refusal", "category": "bio", "explanation": "It is dangerous."}
    anthropic_upstream.script(MODEL, words=0, stop_reason="refusal", stop_details=details)
    answer = await got(provider, stream=stream)
    assert answer.reason == "content_filter"
    assert answer.message == {"role": "assistant", "content": "", "refusal": "It is dangerous."}


@BOTH
async def test_O8_an_empty_answer_is_one(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, stream: bool
) -> None:
    anthropic_upstream.script(MODEL, words=0)
    answer = await got(provider, stream=stream)
    assert (answer.message["content"], answer.reason, answer.texts) == ("", "stop", [])


@BOTH
async def test_O9_several_answers_are_several_requests(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, stream: bool
) -> None:
    anthropic_upstream.script(MODEL, cached=4)
    one = await got(provider, stream=False)
    assert one.usage is not None
    if stream:
        chunks = await stream_of(provider, chat(n=3, stream=True), ROUTE)
        choices, usage = choices_of(chunks), [chunk.usage for chunk in chunks if chunk.usage][-1]
        assert sum(choice["finish_reason"] is not None for choice in choices) == 3
        assert sum("role" in choice["delta"] for choice in choices) == 3
    else:
        completion = await provider.complete(chat(n=3), ROUTE, None)
        choices, told = json.loads(bytes(completion.choices)), completion.usage
        assert told is not None
        usage = told
    assert {choice["index"] for choice in choices} == {0, 1, 2}
    assert usage == Usage(3 * one.usage.input, 3 * one.usage.output, cached=12)
    assert len(anthropic_upstream.log()) == 4


@BOTH
async def test_O9_too_many_answers_are_refused(make: Make, stream: bool) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await (make().stream if stream else make(most_choices=1).complete)(chat(n=9, stream=stream), ROUTE, None)
    assert refused.value.param == "n"


@BOTH
async def test_U1_U2_U3_counts(provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, stream: bool) -> None:
    anthropic_upstream.script(MODEL, thinking=["one two three"], cached=7, cache_write=5)
    answer = await got(provider, stream=stream, reasoning_effort="low")
    assert answer.usage is not None
    sent = anthropic_upstream.log()[-1]["body"]["messages"]
    fresh = 3 + len(json.dumps(sent).split())
    assert answer.usage == Usage(fresh + 12, 8, cached=7, cache_write=5, reasoning=3)


@BOTH
@pytest.mark.parametrize(
    ("report", "usage"),
    [
        ({"input_tokens": 5, "output_tokens": 6}, Usage(5, 6)),
        ({"input_tokens": 5, "output_tokens": 0}, Usage(5, 0)),
        ({"input_tokens": 5, "output_tokens": 6, "cache_read_input_tokens": None}, Usage(5, 6)),
        ({"input_tokens": 5, "output_tokens": 6, "cache_read_input_tokens": -1}, Usage(5, 6, estimated=True)),
        ({"input_tokens": 5, "output_tokens": 6, "output_tokens_details": {"thinking_tokens": 60}},
         Usage(5, 6, reasoning=6, estimated=True)),
        ({"input_tokens": "5", "output_tokens": 6}, None),
        ({"input_tokens": 0, "output_tokens": 0}, None),
        ({"input_tokens": 10**10, "output_tokens": 6}, None),
        ({}, None),
    ],
)  # fmt: skip
async def test_U2_a_report_is_believed_only_where_it_can_be(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, report: Any, usage: Usage | None, stream: bool
) -> None:
    anthropic_upstream.script(MODEL, usage=report)
    assert (await got(provider, stream=stream)).usage == usage


async def test_U3_while_it_streams_the_count_is_an_estimate_of_what_came(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle
) -> None:
    anthropic_upstream.script(MODEL, text="x" * 400, cached=3)
    chunks = await stream_of(provider, chat(stream=True), ROUTE)
    usages = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert all(usage.estimated for usage in usages[:-1])
    assert [usage.output for usage in usages[:-1]] == sorted(usage.output for usage in usages[:-1])
    assert usages[-2].output == 101
    assert not usages[-1].estimated
    assert {(usage.input, usage.cached) for usage in usages} == {(usages[-1].input, 3)}
    anthropic_upstream.reset()
    anthropic_upstream.script(MODEL, usage="none")
    assert [chunk.usage for chunk in await stream_of(provider, chat(stream=True), ROUTE) if chunk.usage] == []


# ---------------------------------------------------------------- F, R


@BOTH
@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "claude-3-5-haiku"])
async def test_F1_json_is_the_content_and_no_call(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, model: str, stream: bool
) -> None:
    answer = await got(provider, stream=stream, model=model, response_format=FORMAT)
    assert json.loads(answer.message["content"]) == {"a": 1}
    assert "tool_calls" not in answer.message
    assert answer.reason == "stop"
    assert "".join(answer.texts) == answer.message["content"]


def test_X1_a_message_that_stops_without_a_reason_has_just_stopped() -> None:
    decoder = StreamDecoder(Reply(json_tool="answer_as_json"))
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "{}"}},
        {"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    chunks = [decoder.decode(json.dumps(event).encode()) for event in events]
    assert decoder.finished
    answer = put_together([chunk for chunk in chunks if chunk is not None])
    assert (answer.message["content"], answer.reason) == ("{}", "stop")


@BOTH
async def test_F1_the_content_is_json_whatever_is_said_beside_it(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, stream: bool
) -> None:
    model, answer_tool = "claude-3-5-haiku", "answer_as_json"
    calls = [{"name": answer_tool, "input": {"a": at}, "text": "Here you are: "} for at in (1, 2)]
    anthropic_upstream.script(model, calls=calls)
    answer = await got(provider, stream=stream, model=model, response_format=FORMAT)
    assert json.loads(answer.message["content"]) == {"a": 1}
    assert answer.reason == "stop"
    anthropic_upstream.reset()
    anthropic_upstream.script(model, calls=[{"name": "g", "input": {}, "text": "Let me look"}])
    answer = await got(provider, stream=stream, model=model, tools=TOOLS, response_format=FORMAT)
    assert (answer.message["content"], answer.reason) == ("Let me look", "tool_calls")
    assert len(answer.message["tool_calls"]) == 1


@BOTH
async def test_O7_text_in_place_of_json_is_heard(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, stream: bool
) -> None:
    model = "claude-3-5-haiku"
    anthropic_upstream.script(model, words=0, calls=[{"name": "g"}], text="I will not.", stop_reason="refusal")
    answer = await got(provider, stream=stream, model=model, tools=TOOLS, response_format=FORMAT)
    assert (answer.message["content"], answer.reason) == ("I will not.", "content_filter")


@BOTH
async def test_F3_a_real_call_beside_a_schema_is_one(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, stream: bool
) -> None:
    model = "claude-3-5-haiku"
    anthropic_upstream.script(model, calls=[{"name": "g", "input": {"x": 1}}])
    answer = await got(provider, stream=stream, model=model, tools=TOOLS, response_format=FORMAT)
    assert answer.message["tool_calls"][0]["function"]["name"] == "g"
    assert answer.reason == "tool_calls"
    anthropic_upstream.reset()
    anthropic_upstream.script(model, calls=[{"name": "answer_as_json", "input": {}}])
    answer = await got(provider, stream=stream, model=model, tools=TOOLS, response_format=FORMAT)
    assert (answer.message["content"], answer.reason) == ("{}", "stop")


@BOTH
async def test_M7_who_asked_in_the_older_form_is_answered_in_it(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, stream: bool
) -> None:
    anthropic_upstream.script(MODEL, calls=[{"name": "f", "input": {"a": 1}}])
    answer = await got(provider, stream=stream, functions=[{"name": "f", "parameters": {}}])
    assert answer.message["function_call"]["name"] == "f"
    assert json.loads(answer.message["function_call"]["arguments"]) == {"a": 1}
    assert "tool_calls" not in answer.message
    assert answer.reason == "function_call"


def thought(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": signature_of(text)}


@BOTH
async def test_R5_thinking_is_told_beside_the_content(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, stream: bool
) -> None:
    anthropic_upstream.script(MODEL, thinking=["let me think", "and more"], text="answer")
    answer = await got(provider, stream=stream, reasoning_effort="low")
    assert answer.message["content"] == "answer"
    assert answer.message["reasoning_content"] == "let me thinkand more"
    assert answer.message["thinking_blocks"] == [thought("let me think"), thought("and more")]
    assert "".join(answer.texts) == "let me thinkand moreanswer"


@BOTH
async def test_R5_thinking_that_is_not_shown_has_no_text(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, stream: bool
) -> None:
    anthropic_upstream.script(MODEL, thinking=["secret"], redacted=True, text="answer")
    answer = await got(provider, stream=stream, reasoning_effort="low")
    assert "reasoning_content" not in answer.message
    assert answer.message["thinking_blocks"][0]["type"] == "redacted_thinking"
    assert "".join(answer.texts) == "answer"


CALLS = [
    {"id": "toolu_1", "name": "f", "input": {"a": 1}},
    {"id": "toolu_2", "name": "g", "thinking": "between"},
]
ASKED = {"role": "user", "content": "go"}


def standard(message: dict[str, Any]) -> list[dict[str, Any]]:
    """What a client keeps that knows standard fields only, with its results."""
    kept = {"role": "assistant", "content": message["content"], "tool_calls": message["tool_calls"]}
    return [kept, *({"role": "tool", "tool_call_id": call["id"], "content": "1"} for call in message["tool_calls"])]


@BOTH
@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "claude-opus-4-6", "claude-opus-5"])
async def test_R4_T6_a_loop_with_thinking_goes_on_for_a_standard_client(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, model: str, stream: bool
) -> None:
    anthropic_upstream.script(model, thinking=["first"], text="so", calls=CALLS, times=1)
    asked: dict[str, Any] = {"tools": TOOLS, "reasoning_effort": "low", "stream": stream, "model": model}
    answer = await got(provider, messages=[ASKED], **asked)
    history = [ASKED, *standard(answer.message)]
    await got(provider, messages=history, **asked)
    sent = anthropic_upstream.log()[-1]["body"]
    assert sent["thinking"]["type"] in ("enabled", "adaptive")
    kinds = [block["type"] for block in sent["messages"][1]["content"]]
    assert kinds == ["thinking", "text", "tool_use", "thinking", "tool_use"]
    # The client gives back what it was told: the same, with an empty memory.
    whole = [ASKED, answer.message, *history[2:]]
    await got(provider, messages=whole, **asked)
    kinds = [block["type"] for block in anthropic_upstream.log()[-1]["body"]["messages"][1]["content"]]
    assert kinds == ["thinking", "thinking", "text", "tool_use", "tool_use"]


@BOTH
async def test_R4_thinking_is_kept_before_the_ids_can_be_read(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, memory: PlainMemory, stream: bool
) -> None:
    anthropic_upstream.script(MODEL, thinking=["first"], calls=CALLS)
    request = chat(tools=TOOLS, reasoning_effort="low", stream=stream)
    if not stream:
        await provider.complete(request, ROUTE, None)
    else:
        async for batch in await provider.stream(request, ROUTE, None):
            for choice in choices_of(batch):
                for call in choice["delta"].get("tool_calls", ()):
                    assert "id" not in call or ("", call["id"]) in memory.entries
    assert {key for _, key in memory.entries} == {"toolu_1", "toolu_2"}


@BOTH
async def test_R4_what_is_lost_or_refused_is_left_out(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, memory: PlainMemory, stream: bool
) -> None:
    history = [ASKED, *standard({"content": None, "tool_calls": [
        {"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]})]  # fmt: skip
    asked: dict[str, Any] = {"tools": TOOLS, "reasoning_effort": "low", "stream": stream, "messages": history}
    await got(provider, **asked)
    assert "thinking" not in anthropic_upstream.log()[-1]["body"]
    for kept in (b"nonsense", b"[]", b'[{"type": "thinking", "thinking": "x", "signature": "of another account"}]'):
        memory.entries["", "toolu_1"] = kept
        answer = await got(provider, **asked)
        assert answer.reason == "stop"
        assert "thinking" not in anthropic_upstream.log()[-1]["body"]
    refused = [entry for entry in anthropic_upstream.log() if entry["body"] is None]
    assert len(refused) == 1


@BOTH
async def test_V2_an_http_address_is_fetched_by_us(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, media: TableMedia, stream: bool
) -> None:
    media.files["http://a.example/b.png"] = MediaFile("image/png", b"\x89PNG\r\n\x1a\n")
    parts = [{"type": "image_url", "image_url": {"url": f"{scheme}://a.example/b.png"}} for scheme in ("http", "https")]
    await got(provider, stream=stream, messages=[{"role": "user", "content": parts}])
    assert media.asked == ["http://a.example/b.png"]
    sources = [block["source"]["type"] for block in anthropic_upstream.log()[-1]["body"]["messages"][0]["content"]]
    assert sources == ["base64", "url"]
    missing = [{"type": "image_url", "image_url": {"url": "http://a.example/missing.png"}}]
    with pytest.raises(InvalidRequest) as refused:
        await got(provider, stream=stream, messages=[{"role": "user", "content": missing}])
    assert refused.value.param == "messages[0].content[0].image_url.url"


# ---------------------------------------------------------------- X


STRANGE = [
    {"type": "of_tomorrow"},
    {"type": "of_tomorrow", "index": "x", "delta": []},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "of_tomorrow", "text": 7}},
    {"type": "content_block_delta", "index": 9, "delta": {"type": "of_tomorrow"}},
    {"type": "content_block_stop", "index": 9},
    {"type": "ping", "more": {"a": [1]}},
    {"type": "message_start", "message": {}},
    {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 2, "of_tomorrow": {"x": 1}}},
]
START = {"type": "message_start", "message": {"usage": {"input_tokens": 1, "output_tokens": 1}}}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "a", "citations": None}}
END = [
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
    {"type": "message_stop"},
]


@pytest.mark.parametrize("strange", STRANGE)
async def test_X9_what_is_not_known_is_passed_by(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, strange: Any
) -> None:
    events = tuple(json.dumps(event) for event in (START, BLOCK, strange, *END))
    anthropic_upstream.script(MODEL, events=events)
    answer = await got(provider, stream=True)
    assert (answer.message["content"], answer.reason) == ("a", "stop")
    assert answer.usage == Usage(1, 3)


async def test_X5_a_call_whose_input_came_at_once(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle
) -> None:
    block = {"type": "tool_use", "id": "x", "name": "f", "input": {"a": 1}}
    begin = {"type": "content_block_start", "index": 0, "content_block": block}
    stop = {"type": "content_block_stop", "index": 0}
    anthropic_upstream.script(MODEL, events=tuple(json.dumps(one) for one in (START, begin, stop, *END)))
    answer = await got(provider, stream=True, tools=TOOLS)
    assert answer.message["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":1}'}


async def test_the_answer_has_no_fields_of_its_own(provider: AnthropicProvider) -> None:
    completion: Completion = await provider.complete(chat(), ROUTE, None)
    assert (completion.id, completion.created, dict(completion.extra)) == (None, None, {})
