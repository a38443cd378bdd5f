"""The strict upstream refuses what OpenAI's API refuses, in its words; a compatible server takes more."""

import json
from typing import Any

import pytest

from gateway_core.testing.openai_rules import Refused, check

HELLO = [{"role": "user", "content": "Hello"}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED = {"role": "assistant", "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "done"}
TOOL = {"type": "function", "function": {"name": "f"}}
LOOSE = {"type": "object", "properties": {"a": {"type": "object", "properties": {}}}, "required": ["a"]}


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": HELLO, **fields}


def strict(**schema: Any) -> dict[str, Any]:
    form = {"name": "x", "strict": True, "schema": schema}
    return asked(response_format={"type": "json_schema", "json_schema": form})


def refusal(body: Any) -> dict[str, Any]:
    with pytest.raises(Refused) as refused:
        check(json.dumps(body).encode())
    error: dict[str, Any] = refused.value.error
    return error


@pytest.mark.parametrize(
    ("body", "param", "code", "says"),
    [
        (asked(top_k=1), None, None, "Unrecognized request argument supplied: top_k"),
        (asked(top_k=1, min_p=0), None, None, "Unrecognized request arguments supplied: top_k, min_p"),
        ({"model": "gpt-4o"}, "messages", "missing_required_parameter", "Missing required parameter: 'messages'."),
        (asked(messages=[]), "messages", "empty_array", "Invalid 'messages': empty array."),
        (asked(temperature="1"), "temperature", "invalid_type",
         "Invalid type for 'temperature': expected a decimal, but got a string instead."),
        (asked(stream="yes"), "stream", "invalid_type", "expected a boolean, but got a string"),
        (asked(temperature=3), "temperature", "integer_above_maximum_value", "Expected a value <= 2, but got 3"),
        (asked(n=0), "n", "integer_below_minimum_value", "Expected a value >= 1, but got 0"),
        (asked(reasoning_effort="huge"), "reasoning_effort", "invalid_value", "Invalid value: 'huge'. Supported"),
        (asked(messages=[{"role": "bot", "content": "x"}]), "messages[0].role", "invalid_value", "'bot'"),
        (asked(messages=[{"role": "user"}]), "messages[0].content", "missing_required_parameter", "Missing"),
        (asked(messages=[{"role": "user", "content": 5}]), "messages[0].content", "invalid_type", "an integer"),
        (asked(messages=[{"role": "user", "content": [{"type": "text"}]}]), "messages[0].content[0].text",
         "missing_required_parameter", "Missing required parameter"),
        (asked(messages=[{**HELLO[0], "weight": 1}]), "messages[0].weight", "unknown_parameter",
         "Unknown parameter: 'messages[0].weight'."),
        (asked(messages=[{"role": "assistant", "content": "x", "reasoning_content": "y"}]),
         "messages[0].reasoning_content", "unknown_parameter", "Unknown parameter"),
        (asked(messages=[{"role": "assistant", "content": "x", "tool_calls": []}]), "messages[0].tool_calls",
         "empty_array", "empty array"),
        (asked(messages=[{"role": "assistant", "content": None}]), "messages.[0].content", None, "got null"),
        (asked(messages=[*HELLO, RESULT]), "messages.[1].role", None, "must be a response to a preceeding message"),
        (asked(messages=[*HELLO, CALLED]), "messages.[2].role", None, "did not have response messages: call_1"),
        (asked(messages=[*HELLO, CALLED, *HELLO]), "messages.[2].role", None, "must be followed by tool messages"),
        (asked(messages=[*HELLO, CALLED, RESULT, RESULT]), "messages.[3].role", None, "must be a response"),
        (asked(tools=[]), "tools", "empty_array", "Invalid 'tools': empty array."),
        (asked(tools=[TOOL] * 129), "tools", None, "array too long"),
        (asked(tools=[{**TOOL, "function": {"name": "a b"}}]), "tools[0].function.name", "invalid_value", "pattern"),
        (asked(tools=[{**TOOL, "function": {"name": "a" * 65}}]), "tools[0].function.name", "invalid_value", "pattern"),
        (asked(tool_choice="auto"), "tool_choice", None, "only allowed when 'tools' are specified"),
        (asked(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "g"}}), "tool_choice", None,
         "names a function that is not in 'tools'"),
        (asked(stream_options={"include_usage": True}), "stream_options", None, "only allowed when 'stream'"),
        (asked(stop=["a"] * 5), "stop", None, "1 to 4"),
        (asked(top_logprobs=2), "top_logprobs", None, "logprobs"),
        (asked(response_format={"type": "json_object"}), "messages", None, "the word 'json'"),
        (asked(model="o3", max_tokens=5), "max_tokens", "unsupported_parameter", "Use 'max_completion_tokens' instead"),
        (asked(model="gpt-5-mini", max_tokens=5), "max_tokens", "unsupported_parameter", "Unsupported parameter"),
        (asked(model="o3", temperature=0), "temperature", "unsupported_value", "does not support 0 with this model"),
        (strict(), "response_format", None, "schema must be a JSON Schema of 'type: \"object\"'"),
        (strict(type="object", properties={}, required=[]), "response_format", None,
         "'additionalProperties' is required"),
        (strict(type="object", properties={"a": {"type": "string"}}, required=[], additionalProperties=False),
         "response_format", None, "Missing 'a'"),
        (strict(**LOOSE, additionalProperties=False), "response_format", None, "In context=('properties', 'a')"),
        (strict(type="object", properties={"a": {"type": "array"}}, required=["a"], additionalProperties=False),
         "response_format", None, "missing items"),
        (asked(response_format={"type": "json_schema", "json_schema": {"name": "a b"}}),
         "response_format.json_schema.name", "invalid_value", "pattern"),
        (asked(tools=[{"type": "function", "function": {"name": "f", "strict": True, "parameters": LOOSE}}]),
         "tools[0].function.parameters", "invalid_function_parameters", "'additionalProperties' is required"),
    ],
)  # fmt: skip
def test_what_openai_itself_refuses(body: Any, param: str | None, code: str | None, says: str) -> None:
    error = refusal(body)
    assert says in error["message"]
    assert (error["param"], error["code"], error["type"]) == (param, code, "invalid_request_error")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": None, "tools": None},
        {"messages": [*HELLO, CALLED, RESULT, *HELLO], "tools": [TOOL]},
        {"model": "o3", "max_completion_tokens": 5, "temperature": 1, "reasoning_effort": "low"},
        {"model": "gpt-5", "verbosity": "low"},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": LOOSE}}], "tool_choice": "required"},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": LOOSE}}},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
    ],
)
def test_what_openai_itself_takes(fields: dict[str, Any]) -> None:
    body = asked(**fields)
    assert check(json.dumps(body).encode()) == {name: value for name, value in body.items() if value is not None}


@pytest.mark.parametrize(
    "fields",
    [{"top_k": 1}, {"messages": [{**HELLO[0], "weight": 1}]}, {"max_tokens": 5, "max_completion_tokens": 6},
     {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": LOOSE}}}],
)  # fmt: skip
def test_what_a_compatible_server_takes(fields: dict[str, Any]) -> None:
    assert check(json.dumps(asked(model="llama", **fields)).encode())["model"] == "llama"


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"x"', b'{"a": 1, "a": 2}', b"\xff"])
def test_what_is_no_request(raw: bytes) -> None:
    with pytest.raises(Refused):
        check(raw)
    with pytest.raises(Refused):
        check(json.dumps(asked()).encode(), "text/plain")
