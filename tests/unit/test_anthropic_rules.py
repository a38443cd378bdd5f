"""The strict Anthropic upstream refuses what the API refuses, and takes the rest."""

import json
from typing import Any

import pytest

from gateway_core.testing.anthropic_rules import check, signature_of
from gateway_core.testing.anthropic_types import Refused

USER = {"role": "user", "content": "hi"}
TOOL = {"name": "f", "input_schema": {"type": "object"}}
USE = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "a", "content": "1"}
THOUGHT = {"type": "thinking", "thinking": "x", "signature": signature_of("x")}
LOOP = [USER, {"role": "assistant", "content": [USE]}, {"role": "user", "content": [RESULT]}]
BUDGET = {"type": "enabled", "budget_tokens": 1024}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "claude-sonnet-4-5", "max_tokens": 2000, "messages": [USER], **fields}).encode()


def said(*blocks: Any, role: str = "user") -> list[Any]:
    return [{"role": role, "content": list(blocks)}]


def text(value: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **more}


def schema(**fields: Any) -> dict[str, Any]:
    return {"output_config": {"format": {"type": "json_schema", "schema": {**SCHEMA, **fields}}}}


TAKEN = [
    {},
    {"stream": True, "system": "x", "temperature": 0, "top_k": 3, "stop_sequences": ["a"]},
    {"system": [text("x", cache_control={"type": "ephemeral", "ttl": "1h"})], "metadata": {"user_id": "u"}},
    {"messages": [USER, USER, {"role": "assistant", "content": "so"}]},
    {"messages": LOOP, "tools": [TOOL]},
    {
        "messages": [USER, {"role": "assistant", "content": [THOUGHT, USE]}, LOOP[2]],
        "tools": [TOOL],
        "thinking": BUDGET,
    },
    {"messages": said({"type": "image", "source": {"type": "url", "url": "https://a.example/b"}})},
    {"tools": [{**TOOL, "strict": True, "input_schema": SCHEMA}], "tool_choice": {"type": "any"}},
    {"model": "claude-opus-4-8", "messages": [USER, {"role": "system", "content": "x"}]},
    {"model": "claude-opus-4-6", "thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
    schema(),
]


@pytest.mark.parametrize("fields", TAKEN)
def test_what_the_api_takes_is_taken(fields: Any) -> None:
    assert check(body(**fields))["messages"]


REFUSED = [
    ({"max_tokens": None}, "max_tokens"),
    ({"max_tokens": "7"}, "valid integer"),
    ({"max_tokens": 0}, "greater than or equal"),
    ({"max_tokens": 64_001}, "maximum allowed"),
    ({"seed": 1}, "seed: Extra inputs"),
    ({"temperature": "hot"}, "valid number"),
    ({"temperature": 1.5}, "range"),
    ({"temperature": 0.5, "top_p": 0.5}, "cannot both"),
    ({"model": "claude-opus-4-7", "temperature": 0.5}, "deprecated"),
    ({"stop_sequences": ["\n"]}, "whitespace"),
    ({"metadata": {"user_id": "a@b.example"}}, "user_id"),
    ({"metadata": {"session": "x"}}, "metadata.session: Extra inputs"),
    ({"messages": []}, "at least one"),
    ({"messages": [{"role": "assistant", "content": "x"}, USER]}, "first message"),
    ({"messages": [{**USER, "name": "ann"}]}, "name: Extra inputs"),
    ({"messages": [{"role": "user", "content": ""}]}, "non-empty content"),
    ({"messages": said(text(""))}, "must be non-empty"),
    ({"messages": said(text(" \n"))}, "non-whitespace"),
    ({"messages": said(text("x", index=1))}, "Extra inputs"),
    ({"messages": said({"type": "sound"})}, "messages.0.content"),
    ({"messages": said({"type": "image", "source": {"type": "url", "url": "http://a.example"}})}, "HTTPS"),
    ({"messages": said({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}})},
     "is not one"),
    ({"messages": said({"type": "image", "source": {"type": "base64", "media_type": "image/bmp", "data": "AAAA"}})},
     "media_type"),
    ({"messages": [USER, {"role": "assistant", "content": "so "}]}, "trailing whitespace"),
    ({"model": "claude-opus-4-6", "messages": [USER, {"role": "assistant", "content": "so"}]}, "prefill"),
    ({"messages": [USER, {"role": "system", "content": "x"}]}, "role 'system'"),
    ({"model": "claude-opus-5", "messages": [USER, {"role": "system", "content": "x"}, USER]}, "must follow"),
    ({"system": " "}, "non-empty"),
    ({"messages": LOOP}, "must define tools"),
    ({"messages": LOOP[:2], "tools": [TOOL]}, "without `tool_result`"),
    ({"messages": [*LOOP[:2], USER], "tools": [TOOL]}, "without `tool_result`"),
    ({"messages": [USER, *said(RESULT)], "tools": [TOOL]}, "unexpected `tool_use_id`"),
    ({"messages": [*LOOP[:2], *said(text("x"), RESULT)], "tools": [TOOL]}, "must come first"),
    ({"messages": [*LOOP, *LOOP], "tools": [TOOL]}, "must be unique"),
    ({"messages": [USER, *said({**USE, "id": "a.b"}, role="assistant")], "tools": [TOOL]}, "pattern"),
    ({"messages": said(USE), "tools": [TOOL]}, "not permitted"),
    ({"tool_choice": {"type": "auto"}}, "while providing tools"),
    ({"tools": [TOOL, TOOL]}, "unique"),
    ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}}, "not found"),
    ({"tools": [TOOL], "tool_choice": {"type": "none", "disable_parallel_tool_use": True}}, "Extra inputs"),
    ({"tools": [{"name": "f g", "input_schema": {"type": "object"}}]}, "pattern"),
    ({"tools": [{**TOOL, "input_schema": {}}]}, "'object'"),
    ({"tools": [{**TOOL, "input_schema": {"type": "object", "anyOf": []}}]}, "top level"),
    ({"tools": [{**TOOL, "input_schema": {"type": "object", "properties": {"a": {"type": "int"}}}}]}, "2020-12"),
    ({"tools": [{**TOOL, "input_schema": {"type": "object", "properties": {"a": {"items": [{}]}}}}]}, "2020-12"),
    ({"tools": [TOOL], "tool_choice": {"type": "any"}, "thinking": BUDGET}, "forces tool use"),
    ({"model": "claude-opus-5-5", "tools": [TOOL], "tool_choice": {"type": "any"}}, "forced tool use"),
    ({"thinking": {**BUDGET, "budget_tokens": 1023}}, "1024"),
    ({"thinking": {**BUDGET, "budget_tokens": 2000}}, "greater than `thinking"),
    ({"thinking": {"type": "adaptive"}}, "not supported for this model"),
    ({"model": "claude-opus-4-7", "thinking": BUDGET}, "not supported for this model"),
    ({"thinking": BUDGET, "temperature": 0.5}, "set to 1"),
    ({"thinking": BUDGET, "top_p": 0.5}, "0.95"),
    ({"thinking": BUDGET, "top_k": 5}, "top_k"),
    ({"thinking": BUDGET, "messages": LOOP, "tools": [TOOL]}, "Expected `thinking`"),
    ({"messages": [USER, *said({**THOUGHT, "signature": "x"}, role="assistant"), USER]}, "Invalid `signature`"),
    ({"messages": [USER, *said({"type": "redacted_thinking", "data": "x"}, role="assistant"), USER]}, "Invalid `data`"),
    ({"output_config": {"effort": "low"}}, "effort"),
    ({"model": "claude-3-5-haiku", **schema()}, "max_tokens|output formats"),
    (schema(additionalProperties=True), "explicitly set to false"),
    (schema(properties={"a": {"type": "integer", "minimum": 1}}), "'minimum' is not supported"),
    (schema(properties={"a": {"type": "array", "items": {"type": "null"}, "minItems": 2}}), "minItems"),
    (schema(properties={"a": {}}), "type is missing"),
    (schema(**{"$defs": {"a": {**SCHEMA, "properties": {"b": {"$ref": "#/$defs/a"}}}}}), "Recursive"),
    ({"system": [text("x", cache_control={"type": "ephemeral"})] * 5}, "maximum of 4"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "says"), REFUSED)
def test_what_the_api_refuses_is_refused(fields: Any, says: str) -> None:
    with pytest.raises(Refused, match=says):
        check(body(**fields))


def test_a_later_version_has_no_sampling() -> None:
    with pytest.raises(Refused, match="temperature: Extra inputs"):
        check(body(temperature=1), "2026-10-21")


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"a": 1, "a": 2}'])
def test_what_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused):
        check(raw)
