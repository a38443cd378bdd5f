"""Answers out: OpenAI's shape, our id and counts, and one line of JSON an event whatever a provider wrote."""

import json
from typing import Any

import msgspec
import pytest
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway_core.types import Chunk, Completion, Usage
from gateway_core.wire.chat import DONE, KEEP_ALIVE, ChunkEncoder, answer_id, encode_completion, error_event
from gateway_core.wire.sse import SSEDecoder

USAGE = Usage(input=7, output=5, cached=2, reasoning=1)
CHOICES = msgspec.Raw(b'[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]')
DELTA = msgspec.Raw(b'[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]')


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def events(stream: bytes) -> list[Any]:
    return [json.loads(data) for data in SSEDecoder(10_000).push(stream)]


def test_a_plain_answer() -> None:
    completion = Completion(
        choices=CHOICES, usage=USAGE, extra={"system_fingerprint": raw("fp"), "model": raw("x"), "id": raw("y")}
    )
    text = encode_completion(completion, id="chatcmpl-1", model="m", created=3, usage=USAGE, cost_cents="0.00611")
    answer = json.loads(text)
    assert list(answer) == ["id", "object", "created", "model", "choices", "usage", "system_fingerprint"]
    assert answer["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": 5,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 1},
        "cost_cents": "0.00611",
    }
    parsed = ChatCompletion.model_validate(answer, strict=True)
    assert (parsed.id, parsed.model, parsed.choices[0].message.content) == ("chatcmpl-1", "m", "hi")


def test_the_providers_details_are_kept_and_its_sums_are_not() -> None:
    fields = {
        "total_tokens": raw(99),
        "prompt_tokens": raw(98),
        "prompt_tokens_details": raw({"audio_tokens": 4}),
        "cost_cents": raw("9"),
        "queue_time": raw(0.5),
    }
    completion = Completion(choices=CHOICES, usage=USAGE, usage_fields=fields)
    for cost in ("1", None):
        answer = json.loads(encode_completion(completion, id="a", model="m", created=3, usage=USAGE, cost_cents=cost))
        usage = answer["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (7, 5, 12)
        assert usage["prompt_tokens_details"] == {"audio_tokens": 4}
        assert usage["queue_time"] == 0.5
        assert usage.get("cost_cents") == cost


@pytest.mark.parametrize("include_usage", [False, True])
def test_the_events_of_a_stream(include_usage: bool) -> None:
    encoder = ChunkEncoder("chatcmpl-1", 'm "quoted"', 3, include_usage=include_usage)
    batch = encoder.encode([Chunk(choices=DELTA), Chunk(usage=USAGE), Chunk(choices=DELTA, extra={"x": raw([1])})])
    first, second = events(batch)
    assert list(first)[:5] == ["id", "object", "created", "model", "choices"]
    assert (first["choices"], second["x"]) == (json.loads(bytes(DELTA)), [1])
    assert ("usage" in first) == include_usage
    assert first.get("usage") is None
    assert ChatCompletionChunk.model_validate(first, strict=True).model == 'm "quoted"'
    assert batch.startswith(b"data: {")
    assert batch.endswith(b"}\n\n")


def test_the_usage_event() -> None:
    encoder = ChunkEncoder("chatcmpl-1", "m", 3, include_usage=True)
    (event,) = events(encoder.usage(USAGE, "0.1", extra={"service_tier": raw("default")}))
    assert (event["choices"], event["service_tier"]) == ([], "default")
    assert CompletionUsage.model_validate(event["usage"]).total_tokens == 12
    assert event["usage"]["cost_cents"] == "0.1"


def test_line_breaks_in_a_providers_json_do_not_break_the_events_line() -> None:
    pretty = msgspec.Raw(json.dumps(json.loads(bytes(DELTA)), indent=2).encode())
    carriage = msgspec.Raw(bytes(pretty).replace(b"\n", b"\r"))
    stream = ChunkEncoder("a", "m", 3).encode([Chunk(choices=pretty, extra={"x": pretty}), Chunk(choices=carriage)])
    assert [event["choices"] for event in events(stream)] == [json.loads(bytes(DELTA))] * 2
    assert stream.count(b"\n") == 4
    assert b"\r" not in stream


def test_a_batch_without_choices_writes_nothing() -> None:
    encoder = ChunkEncoder("a", "m", 3)
    assert encoder.encode([Chunk(usage=USAGE), Chunk(choices=msgspec.Raw(b" [ ] "))]) == b""
    assert encoder.encode([]) == b""


def test_what_ends_a_stream_and_what_keeps_it_alive() -> None:
    assert SSEDecoder(100).push(KEEP_ALIVE + DONE) == [b"[DONE]"]
    assert SSEDecoder(100).push(error_event(b'{"error":\n{"code":"x"}}')) == [b'{"error":{"code":"x"}}']


@pytest.mark.parametrize(
    ("provider_id", "expected"),
    [
        ("chatcmpl-abc", "chatcmpl-abc"),
        ("msg_abc", "chatcmpl-01J"),
        (None, "chatcmpl-01J"),
        ("chatcmpl-" + "x" * 200, "chatcmpl-01J"),
    ],
)
def test_an_answers_id(provider_id: str | None, expected: str) -> None:
    assert answer_id(provider_id, "req_01J") == expected
