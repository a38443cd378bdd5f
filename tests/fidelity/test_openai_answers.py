"""What OpenAI and compatible servers answer, plain and streamed, as a client of the whole gateway reads it."""

import json
from decimal import Decimal
from typing import Any

import pytest

from gateway_core.testing.openai_dialects import PLAIN, TEXTS, TOOLS, Dialect

CONTENT_TYPES = {"text/event-stream; charset=utf-8", "text/event-stream"}


def of(*dialects: Dialect) -> Any:
    return pytest.mark.parametrize("dialect", dialects, ids=[dialect.name for dialect in dialects])


def deltas(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [choice["delta"] for chunk in chunks for choice in chunk["choices"]]


def plain(message: Any, reason: str = "stop", **top: Any) -> str:
    return json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": reason}], **top})


# ---------------------------------------------------------------- every dialect


@of(*TEXTS, *TOOLS)
def test_O1_O2_O3_O4_O5_O6_R5_X1_X2_X5_X6_X14_every_dialect_streams(front: Any, dialect: Dialect) -> None:
    front.upstream.script("compat", events=dialect.events)
    chunks = front.chunks("compat", stream_options={"include_usage": True})
    *said, counted = chunks
    assert {(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in chunks} == {
        (counted["id"], counted["created"], "compat", "chat.completion.chunk")
    }
    assert counted["choices"] == []
    assert all(len(chunk["choices"]) == 1 and chunk["usage"] is None for chunk in said)
    assert [delta.get("role") for delta in deltas(said)] == ["assistant"] + [None] * (len(said) - 1)
    reasons = [choice["finish_reason"] for chunk in said for choice in chunk["choices"]]
    assert reasons == [None] * (len(said) - 1) + [dialect.meaning.finish_reason]
    assert "".join(delta.get("content") or "" for delta in deltas(said)) == dialect.meaning.content
    assert "".join(delta.get("reasoning_content") or "" for delta in deltas(said)) == dialect.meaning.reasoning
    calls: dict[int, list[str]] = {}
    for fragment in (fragment for delta in deltas(said) for fragment in delta.get("tool_calls") or ()):
        if fragment["index"] not in calls:
            assert fragment["id"]
            calls[fragment["index"]] = ["", ""]
        calls[fragment["index"]][0] += fragment["function"].get("name") or ""
        calls[fragment["index"]][1] += fragment["function"].get("arguments") or ""
    assert tuple((name, arguments) for name, arguments in calls.values()) == dialect.meaning.calls
    assert list(calls) == list(range(len(calls)))
    usage = counted["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    if (meant := dialect.meaning.usage) is not None:
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (meant.input, meant.output)


@of(*PLAIN)
def test_O1_O2_O3_O4_O5_O6_O8_O12_O13_U1_every_dialect_plain(front: Any, dialect: Dialect) -> None:
    front.upstream.script("compat", body=dialect.body)
    answer = front.answer("compat")
    assert answer["id"].startswith("chatcmpl-")
    assert (answer["object"], answer["model"], type(answer["created"])) == ("chat.completion", "compat", int)
    (choice,) = answer["choices"]
    message = choice["message"]
    assert (choice["index"], message["role"], choice["finish_reason"]) == (
        0,
        "assistant",
        dialect.meaning.finish_reason,
    )
    assert (message["content"] or "") == dialect.meaning.content
    assert message.get("tool_calls") != []
    calls = message.get("tool_calls") or []
    assert all(call["id"] and call["type"] == "function" for call in calls)
    assert len({call["id"] for call in calls}) == len(calls)
    made = tuple((call["function"]["name"], call["function"]["arguments"]) for call in calls)
    assert made == dialect.meaning.calls
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


# ---------------------------------------------------------------- one by one


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("eos", "stop"),
        ("MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("SAFETY", "content_filter"),
        ("COMPLETE", "stop"),
        ("", "stop"),
    ],
)
def test_O6_each_way_to_end_has_openais_word(front: Any, said: str, meant: str) -> None:
    front.upstream.script("compat", body=plain({"content": "x"}, said))
    assert front.answer("compat")["choices"][0]["finish_reason"] == meant


def test_O7_a_refusal_is_kept(front: Any) -> None:
    front.upstream.script("gpt-4o", body=plain({"role": "assistant", "content": None, "refusal": "no"}), times=1)
    message = front.answer()["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == (None, "no")
    pieces = [{"role": "assistant", "refusal": "n"}, {"refusal": "o"}]
    front.says(
        *({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in pieces),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        "[DONE]",
    )
    assert "".join(delta.get("refusal", "") for delta in deltas(front.chunks())) == "no"


@pytest.mark.parametrize("text", ["", None])
def test_O8_an_empty_answer_is_valid(front: Any, text: str | None) -> None:
    front.upstream.script("gpt-4o", body=plain({"role": "assistant", "content": text}), times=1)
    (choice,) = front.answer()["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (text, "stop")
    front.upstream.script("gpt-4o", words=0)
    chunks = front.chunks()
    assert [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]][-1] == "stop"


@pytest.mark.parametrize("stream", [False, True])
def test_O9_several_answers(front: Any, stream: bool) -> None:
    if stream:
        choices = [choice for chunk in front.chunks(n=3) for choice in chunk["choices"]]
    else:
        choices = front.answer(n=3)["choices"]
    assert sorted(choice["index"] for choice in choices if choice["finish_reason"]) == [0, 1, 2]


def test_O10_O11_what_else_openai_says_is_kept(front: Any) -> None:
    logprobs = {"content": [{"token": "x", "logprob": -0.25, "bytes": [120], "top_logprobs": []}], "refusal": None}
    citation = {"type": "url_citation", "url_citation": {"url": "https://a.example", "start_index": 0}}
    message = {"role": "assistant", "content": "x", "annotations": [citation]}
    top = {"system_fingerprint": "fp_1", "service_tier": "priority", "moderation": {"odd": True}}
    choice = {"index": 0, "logprobs": logprobs, "finish_reason": "stop"}
    front.upstream.script("gpt-4o", body=json.dumps({"choices": [{**choice, "message": message}], **top}), times=1)
    answer = front.answer()
    assert answer["choices"] == [{**choice, "message": message}]
    assert {name: answer[name] for name in top} == top
    front.says({"choices": [{**choice, "delta": message}], **top}, "[DONE]")
    (chunk,) = front.chunks()
    assert chunk["choices"] == [{**choice, "delta": message}]
    assert {name: chunk[name] for name in top} == top


def test_R5_thoughts_are_in_no_content(front: Any) -> None:
    front.upstream.script("compat", body=plain({"role": "assistant", "content": "so", "reasoning": "hm"}))
    message = front.answer("compat")["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("so", "hm")


# ---------------------------------------------------------------- usage


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 99}, (9, 4, 13)),
        (
            {"prompt_tokens": 9, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 3}},
            (9, 4, 13),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 16,
             "completion_tokens_details": {"reasoning_tokens": 3}},
            (9, 7, 16),
        ),
    ],
)  # fmt: skip
def test_U1_U3_the_sum_is_right_and_holds_the_thinking(front: Any, report: Any, expected: Any) -> None:
    front.upstream.script("compat", usage=report)
    usage = front.answer("compat")["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == expected
    details = report.get("completion_tokens_details")
    assert details is None or usage["completion_tokens_details"] == details


def test_U2_cached_tokens_are_a_part_of_the_prompt(front: Any) -> None:
    for report in ({"prompt_tokens_details": {"cached_tokens": 5}}, {"prompt_cache_hit_tokens": 5}):
        front.upstream.script("compat", usage={"prompt_tokens": 9, "completion_tokens": 4, **report}, times=1)
        usage = front.answer("compat")["usage"]
        assert (usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]) == (9, 5)


def test_U3_cumulative_counts_are_not_added_up(front: Any) -> None:
    front.upstream.script("compat", usage=[{"prompt_tokens": 9, "completion_tokens": count} for count in (1, 3, 5)])
    usage = front.chunks("compat", stream_options={"include_usage": True})[-1]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (9, 5, 14)


# ---------------------------------------------------------------- streams


def test_X1_X2_X3_X13_X14_a_stream_is_as_openai_writes_it(front: Any) -> None:
    without = front.chunks()
    assert all(chunk["choices"] and "usage" not in chunk for chunk in without)
    *chunks, counted = front.chunks(stream_options={"include_usage": True})
    assert (counted["choices"], counted["usage"]["total_tokens"] > 0) == ([], True)
    assert Decimal(counted["usage"]["cost_cents"]) == 0
    assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)
    assert all("finish_reason" in choice for chunk in chunks for choice in chunk["choices"])
    assert deltas(chunks)[0]["role"] == "assistant"


def test_X4_each_event_is_written_as_it_comes(front: Any) -> None:
    front.upstream.script("gpt-4o", words=20, gap_ms=200)
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], "stream": True}
    with front.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        reads = answer.iter_raw()  # kept: a generator that is dropped hangs up
        first = next(read for read in reads if b"data: " in read)
        assert front.upstream.log()[-1]["state"] == "open"
    assert first.count(b"data: ") < 20


@pytest.mark.parametrize(
    "script",
    [
        {"split": 1},
        {"split": 3, "line_end": "\r\n"},
        {"split": 5, "line_end": "\r"},
        {"split": 1_000_000},
        {"comments": True},
        {"space": False},
        {"space": False, "line_end": "\r\n", "comments": True, "split": 2},
    ],
)
def test_X7_X8_X9_a_stream_is_the_same_however_it_is_written(front: Any, script: dict[str, Any]) -> None:
    text = "naïve 漢字 😀 \u2028 text"
    front.upstream.script("gpt-4o", text=text, **script)
    assert "".join(delta.get("content") or "" for delta in deltas(front.chunks())) == text


def test_X7_text_cut_at_every_byte_on_the_wire(front: Any) -> None:
    front.says({"choices": [{"index": 0, "delta": {"content": "é漢😀"}, "finish_reason": "stop"}]}, "[DONE]")
    front.chunks()
    length = front.upstream.log()[-1]["sent"]
    wire = json.dumps({"choices": [{"index": 0, "delta": {"content": "é漢😀"}, "finish_reason": "stop"}]})
    utf8 = json.dumps(json.loads(wire), ensure_ascii=False)
    front.upstream.reset()
    for at in range(1, length - 1, 7):
        front.says(utf8, "[DONE]", cuts=(at,), gap_ms=1, times=1)
        assert [delta["content"] for delta in deltas(front.chunks())] == ["é漢😀"]


def test_X9_what_is_unknown_is_passed_by(front: Any) -> None:
    front.says(
        {"object": "ping"},
        {"choices": [], "obfuscation": "abc"},
        {"choices": [{"index": 0, "delta": {"content": "x", "new": [1]}, "finish_reason": None, "newer": {}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        "[DONE]",
    )
    chunks = front.chunks()
    assert "".join(delta.get("content") or "" for delta in deltas(chunks)) == "x"
    assert all(chunk["choices"] for chunk in chunks)
