"""Tools and choices of them as they reach the API. Every body here has passed the strict rules."""

from typing import Any

import pytest

from gateway_core.errors import InvalidRequest
from gateway_core.testing.provider_suite import WEATHER

Sent = Any
OLD, MIDDLE, NEW = "gemini-2.0-flash", "gemini-2.5-flash", "gemini-3.8-flash"
TIME = {"type": "function", "function": {"name": "get_time"}}


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


@pytest.mark.parametrize("to", [OLD, MIDDLE, NEW])
def test_T1_tools_arrive_with_name_description_and_schema(sent: Sent, to: str) -> None:
    (tool,) = sent(to, tools=[WEATHER, TIME])["tools"]
    weather, time = tool["functionDeclarations"]
    assert (weather["name"], weather["description"]) == ("get_weather", "The weather in a city.")
    assert time == {"name": "get_time"}
    if to == OLD:
        city = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]}
        assert weather["parameters"] == city
    else:
        assert weather["parametersJsonSchema"] == WEATHER["function"]["parameters"]  # type: ignore[index]  # the suite's


@pytest.mark.parametrize("to", [OLD, MIDDLE, NEW])
@pytest.mark.parametrize(
    "function",
    [{}, {"parameters": None}, {"parameters": {}}, {"parameters": {"type": "object", "properties": {}}},
     {"parameters": {"type": "object"}}, {"parameters": {"type": "object", "additionalProperties": False}}],
)  # fmt: skip
def test_T3_a_tool_without_parameters_has_none(sent: Sent, to: str, function: dict[str, Any]) -> None:
    body = sent(to, tools=[{"type": "function", "function": {"name": "f", **function}}])
    assert body["tools"] == [{"functionDeclarations": [{"name": "f"}]}]


CHOICE = {"anyOf": [{"type": "object", "properties": {"a": {"type": "string"}}}, {"type": "object"}]}


@pytest.mark.parametrize("parameters", [CHOICE, {"properties": {"a": {}}}, {"type": ["object", "null"], "anyOf": [{}]}])
def test_T2_parameters_are_an_object_in_every_form(sent: Sent, parameters: dict[str, Any]) -> None:
    for to in (OLD, MIDDLE, NEW):
        tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": parameters}}
        (declared,) = sent(to, tools=[tool])["tools"][0]["functionDeclarations"]
        if to == OLD and "properties" not in parameters:
            assert "parameters" not in declared
            assert "anyOf" in declared["description"]
        else:
            assert (declared.get("parameters") or declared["parametersJsonSchema"])["type"].lower() == "object"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, None),
        ("auto", None),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (named("get_time"), {"mode": "ANY", "allowedFunctionNames": ["get_time"]}),
    ],
)
def test_T4_each_tool_choice_means_the_same(sent: Sent, choice: Any, expected: Any) -> None:
    body = sent(tools=[WEATHER, TIME], tool_choice=choice)
    assert body.get("toolConfig", {}).get("functionCallingConfig") == expected
    assert len(body["tools"][0]["functionDeclarations"]) == 2


@pytest.mark.parametrize("choice", ["auto", "none", "required", named("get_time")])
@pytest.mark.parametrize("tools", [{}, {"tools": []}, {"tools": None}])
def test_T4_without_tools_there_is_no_choice(sent: Sent, choice: Any, tools: dict[str, Any]) -> None:
    body = sent(tool_choice=choice, parallel_tool_calls=False, **tools)
    assert "toolConfig" not in body
    assert "tools" not in body


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_T4_allowed_tools_are_the_only_ones(sent: Sent, mode: str) -> None:
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [named("get_time")]}}
    body = sent(tools=[WEATHER, TIME], tool_choice=choice)
    declared = [one["name"] for one in body["tools"][0]["functionDeclarations"]]
    if mode == "auto":
        assert declared == ["get_time"]
        assert "toolConfig" not in body
    else:
        assert declared == ["get_weather", "get_time"]
        assert body["toolConfig"]["functionCallingConfig"] == {"mode": "ANY", "allowedFunctionNames": ["get_time"]}


@pytest.mark.parametrize(
    "choice",
    [
        named("other"),
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [named("other")]}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{}, {"function": {}}, {"function": 5}]}},
        {"type": "custom", "custom": {"name": "x"}},
    ],
)
def test_T4_a_choice_of_what_is_not_there_is_refused(sent: Sent, choice: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        sent(tools=[WEATHER], tool_choice=choice)
    assert refused.value.param == "tool_choice"


def test_T5_parallel_calls_cannot_be_forbidden_and_are_not_spoken_of(sent: Sent) -> None:
    assert sent(tools=[WEATHER], parallel_tool_calls=False) == sent(tools=[WEATHER])


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"tools": [WEATHER, {"type": "web_search"}]}, "tools[1].type"),
        ({"web_search_options": {}}, "web_search_options"),
    ],
)
def test_tools_of_other_kinds_are_refused(sent: Sent, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        sent(**fields)
    assert refused.value.param == param
