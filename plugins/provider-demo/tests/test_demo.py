"""The demo: the contract of every provider, and what its answers are made of."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter
from spl_provider_demo import Plugin
from spl_provider_demo.provider import DemoProvider
from spl_provider_demo.schema import instance
from spl_provider_demo.script import count, pieces

from gateway_core.errors import InvalidRequest
from gateway_core.testing.provider_parts import parts
from gateway_core.testing.provider_suite import WEATHER, ProviderSuite, chat, choices_of, stream_of
from gateway_core.types import ChatRequest, Route

ROUTE = Route("demo", "demo")


def make(**settings: Any) -> DemoProvider:
    (kind,) = Plugin().register_providers()
    assert not kind.needs_key
    built: DemoProvider = kind.build(kind.settings(**settings), parts("demo"))
    return built


class TestDemoProvider(ProviderSuite):
    @pytest.fixture
    def provider(self) -> DemoProvider:
        return make()

    @pytest.fixture
    def route(self) -> Route:
        return ROUTE


def user(text: Any, **fields: Any) -> ChatRequest:
    return chat(messages=[{"role": "user", "content": text}], **fields)


async def answer(request: ChatRequest, limit: int | None = None) -> dict[str, Any]:
    """The first choice, which is the same plain and streamed, with the same usage."""
    completion = await make().complete(request, ROUTE, limit)
    choices: list[dict[str, Any]] = json.loads(bytes(completion.choices))
    chunks = await stream_of(make(), request, ROUTE, limit)
    assert chunks[-1].usage == completion.usage
    assert sum(len(chunk.texts) for chunk in chunks) == (completion.usage.output if completion.usage else None)
    text = "".join(choice["delta"].get("content") or "" for choice in choices_of(chunks) if choice["index"] == 0)
    assert text == (choices[0]["message"]["content"] or "")
    return choices[0]


async def text_of(request: ChatRequest, limit: int | None = None) -> str:
    text: str = (await answer(request, limit))["message"]["content"]
    return text


async def test_it_answers_the_last_user_message() -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "well"},
        {"role": "user", "content": [{"type": "text", "text": "sec"}, {"type": "text", "text": "ond"}]},
    ]
    assert (await text_of(chat(messages=messages))).endswith("You wrote: second")
    assert await text_of(chat(messages=[{"role": "system", "content": "hi"}])) == "You wrote nothing."


async def test_it_writes_as_many_words_as_it_is_asked_for() -> None:
    assert len((await text_of(user("Write 500 words, please."))).split()) == 500


@pytest.mark.parametrize(("fields", "limit"), [({"max_tokens": 4}, None), ({"max_completion_tokens": 9}, 4), ({}, 4)])
async def test_the_limit_holds(fields: dict[str, int], limit: int | None) -> None:
    choice = await answer(user("Write 500 words", **fields), limit)
    assert choice["finish_reason"] == "length"
    assert count(choice["message"]["content"]) == 4


async def test_a_limit_that_is_just_enough_is_no_cut() -> None:
    whole = await text_of(user("hi there"))
    assert (await answer(user("hi there"), count(whole)))["finish_reason"] == "stop"


@pytest.mark.parametrize("stop", ["gateway", ["never", "gateway"]])
async def test_it_stops_where_it_is_told(stop: Any) -> None:
    choice = await answer(user("Write 50 words", stop=stop))
    assert (choice["message"]["content"], choice["finish_reason"]) == ("the ", "stop")


async def test_several_answers_differ() -> None:
    completion = await make().complete(user("hi", n=3), ROUTE, None)
    assert len({choice["message"]["content"] for choice in json.loads(bytes(completion.choices))}) == 3


TIME = {"type": "function", "function": {"name": "get_time"}}
SEARCH = {"type": "custom", "custom": {"name": "search"}}


@pytest.mark.parametrize(
    ("text", "fields", "called"),
    [
        ("What's the weather in Oslo?", {}, ["get_weather"]),
        ("The weather, and the time?", {}, ["get_weather", "get_time"]),
        ("The weather, and the time?", {"parallel_tool_calls": False}, ["get_weather"]),
        ("What's the weather?", {"tool_choice": "none"}, []),
        ("Hello", {}, []),
        ("Hello", {"tool_choice": "required"}, ["get_weather"]),
        ("Hello", {"tool_choice": {"type": "function", "function": {"name": "get_time"}}}, ["get_time"]),
        ("Hello", {"tool_choice": {"type": "custom", "custom": {"name": "search"}}}, ["search"]),
        (
            "The weather, and the time?",
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [TIME]}}},
            ["get_time"],
        ),
        (
            "Hello",
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TIME, {}]}}},
            ["get_time"],
        ),
    ],
)
async def test_which_tools_it_calls(text: str, fields: dict[str, Any], called: list[str]) -> None:
    choice = await answer(user(text, tools=[WEATHER, TIME, SEARCH], **fields))
    calls = choice["message"].get("tool_calls", [])
    assert [call[call["type"]]["name"] for call in calls] == called
    assert len({call["id"] for call in calls}) == len(calls)
    assert choice["finish_reason"] == ("tool_calls" if called else "stop")


@pytest.mark.parametrize("tool", [{"type": ""}, {"type": "", "": []}, {"type": "x", "x": None}, {"type": "x", "x": {}}])
async def test_tools_of_a_kind_that_nobody_knows_are_not_called(tool: dict[str, Any]) -> None:
    assert (await answer(user("x weather", tools=[tool], tool_choice="required")))["finish_reason"] == "stop"


async def test_the_whole_loop_of_a_tool_ends_in_an_answer() -> None:
    messages: list[Any] = [{"role": "user", "content": "What's the weather in Oslo?"}]
    first = await answer(chat(messages=messages, tools=[WEATHER]))
    (call,) = first["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"city": "city"}
    messages += [first["message"], {"role": "tool", "tool_call_id": call["id"], "content": "rain, 7 °C"}]
    second = await answer(chat(messages=messages, tools=[WEATHER]))
    assert second["message"]["content"] == "The tool answered: rain, 7 °C"
    messages += [second["message"], {"role": "user", "content": "And the weather tomorrow?"}]
    third = await answer(chat(messages=messages, tools=[WEATHER]))
    assert third["message"]["tool_calls"][0]["id"] != call["id"]


async def test_what_it_cannot_do_is_the_callers_to_change() -> None:
    with pytest.raises(InvalidRequest) as refused:
        await answer(user("x", functions=[{"name": "f"}]))
    assert refused.value.param == "functions"
    with pytest.raises(InvalidRequest) as refused:
        await answer(user("x", tools=[TIME], tool_choice={"type": "function", "function": {"name": "other"}}))
    assert refused.value.param == "tool_choice"


async def test_a_json_object() -> None:
    text = await text_of(user("hi", response_format={"type": "json_object"}))
    assert "hi" in json.loads(text)["answer"]


class Leaf(BaseModel):
    colour: str = Field(pattern="^c")
    size: int = Field(ge=3, le=9)
    ratio: float = Field(gt=0.5, lt=2)


class Tree(BaseModel):
    name: str = Field(min_length=12)
    code: str = Field(max_length=3)
    leaves: list[Leaf] = Field(min_length=2)
    left: "Tree | None"
    tags: dict[str, str]
    either: int | str
    flag: bool


async def test_json_of_a_schema_fits_it() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "tree", "schema": Tree.model_json_schema()}}
    text = await text_of(user("hi", response_format=form))
    assert TypeAdapter(Tree).validate_json(text, strict=True).leaves[0].size == 3


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"const": 5}, 5),
        ({"enum": ["a", "b"]}, "a"),
        ({"type": ["null", "integer"]}, 1),
        ({"type": "integer", "exclusiveMinimum": 4, "multipleOf": 5}, 5),
        ({"type": "integer", "maximum": -2}, -2),
        ({"type": "string", "format": "date"}, "2026-01-31"),
        (
            {"allOf": [{"properties": {"a": {"type": "null"}}}, {"properties": {"b": {"const": 1}}}]},
            {"a": None, "b": 1},
        ),
        ({"oneOf": [{"type": "null"}, {"type": "boolean"}]}, True),
        ({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}]}, [1, 2]),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"const": 7}}}, 7),
        ({}, "value"),
    ],
)
def test_an_instance_of_a_schema(schema: dict[str, Any], expected: Any) -> None:
    assert instance(schema) == expected


KEYS = ("type", "properties", "items", "required", "enum", "anyOf", "allOf", "$ref", "minItems", "minimum", "minLength",
        "maxLength", "prefixItems", "multipleOf", "format", "a")  # fmt: skip
WORDS = ("#", "#/a", "object", "array", "integer", "string", "x")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-1e300, 1e300) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=5))
@settings(max_examples=500)
def test_no_schema_is_a_crash(schema: dict[str, Any]) -> None:
    json.dumps(instance(schema))


def test_schemas_without_a_finite_instance_are_bounded() -> None:
    wide = {"type": "object", "properties": {f"p{n}": {"$ref": "#"} for n in range(20)}}
    assert len(json.dumps(instance({**wide, "required": list(wide["properties"])}))) < 10**6
    assert instance({"$ref": "#"}) == "value"


@given(st.text(max_size=200))
def test_the_pieces_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert count(text) == len(list(pieces(text)))


async def test_the_delay_stands_before_each_piece() -> None:
    stream = await make(delay_ms=3_600_000).stream(user("hi"), ROUTE, None)
    reading = asyncio.create_task(anext(stream))
    await asyncio.wait({reading}, timeout=0.05)
    assert not reading.done()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
