"""What tools become: T, and schemas."""

from collections.abc import Callable
from typing import Any

import pytest

Sent = Callable[..., dict[str, Any]]
Refused = Callable[..., str | None]

EMPTY = {"type": "object", "properties": {}}


def tool(name: str = "f", **function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **function}}


def test_T1_a_tool_has_name_description_and_schema(sent: Sent) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    tools = [tool(description="does it", parameters=schema), tool("g", description="")]
    assert sent(tools=tools)["tools"] == [
        {"name": "f", "description": "does it", "input_schema": schema},
        {"name": "g", "input_schema": EMPTY},
    ]


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"properties": {"a": {}}}, {"type": "object", "properties": {"a": {}}}),
        ({"type": ["object", "null"]}, EMPTY),
        ({"type": "object", "properties": None}, EMPTY),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
             "properties": {"n": {"$ref": "#/$defs/N"}},
             "$defs": {"N": {"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}}}},
            ...,
        ),
        (
            {"$ref": "#/$defs/N", "$defs": {"N": {"type": "object", "properties": {"a": {"type": "string"}}}}},
            {"type": "object", "properties": {"a": {"type": "string"}},
             "$defs": {"N": {"type": "object", "properties": {"a": {"type": "string"}}}}},
        ),
        ({"$ref": "#/$defs/N", "$defs": {"N": {"$ref": "#/$defs/N"}}},
         {**EMPTY, "$defs": {"N": {"$ref": "#/$defs/N"}}}),
        (
            {"allOf": [{"type": "object", "properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}}]},
            {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"]},
        ),
        (
            {"type": "object", "oneOf": [{"properties": {"a": {}, "c": {}}, "required": ["a", "c"]},
                                         {"properties": {"b": {}, "c": {}}, "required": ["b", "c"]}]},
            {"type": "object", "properties": {"a": {}, "c": {}, "b": {}}, "required": ["c"],
             "description": 'one of these fits: [["a", "c"], ["b", "c"]]'},
        ),
        (
            {"type": "object", "properties": {"t": {"type": "array", "items": [{"type": "string"}]},
             "n": {"type": "number", "minimum": 1, "exclusiveMinimum": True, "exclusiveMaximum": False},
             "items": {"type": "string", "required": True}}},
            {"type": "object", "properties": {"t": {"type": "array", "prefixItems": [{"type": "string"}]},
             "n": {"type": "number", "exclusiveMinimum": 1}, "items": {"type": "string"}}},
        ),
    ],
)  # fmt: skip
def test_T2_a_schema_becomes_one_that_is_taken(sent: Sent, given: Any, made: Any) -> None:
    schema = sent(tools=[tool(parameters=given)])["tools"][0]["input_schema"]
    assert schema == (given if made is ... else made)


@pytest.mark.parametrize("given", [{"type": "string"}, {"type": "array", "items": {}}])
def test_T2_parameters_that_are_no_object_are_refused(refused: Refused, given: Any) -> None:
    assert refused(tools=[tool(parameters=given)]) == "tools[0].function.parameters"


def test_T2_a_schema_larger_than_what_is_kept_is_the_same(sent: Sent) -> None:
    schema = {
        "type": "object",
        "properties": {f"p{at}": {"type": "string", "description": "x" * 60} for at in range(900)},
    }
    assert sent(tools=[tool(parameters=schema)])["tools"][0]["input_schema"] == schema


@pytest.mark.parametrize("function", [{}, {"parameters": None}, {"parameters": {}}, {"parameters": EMPTY}])
def test_T3_a_tool_without_parameters(sent: Sent, function: Any) -> None:
    assert sent(tools=[tool(**function)])["tools"] == [{"name": "f", "input_schema": EMPTY}]


NAMED = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("choice", "made"),
    [
        (None, None),
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        (NAMED, {"type": "tool", "name": "f"}),
    ],
)
def test_T4_each_choice_means_the_same(sent: Sent, choice: Any, made: Any) -> None:
    assert sent(tools=[tool(), tool("g")], tool_choice=choice).get("tool_choice") == made


@pytest.mark.parametrize("tools", [None, []])
@pytest.mark.parametrize("choice", ["auto", "none", "required", NAMED])
def test_T4_a_choice_among_no_tools_is_not_sent(sent: Sent, choice: Any, tools: Any) -> None:
    body = sent(tools=tools, tool_choice=choice, parallel_tool_calls=False)
    assert "tools" not in body
    assert "tool_choice" not in body


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_T4_allowed_tools_are_the_only_ones(sent: Sent, mode: str) -> None:
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [NAMED]}}
    body = sent(tools=[tool(), tool("g")], tool_choice=allowed)
    assert [one["name"] for one in body["tools"]] == ["f"]
    assert body["tool_choice"] == {"type": "auto" if mode == "auto" else "any"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tool_choice": {"type": "function", "function": {"name": "h"}}}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [
            {"type": "function", "function": {"name": "h"}}]}}}, "tool_choice.allowed_tools.tools"),
        ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "tools[0].type"),
        ({"tools": [tool(), {"type": "web_search_20250305", "name": "web_search"}]}, "tools[1].type"),
    ],
)  # fmt: skip
def test_T4_what_is_not_there_is_named(refused: Refused, fields: Any, param: str) -> None:
    assert refused(**{"tools": [tool()], **fields}) == param


@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-sonnet-5-5", "claude-fable-5", "claude-of-tomorrow"])
@pytest.mark.parametrize(
    ("choice", "said", "names"), [("required", "at least one", "fg"), (NAMED, "the tool `f`", "f")]
)
def test_T4_a_model_that_cannot_be_forced_is_told(sent: Sent, model: str, choice: Any, said: str, names: str) -> None:
    body = sent(model, tools=[tool(), tool("g")], tool_choice=choice)
    assert body["tool_choice"] == {"type": "auto"}
    assert [one["name"] for one in body["tools"]] == list(names)
    assert said in body["messages"][-1]["content"][-1]["text"]


@pytest.mark.parametrize(
    ("choice", "made"),
    [
        (None, {"type": "auto", "disable_parallel_tool_use": True}),
        ("auto", {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", {"type": "any", "disable_parallel_tool_use": True}),
        (NAMED, {"type": "tool", "name": "f", "disable_parallel_tool_use": True}),
        ("none", {"type": "none"}),
    ],
)
def test_T5_one_call_at_a_time(sent: Sent, choice: Any, made: Any) -> None:
    assert sent(tools=[tool()], tool_choice=choice, parallel_tool_calls=False)["tool_choice"] == made
    assert sent(tools=[tool()], parallel_tool_calls=True).get("tool_choice") is None


STRICT = {"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "required": ["a"],
          "additionalProperties": False}  # fmt: skip


def test_T1_strict_is_kept_where_the_model_can_hold_to_the_schema(sent: Sent) -> None:
    (made,) = sent(tools=[tool(parameters=STRICT, strict=True)])["tools"]
    assert made["strict"] is True
    assert made["input_schema"]["properties"]["a"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    loose = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}}}
    (made,) = sent(tools=[tool(parameters=loose, strict=True)])["tools"]
    assert "strict" not in made
    assert made["input_schema"] == loose
    assert "strict" not in sent("claude-3-5-haiku", tools=[tool(parameters=STRICT, strict=True)])["tools"][0]
    plain = {"type": "object", "properties": {}, "additionalProperties": False}
    many = sent(tools=[tool(f"f{at}", parameters=plain, strict=True) for at in range(25)])["tools"]
    assert sum("strict" in one for one in many) == 20


def test_T2_strict_ends_where_the_api_holds_to_no_more(sent: Sent) -> None:
    """24 fields that need not be there, and 16 of several types, over all tools of a request."""
    kinds = {"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "required": ["a"]}
    closed = {**kinds, "additionalProperties": False}
    made = sent(tools=[tool(f"f{at}", parameters=closed, strict=True) for at in range(18)])["tools"]
    assert ["strict" in one for one in made] == [True] * 16 + [False] * 2
    assert made[-1]["input_schema"] == closed
    fields = {f"a{at}": {"type": "string"} for at in range(13)}
    loose = {"type": "object", "properties": fields, "additionalProperties": False}
    made = sent(tools=[tool(name, parameters=loose, strict=True) for name in ("f", "g")])["tools"]
    assert ["strict" in one for one in made] == [True, False]
