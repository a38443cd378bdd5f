"""Requests in: what OpenAI's schema allows is taken, all that cannot be meant is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_core.errors import InvalidRequest
from gateway_core.types import ROUTED_FIELDS
from gateway_core.wire.chat import decode_request
from gateway_core.wire.json_checks import MAX_COMMAS, MAX_DEPTH, MAX_NODES

SPEC = json.loads((Path(__file__).parent / "data" / "openai_chat_request.json").read_text())
USER = {"role": "user", "content": "hello"}


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [USER], **fields}).encode()


def refusal(raw: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refused:
        decode_request(raw)
    return refused.value


# ---------------------------------------------------------------- what is taken


def from_schema(schema: dict[str, Any], depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that fit a schema of OpenAI's."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return st.deferred(lambda: from_schema(SPEC["schemas"][name], depth + 1))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    for key in ("oneOf", "anyOf"):
        if key in schema:
            return st.one_of([from_schema(option, depth) for option in schema[key]])
    if "allOf" in schema:
        parts = [from_schema(part, depth) for part in schema["allOf"]]
        return st.tuples(*parts).map(lambda values: {k: v for value in values for k, v in value.items()})
    strategy = _typed(schema, depth)
    return st.none() | strategy if schema.get("nullable") else strategy


def _typed(schema: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    kind = schema.get("type")
    if kind == "string":
        return st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=20)
    if kind == "integer":
        return st.integers(max(schema.get("minimum", 1), -(2**63)), min(schema.get("maximum", 9), 2**63 - 1))
    if kind == "number":
        return st.floats(schema.get("minimum", 0), schema.get("maximum", 1))
    if kind == "boolean":
        return st.booleans()
    if kind == "null":
        return st.none()
    if kind == "array":
        least = schema.get("minItems", 0)
        return st.lists(from_schema(schema["items"], depth + 1), min_size=least, max_size=max(least, 2))
    properties = schema.get("properties", {})
    required = {
        name: from_schema(properties[name], depth + 1) for name in schema.get("required", ()) if name in properties
    }
    optional = {name: from_schema(value, depth + 1) for name, value in properties.items() if name not in required}
    return st.fixed_dictionaries(required, optional=optional)


@given(from_schema(SPEC["schemas"]["CreateChatCompletionRequest"]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_every_request_of_openais_schema_is_taken(fields: dict[str, Any], ascii_only: bool) -> None:
    if fields.get("stream_options") is not None:
        fields["stream"] = True  # the schema cannot say that one needs the other
    request = decode_request(json.dumps(fields, ensure_ascii=ascii_only).encode())
    assert request.body == fields
    assert request.model == fields["model"]
    assert json.loads(request.rest) == {k: v for k, v in fields.items() if k not in ROUTED_FIELDS}


@pytest.mark.parametrize("example", SPEC["examples"], ids=lambda example: ",".join(example))
def test_the_examples_of_openais_reference_are_taken(example: dict[str, Any]) -> None:
    assert decode_request(json.dumps(example).encode()).body == example


def test_unknown_fields_are_kept() -> None:
    message = {"role": "user", "content": [{"type": "video_url", "video_url": {"url": "x"}}], "cache": {"a": [1]}}
    fields = {"model": "m", "messages": [message], "top_k": 5, "guided_json": {"a": None}}
    request = decode_request(json.dumps(fields).encode())
    assert request.body == fields
    assert json.loads(request.rest) == {"messages": [message], "top_k": 5, "guided_json": {"a": None}}


def test_null_is_the_same_as_absent() -> None:
    names = ["stream", "stream_options", "max_tokens", "n", "temperature", "tools", "tool_choice", "stop", "user"]
    request = decode_request(body(**dict.fromkeys(names)))
    assert (request.stream, request.include_usage, request.output_limit, request.choices) == (False, False, None, 1)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 7}, 7),
        ({"max_tokens": 5, "max_completion_tokens": 7}, 7),
        ({"max_tokens": 2**31}, 2**31),
    ],
)
def test_the_output_limit_is_the_larger_of_the_two(limits: dict[str, int], expected: int | None) -> None:
    assert decode_request(body(**limits)).output_limit == expected


def test_what_the_core_decides_by() -> None:
    parts = [
        {"type": "text", "text": "hi"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        {"type": "file", "file": {"file_id": "x"}},
    ]
    raw = body(messages=[{"role": "user", "content": parts}], n=3, stream=True, stream_options={"include_usage": True})
    request = decode_request(raw)
    assert (request.media, request.choices, request.stream, request.include_usage) == (3, 3, True, True)
    assert request.size == len(raw)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 5}, "model"),
        ({"model": "m" * 257}, "model"),
        ({"model": "a\nb"}, "model"),
        ({"model": "a\n"}, "model"),
        ({"model": "a\x7f"}, "model"),
        ({"model": "a\u2028b"}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [USER, {"role": "user", "content": 5}]}, "messages[1].content"),
        ({"messages": [{"role": "user", "content": ["hi"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "a\nb"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "a\u2028"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "a" * 257}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].image_url"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "a\r\nb: c"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "user", "content": "x", "name": "a\0"}]}, "messages[0].name"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]}, "messages[0].tool_calls[0].function"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a\n"}]}]}, "messages[0].tool_calls[0].id"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 2**31 + 1}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"presence_penalty": -3}, "presence_penalty"),
        ({"frequency_penalty": 3}, "frequency_penalty"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"logprobs": 3}, "logprobs"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"stop": 5}, "stop"),
        ({"stop": ["a", 5]}, "stop[1]"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "a\nb"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "", "parameters": 5}}]}, "tools[0].function.parameters"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.allowed_tools"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": "json"}, "response_format"),
        ({"seed": "x"}, "seed"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    refused = refusal(body(**fields))
    assert (refused.status, refused.code, refused.param) == (400, "invalid_request", param)
    assert param in refused.message


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "not valid JSON"),
        (b"hello", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b'"x"', "must be a JSON object"),
        (b'{"model": "m"', "not valid JSON"),
        (b'{"model": "m"} {}', "not valid JSON"),
        (b'{"model": NaN}', "not valid JSON"),
        (b'{"model": Infinity}', "not valid JSON"),
        (b'{"model": 1e999}', "not valid JSON"),
        (b'{"model": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'{"model": "\xff"}', "not valid UTF-8"),
        (b'{"model": "\xed\xa0\x80"}', "not valid UTF-8"),
        (b'{"model": "\\ud800 and more"}', "not valid JSON"),
        (b'{"model": "\\udc00"}', "not valid JSON"),
        (b'{"model": "\x01"}', "not valid JSON"),
        (b'{"x":' * 100_000, "nested more than"),
        (b"[" * 100_000, "nested more than"),
    ],
)
def test_what_is_no_json_is_refused(raw: bytes, says: str) -> None:
    refused = refusal(raw)
    assert says in refused.message
    assert refused.param is None


def test_nesting_has_a_bound() -> None:
    def nested(depth: int) -> bytes:
        return body(x=None)[:-5] + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"

    assert decode_request(nested(MAX_DEPTH)).body["x"]
    assert "nested" in refusal(nested(MAX_DEPTH + 1)).message
    wide = body(x=[[] for _ in range(10_000)])
    assert len(decode_request(wide).body["x"]) == 10_000


@pytest.mark.parametrize("padding", [0, 2_000, 300_000])
@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_nesting_is_measured_in_a_body_of_any_size(opening: bytes, padding: int) -> None:
    def nested(times: int) -> bytes:
        closing = opening.replace(b'{"a":', b"}").replace(b"[", b"]")[::-1]
        return body(pad="[{" * padding, x=None)[:-5] + opening * times + b"1" + closing * times + b"}"

    levels = len(opening.replace(b'"a":', b""))
    assert decode_request(nested((MAX_DEPTH - 1) // levels)).body["x"]
    assert "nested" in refusal(nested(MAX_DEPTH // levels + 1)).message


def test_a_refusal_never_quotes_the_prompt() -> None:
    for raw in (
        body(messages=[{"role": "SECRET", "content": "x"}]),
        body(tool_choice="SECRET"),
        body(model="SECRET\n"),
        b'{"model": "SECRET\xff"}',
        body(max_tokens="SECRET"),
    ):
        assert "SECRET" not in refusal(raw).message


# ---------------------------------------------------------------- duplicates, and anything at all

NAMES = st.sampled_from(["a", "b", "a:", ":", "é", "a\\u003a", 'q"', "\\"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(NAMES, inner), max_size=4).map(tuple),
    max_leaves=8,
)


def written(value: Any, escape: Any) -> str:
    """JSON in which objects, here tuples of pairs, may repeat a key, and colons may be escaped."""
    if isinstance(value, tuple):
        return "{" + ",".join(f"{written(name, escape)}: {written(child, escape)}" for name, child in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(child, escape) for child in value) + "]"
    text = json.dumps(value)
    return escape(text) if isinstance(value, str) else text


def repeats(value: Any) -> bool:
    if isinstance(value, tuple):
        return len({name for name, _ in value}) < len(value) or any(repeats(child) for _, child in value)
    return isinstance(value, list) and any(map(repeats, value))


@pytest.mark.parametrize(
    ("text", "repeated"),
    [
        ('"model": "ft:gpt-4o:org::1", "stream": true, "stream_options": {"a:b": ":", "include_usage": true}', None),
        ('"model": "a\\u003ab", "max_tokens": 1, "max_completion_tokens": 3, "stream_options": null', None),
        ('"model": "a:b", "model": "a"', "model"),
        ('"model": "a", "stream": true, "stream_options": {"x": ":", "x": ""}', "stream_options.x"),
        ('"model": "a", "max_tokens": 1, "max_tokens": 1', "max_tokens"),
        ('"model": "a:b", "max_tokens": 1, "max_tokens": 1', "max_tokens"),
    ],
)
def test_colons_of_what_is_routed_are_counted_too(text: str, repeated: str | None) -> None:
    raw = f'{{{text}, "messages": [{{"role": "user", "content": "Hi"}}]}}'.encode()
    if repeated is None:
        assert decode_request(raw).model in ("ft:gpt-4o:org::1", "a:b")
    else:
        assert refusal(raw).param == repeated


@given(VALUES, st.sampled_from([":", "\\u003a", "\\u003A"]))
@settings(max_examples=500)
def test_a_repeated_key_is_found_wherever_and_however_it_is_written(value: Any, colon: str) -> None:
    raw = body(x=None)[:-5] + written(value, lambda text: text.replace(":", colon)).encode() + b"}"
    if repeats(value):
        assert "more than once" in refusal(raw).message
    else:
        assert "x" in decode_request(raw).body


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b'{"model":"a","model":"b","messages":[]}', "model"),
        (b'{"model":"a","mod\\u0065l":"b","messages":[{"role":"user","content":""}]}', "model"),
        (b'{"model":"a","messages":[{"role":"user","role":"system","content":""}]}', "messages[0].role"),
        (b'{"model":"a","messages":[{"role":"user","content":""}],"max_tokens":1,"max_tokens":9}', "max_tokens"),
    ],
)
def test_a_repeated_key_is_named(raw: bytes, param: str) -> None:
    # Where the last one is itself at fault, that may be said first.
    assert refusal(raw).param in (param, "messages")


def test_a_repeated_key_in_a_large_body_is_found_too() -> None:
    large = '"x": {"a": "' + "\\u003a:" * 200_000 + '", "b": 1'
    assert "x" in decode_request((body()[:-1].decode() + f", {large}}}}}").encode()).body
    refused = refusal((body()[:-1].decode() + f', {large}, "b": 1}}}}').encode())
    assert ("more than once" in refused.message, refused.param) == (True, None)


def test_the_number_of_objects_has_a_bound() -> None:
    for many in (b"[" + b"[]," * MAX_NODES + b"[]]}", b"[" * MAX_NODES * 2, b'"a\\"[", "b", {}' + b"[{" * MAX_NODES):
        assert "objects and arrays" in refusal(body(x=None)[:-5] + many).message


def test_what_may_not_stand_in_a_name_is_the_same_everywhere() -> None:
    for odd in ("\x00", "\x1f", "\x7f", "\x85", "\x9f", "\u2028", "\u2029"):
        for fields in (
            {"model": odd},
            {"messages": [{"role": "user", "content": [{"type": odd}]}]},
            {"tools": [{"type": odd}]},
        ):
            assert refusal(body(**fields)).message.endswith("it contains control characters.")
    for fine in ("\u202e", "\u00a0", "\u3000", "\ue000", "漢"):
        assert decode_request(body(model=fine, messages=[{"role": "user", "content": [{"type": fine}]}])).media == 1


def test_the_number_of_values_has_a_bound() -> None:
    assert "fields and elements" in refusal(body(x=None)[:-5] + b"[" + b"1," * (MAX_COMMAS + 2) + b"1]}").message
    assert decode_request(body(messages=[{"role": "user", "content": ", and " * (MAX_COMMAS + 2)}])).media == 0


def test_brackets_in_text_are_no_objects() -> None:
    for text in ("[{" * MAX_NODES, '\\"' + '"[{' * MAX_NODES):
        assert decode_request(body(messages=[{"role": "user", "content": text}])).media == 0
    assert "not valid JSON" in refusal(body()[:-1] + b', "a": "' + b'\\"[' * MAX_NODES * 2).message


@given(st.binary(max_size=200) | st.tuples(st.integers(0, 10**6), st.binary(max_size=3)))
@settings(max_examples=500)
def test_any_bytes_are_taken_or_refused_and_taken_ones_mean_the_same_to_others(raw: Any) -> None:
    if isinstance(raw, tuple):  # a good body with a few bytes changed
        good = body(messages=[{"role": "user", "content": 'hé"\\:'}], n=2, stop=["a"])
        at = raw[0] % len(good)
        raw = good[:at] + raw[1] + good[at + len(raw[1]) :]
    try:
        request = decode_request(raw)
    except InvalidRequest:
        return
    assert json.loads(raw) == request.body
