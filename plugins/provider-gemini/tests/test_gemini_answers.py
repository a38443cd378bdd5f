"""What the API says as OpenAI says it: plain and streamed, without a socket."""

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from spl_provider_gemini.completion import decode_completion
from spl_provider_gemini.stream import StreamDecoder

from gateway_core.errors import ContentRefused, Throttled, Unavailable
from gateway_core.testing.gemini_script import GeminiScript, answer_of, signatures_in, stream_of
from gateway_core.testing.provider_suite import choices_of
from gateway_core.types import Chunk, Completion, Usage

MODEL = "gemini-3.8-flash"
ASKED: dict[str, Any] = {
    "contents": [{"role": "user", "parts": [{"text": "Hello"}]}],
    "generationConfig": {"thinkingConfig": {"includeThoughts": True}},
}
WEATHER = {"name": "get_weather", "args": {"city": "Zürich"}}


def asked(count: int = 1) -> dict[str, Any]:
    return {**ASKED, "generationConfig": {**ASKED["generationConfig"], "candidateCount": count}}


def plain(count: int = 1, **script: Any) -> Completion:
    answer = answer_of(GeminiScript(model=MODEL, **script), asked(count), MODEL)
    return decode_completion(json.dumps(answer).encode(), count, {})[0]


def streamed(count: int = 1, **script: Any) -> list[Chunk]:
    return chunks_of(stream_of(GeminiScript(model=MODEL, **script), asked(count), MODEL), count)


def chunks_of(events: Sequence[Any], count: int = 1) -> list[Chunk]:
    decoder = StreamDecoder(count, {})
    return decoded(decoder, events) + decoder.finish()


def decoded(decoder: StreamDecoder, events: Sequence[Any]) -> list[Chunk]:
    chunks = (decoder.decode(json.dumps(event).encode()) for event in events)
    return [chunk for chunk in chunks if chunk is not None]


def choice_of(completion: Completion) -> dict[str, Any]:
    (choice,) = json.loads(bytes(completion.choices))
    found: dict[str, Any] = choice
    return found


def gathered(chunks: list[Chunk], index: int = 0) -> dict[str, Any]:
    """One choice as a client puts it together."""
    out: dict[str, Any] = {"content": "", "reasoning": "", "calls": [], "finish": [], "roles": []}
    for choice in choices_of(chunks):
        if choice["index"] != index:
            continue
        delta = choice["delta"]
        out["roles"] += [delta["role"]] if "role" in delta else []
        out["content"] += delta.get("content") or ""
        out["reasoning"] += delta.get("reasoning_content") or ""
        out["finish"] += [choice["finish_reason"]] if choice["finish_reason"] else []
        for piece in delta.get("tool_calls", ()):
            assert piece["index"] == len(out["calls"]), "each call comes whole, and in order"
            out["calls"].append((piece["id"], piece["function"]["name"], piece["function"]["arguments"]))
    return out


# ---------------------------------------------------------------- answers


def test_O1_content_is_all_text_joined() -> None:
    parts = [
        {"text": "a"},
        {"executableCode": {"code": "x"}},
        {"text": "b"},
        {"inlineData": {"data": "eA=="}},
        {"text": "c"},
    ]
    answer = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
    completion, _ = decode_completion(json.dumps(answer).encode(), 1, {})
    assert choice_of(completion) == {
        "index": 0,
        "message": {"role": "assistant", "content": "abc", "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert completion.texts == ("a", "b", "c")
    assert completion.extra == {}


def test_O2_O3_calls_are_openais_and_in_order() -> None:
    other = {"name": "get_time", "args": {"zone": 1.10}}
    completion = plain(calls=((WEATHER, other), (WEATHER,)))
    choice = choice_of(completion)
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    made = choice["message"]["tool_calls"]
    assert [one["type"] for one in made] == ["function"] * 3
    assert [one["function"]["name"] for one in made] == ["get_weather", "get_time", "get_weather"]
    assert [json.loads(one["function"]["arguments"]) for one in made] == [
        {"city": "Zürich"},
        {"zone": 1.1},
        {"city": "Zürich"},
    ]
    assert len({one["id"] for one in made}) == 3
    assert completion.texts == tuple(one["function"]["arguments"] for one in made)


def test_O2_a_number_in_an_argument_keeps_its_digits() -> None:
    call = b'{"functionCall":{"name":"f","args":{"a": 1.10, "b": 12345678901234567890}}}'
    raw = b'{"candidates":[{"content":{"parts":[%b]}}]}' % call
    choice = choice_of(decode_completion(raw, 1, {})[0])
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"a":1.10,"b":12345678901234567890}'


@pytest.mark.parametrize("call", [{"name": "f"}, {"name": "f", "args": {}}, {"name": "f", "args": None}])
def test_O4_a_call_without_arguments_has_an_empty_object(call: dict[str, Any]) -> None:
    assert choice_of(plain(calls=((call,),)))["message"]["tool_calls"][0]["function"]["arguments"] == "{}"
    assert gathered(streamed(calls=((call,),)))["calls"][0][2] == "{}"


def test_O5_text_and_a_call_are_both_there() -> None:
    choice = choice_of(plain(text="Let me see.", calls=((WEATHER,),)))
    assert choice["message"]["content"] == "Let me see."
    assert len(choice["message"]["tool_calls"]) == 1
    whole = gathered(streamed(text="Let me see.", calls=((WEATHER,),)))
    assert (whole["content"], len(whole["calls"]), whole["finish"]) == ("Let me see.", 1, ["tool_calls"])


REASONS = {
    "STOP": "stop", "MAX_TOKENS": "length", "OTHER": "stop", "MALFORMED_FUNCTION_CALL": "stop",
    "UNEXPECTED_TOOL_CALL": "stop", "TOO_MANY_TOOL_CALLS": "stop", "FINISH_REASON_UNSPECIFIED": "stop",
    "SOMETHING_NEW": "stop", "SAFETY": "content_filter", "RECITATION": "content_filter", "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter", "SPII": "content_filter", "IMAGE_SAFETY": "content_filter",
    "LANGUAGE": "content_filter",
}  # fmt: skip


@pytest.mark.parametrize(("reason", "expected"), REASONS.items())
def test_O6_each_way_to_end_has_openais_word(reason: str, expected: str) -> None:
    assert choice_of(plain(finish_reason=reason))["finish_reason"] == expected
    assert gathered(streamed(finish_reason=reason))["finish"] == [expected]


@pytest.mark.parametrize(
    ("reason", "expected"), [("STOP", "tool_calls"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter")]
)
def test_O6_a_call_that_ends_well_is_tool_calls(reason: str, expected: str) -> None:
    assert choice_of(plain(finish_reason=reason, calls=((WEATHER,),)))["finish_reason"] == expected
    assert gathered(streamed(finish_reason=reason, calls=((WEATHER,),)))["finish"] == [expected]


@pytest.mark.parametrize(
    "candidate", [{}, {"content": {}}, {"content": {"parts": []}}, {"content": None}, {"content": {"parts": None}}]
)
def test_O6_candidates_without_content_are_normal(candidate: dict[str, Any]) -> None:
    answer = {"candidates": [{**candidate, "finishReason": "SAFETY"}]}
    choice = choice_of(decode_completion(json.dumps(answer).encode(), 1, {})[0])
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "content_filter")
    assert gathered(chunks_of([answer])) == {
        "content": "", "reasoning": "", "calls": [], "finish": ["content_filter"], "roles": ["assistant"],
    }  # fmt: skip


@pytest.mark.parametrize("count", [1, 2])
def test_O7_a_prompt_that_was_refused_is_filtered_content(count: int) -> None:
    completion = plain(count, block_reason="PROHIBITED_CONTENT")
    choices = json.loads(bytes(completion.choices))
    assert [(one["index"], one["message"]["content"], one["finish_reason"]) for one in choices] == [
        (index, "", "content_filter") for index in range(count)
    ]
    assert completion.usage is not None
    assert completion.usage.output == 0
    chunks = streamed(count, block_reason="SAFETY")
    assert gathered(chunks, count - 1)["finish"] == ["content_filter"]
    assert sum(chunk.finish for chunk in chunks) == count


def test_O8_an_empty_answer_is_valid() -> None:
    choice = choice_of(plain(words=0))
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "stop")
    assert gathered(streamed(words=0))["finish"] == ["stop"]


def test_O9_several_answers_have_indexes_of_their_own() -> None:
    assert [one["index"] for one in json.loads(bytes(plain(3).choices))] == [0, 1, 2]
    chunks = streamed(3, calls=((WEATHER,), (WEATHER,)))
    for index in range(3):
        whole = gathered(chunks, index)
        assert (len(whole["calls"]), whole["finish"], whole["roles"]) == (2, ["tool_calls"], ["assistant"])


def test_O9_fewer_answers_than_were_asked_for_are_no_success() -> None:
    answer = answer_of(GeminiScript(model=MODEL), asked(1), MODEL)
    with pytest.raises(Unavailable, match="gave 1 answers where 2 were asked for"):
        decode_completion(json.dumps(answer).encode(), 2, {})
    with pytest.raises(Unavailable):
        chunks_of(stream_of(GeminiScript(model=MODEL), asked(1), MODEL), 2)


def test_O10_logprobs_are_openais() -> None:
    token = {"token": "wörd", "logprob": -0.25, "bytes": list("wörd".encode())}
    other = {"token": "other", "logprob": -1.5, "bytes": list(b"other")}
    expected = {"content": [{**token, "top_logprobs": [token, other]}], "refusal": None}
    assert choice_of(plain(text="wörd", logprobs=True))["logprobs"] == expected
    found = [choice["logprobs"] for choice in choices_of(streamed(text="wörd", logprobs=True)) if "logprobs" in choice]
    assert found == [expected]


@pytest.mark.parametrize("strange", [5, {}, {"chosenCandidates": 5}, {"chosenCandidates": [5], "topCandidates": 5}])
def test_O10_probabilities_that_are_none_break_nothing(strange: Any) -> None:
    answer = {
        "candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP", "logprobsResult": strange}]
    }
    assert choice_of(decode_completion(json.dumps(answer).encode(), 1, {})[0])["message"]["content"] == "a"


def test_O12_no_calls_are_no_list() -> None:
    assert "tool_calls" not in choice_of(plain())["message"]
    assert all("tool_calls" not in choice["delta"] for choice in choices_of(streamed()))


def test_O13_ids_are_made_and_never_twice() -> None:
    made = [call for _ in range(50) for call in choice_of(plain(calls=((WEATHER, WEATHER),)))["message"]["tool_calls"]]
    ids = [call["id"] for call in made] + [
        call[0] for _ in range(50) for call in gathered(streamed(calls=((WEATHER,),)))["calls"]
    ]
    assert len(set(ids)) == len(ids) == 150
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", one) for one in ids)


# ---------------------------------------------------------------- thoughts and signatures


def test_R5_thoughts_are_reasoning_and_never_content() -> None:
    completion = plain(thoughts="Hm, well.", text="Yes.")
    message = choice_of(completion)["message"]
    assert (message["content"], message["reasoning_content"]) == ("Yes.", "Hm, well.")
    assert completion.texts == ("Hm, well.", "Yes.")
    whole = gathered(streamed(thoughts="Hm, well.", text="Yes."))
    assert (whole["content"], whole["reasoning"]) == ("Yes.", "Hm, well.")


def test_R6_a_calls_signature_is_given_out_and_kept() -> None:
    script = GeminiScript(model=MODEL, calls=((WEATHER, WEATHER),))
    answer = answer_of(script, asked(), MODEL)
    (signature,) = signatures_in(answer)
    completion, kept = decode_completion(json.dumps(answer).encode(), 1, {})
    first, second = choice_of(completion)["message"]["tool_calls"]
    assert first["extra_content"] == {"google": {"thought_signature": signature}}
    assert "extra_content" not in second
    assert kept == {first["id"]: signature.encode()}


def test_R6_a_streamed_calls_signature_is_given_out_and_kept() -> None:
    decoder = StreamDecoder(1, {})
    events = stream_of(GeminiScript(model=MODEL, calls=((WEATHER,), (WEATHER,))), asked(), MODEL)
    (signature,) = signatures_in(events)
    chunks = decoded(decoder, events)
    first, second = (choice["delta"]["tool_calls"][0] for choice in choices_of(chunks))
    assert first["extra_content"] == {"google": {"thought_signature": signature}}
    assert "extra_content" not in second
    assert decoder.signatures == {first["id"]: signature.encode()}


def test_R6_a_texts_signature_is_given_out() -> None:
    script: dict[str, Any] = {"sign_text": True, "text": "Yes."}
    answer = answer_of(GeminiScript(model=MODEL, **script), asked(), MODEL)
    expected = {"google": {"thought_signature": signatures_in(answer)[0]}}
    message = choice_of(plain(**script))["message"]
    assert (message["content"], message["extra_content"]) == ("Yes.", expected)
    extras = [
        choice["delta"]["extra_content"]
        for choice in choices_of(streamed(**script))
        if "extra_content" in choice["delta"]
    ]
    assert extras == [expected]


# ---------------------------------------------------------------- usage

COUNTS = {
    "promptTokenCount": 100,
    "cachedContentTokenCount": 40,
    "toolUsePromptTokenCount": 5,
    "candidatesTokenCount": 7,
    "thoughtsTokenCount": 3,
    "totalTokenCount": 115,
}


def test_U1_U2_U3_counts_are_in_openais_classes() -> None:
    expected = Usage(input=105, output=10, cached=40, reasoning=3)
    assert plain(usage=COUNTS).usage == expected
    assert [chunk.usage for chunk in streamed(usage=COUNTS) if chunk.usage][-1] == expected
    assert expected.input + expected.output == COUNTS["totalTokenCount"]


def test_U3_counts_of_nothing_are_left_out_and_mean_nothing() -> None:
    assert plain(usage={"promptTokenCount": 4}).usage == Usage(input=4)


def test_U3_a_streams_counts_are_cumulative() -> None:
    usages = [chunk.usage for chunk in streamed(words=4, thoughts="one two") if chunk.usage]
    assert [usage.output for usage in usages] == [1 + 2, 2 + 2, 3 + 2, 4 + 2, 5 + 2]
    assert {usage.reasoning for usage in usages} == {2}


@pytest.mark.parametrize(
    "name", ["promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "toolUsePromptTokenCount"]
)
@pytest.mark.parametrize("value", [-1, 10**12, 10**30, "7", 1.5, True, [1]])
def test_U2_counts_that_cannot_be_meant_are_none(name: str, value: Any) -> None:
    completion = plain(usage={**COUNTS, name: value})
    assert completion.usage is None
    assert choice_of(completion)["message"]["content"]


@pytest.mark.parametrize(("value", "cached"), [(-1, 0), ("7", 0), (101, 100), (10**30, 0)])
def test_U2_a_part_that_cannot_be_one_is_held_and_flagged(value: Any, cached: int) -> None:
    usage = plain(usage={**COUNTS, "cachedContentTokenCount": value}).usage
    assert usage is not None
    assert (usage.input, usage.cached, usage.estimated) == (105, cached, True)


# ---------------------------------------------------------------- streams


def test_X1_role_comes_first_and_the_end_once() -> None:
    chunks = streamed()
    choices = choices_of(chunks)
    assert choices[0]["delta"]["role"] == "assistant"
    assert sum("role" in choice["delta"] for choice in choices) == 1
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert [chunk.finish for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


def test_X1_stop_in_every_event_is_one_end() -> None:
    assert choices_of(streamed(finish_everywhere=True)) == choices_of(streamed())


def test_X2_X3_usage_is_never_a_chunk_of_its_own_here() -> None:
    assert all(chunk.usage_fields is None for chunk in streamed())
    assert all(chunk.usage is not None for chunk in streamed()[:-1])
    assert all(chunk.usage is None for chunk in streamed(usage="none"))


def test_X5_a_call_is_one_delta_with_all_of_it() -> None:
    (delta, end) = [choice["delta"] for choice in choices_of(streamed(calls=((WEATHER,),)))]
    (call,) = delta["tool_calls"]
    assert set(call) == {"index", "id", "type", "function", "extra_content"}
    assert (call["index"], call["type"], call["function"]["name"]) == (0, "function", "get_weather")
    assert json.loads(call["function"]["arguments"]) == WEATHER["args"]
    assert end == {}


def test_X6_calls_are_numbered_over_the_whole_stream() -> None:
    whole = gathered(streamed(text="First. ", calls=((WEATHER, WEATHER), (WEATHER,))))
    assert len(whole["calls"]) == 3
    assert whole["content"] == "First. "


def test_X9_what_nobody_knows_is_passed_by() -> None:
    assert gathered(streamed(oddities=True)) == gathered(streamed())


def test_X14_every_choice_has_a_finish_reason() -> None:
    script: dict[str, Any] = {
        "thoughts": "Hm.",
        "calls": ((WEATHER,),),
        "text": "Yes.",
        "sign_text": True,
        "oddities": True,
    }
    assert all("finish_reason" in choice for choice in choices_of(streamed(**script)))


def test_a_renamed_function_has_its_own_name_again() -> None:
    answer = {"candidates": [{"content": {"parts": [{"functionCall": {"name": "_1st"}}]}, "finishReason": "STOP"}]}
    data = json.dumps(answer).encode()
    choice = choice_of(decode_completion(data, 1, {"_1st": "1st"})[0])
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "1st"
    (streamed_choice,) = choices_of(decoded(StreamDecoder(1, {"_1st": "1st"}), [answer]))
    assert streamed_choice["delta"]["tool_calls"][0]["function"]["name"] == "1st"


# ---------------------------------------------------------------- what is none

NONSENSE = [
    b"", b"{", b"[]", b'"x"', b"5", b'{"candidates": 5}', b'{"candidates": [5]}', b'{"candidates": [{"content": 5}]}',
    b'{"candidates": [{"content": {"parts": [{"text": 5}]}}]}', b"[" * 5000, b'{"candidates": [{"finishReason": 5}]}',
    b'{"candidates": [{"content": {"parts": [{"text": "\xff"}]}}]}', b'{"error": {"code": 500}}', b'{"error": "x"}',
    b'{"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {"a": "\xff"}}}]}}]}',
    b'{"candidates": [{"content": {"parts": [{"functionCall": {}}]}}]}',
]  # fmt: skip


@pytest.mark.parametrize("data", [*NONSENSE, b"{}", b'{"candidates": []}', b'{"candidates": null}'])
def test_E3_an_answer_that_is_none_is_a_fault(data: bytes) -> None:
    with pytest.raises(Unavailable):
        decode_completion(data, 1, {})


@pytest.mark.parametrize("data", NONSENSE)
def test_E4_an_event_that_is_none_is_a_fault(data: bytes) -> None:
    with pytest.raises(Unavailable):
        StreamDecoder(1, {}).decode(data)


@pytest.mark.parametrize(
    "events",
    [
        [],
        [{}],
        [{"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]}],
        [{"usageMetadata": {"promptTokenCount": 1}}],
        [{"candidates": [{"finishReason": "STOP"}, {"index": 1, "content": {"parts": [{"text": "Hi"}]}}]}],
    ],
)
def test_E4_a_stream_that_ends_before_its_answer_is_no_success(events: list[Any]) -> None:
    with pytest.raises(Unavailable, match="before its answer was finished"):
        chunks_of(events)


def test_E4_events_before_the_answer_say_nothing_but_their_counts_are_not_lost() -> None:
    """Where nothing was said, a failure has still its own status; what the prompt cost is known all the same."""
    decoder = StreamDecoder(1, {})
    counted: dict[str, Any] = {"usageMetadata": {"promptTokenCount": 7}}
    assert decoded(decoder, [{}, counted, {"candidates": []}]) == []
    (chunk,) = decoded(decoder, [{"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]}])
    assert chunk.usage == Usage(input=7, output=0)
    *_, last = chunks_of([{"promptFeedback": {"blockReason": "SAFETY"}, **counted}])
    assert last.usage == Usage(input=7, output=0)


def test_X9_a_last_word_that_google_does_not_say_is_none_of_the_answer() -> None:
    decoder = StreamDecoder(1, {})
    ended = {"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}
    (chunk,) = decoded(decoder, [ended])
    assert decoder.decode(b"[DONE]") is None
    assert gathered([chunk, *decoder.finish()])["finish"] == ["stop"]


def test_O9_several_answers_come_in_their_order() -> None:
    candidates = [{"index": at, "content": {"parts": [{"text": str(at)}]}, "finishReason": "STOP"} for at in (1, 0)]
    completion, _ = decode_completion(json.dumps({"candidates": candidates}).encode(), 2, {})
    assert [one["message"]["content"] for one in json.loads(bytes(completion.choices))] == ["0", "1"]


def test_E1_a_refusal_of_the_content_inside_a_200_is_the_clients_while_nothing_was_said() -> None:
    data = json.dumps({"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "Bad. s3cret"}}).encode()
    for refuse in (
        lambda: decode_completion(data, 1, {}, "s3cret"),
        lambda: StreamDecoder(1, {}, "s3cret").decode(data),
    ):
        with pytest.raises(ContentRefused) as met:
            refuse()
        assert (met.value.message, met.value.status) == ("Bad. …", 400)
    begun = StreamDecoder(1, {})
    decoded(begun, [{"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]}])
    with pytest.raises(Unavailable):
        begun.decode(data)


def test_E2_a_throttle_inside_an_answer_is_one() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3.5s"}]
    error = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": details}}
    with pytest.raises(Throttled) as met:
        decode_completion(json.dumps(error).encode(), 1, {})
    assert met.value.retry_after == 3.5
