"""What the other fields become: S sampling and limits, F formats, R reasoning."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from spl_provider_anthropic.messages import recalled_ids
from spl_provider_anthropic.models import TABLE, ModelRules
from spl_provider_anthropic.reasoning import BUDGETS

from gateway_core.testing.anthropic_rules import signature_of

Sent = Callable[..., dict[str, Any]]
Refused = Callable[..., str | None]

OLD, SONNET, ADAPTIVE, BARE, ASKED, ALWAYS = (
    "claude-3-5-haiku", "claude-sonnet-4-5", "claude-opus-4-6", "claude-opus-4-7", "claude-opus-5", "claude-opus-5-5",
)  # fmt: skip
USER = {"role": "user", "content": "Hello"}


def tool(name: str = "f") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


# ---------------------------------------------------------------- S


@pytest.mark.parametrize(
    ("model", "asked", "limit", "sent_limit"),
    [
        (SONNET, {}, None, 64_000),
        (OLD, {}, None, 8_192),
        ("claude-3-haiku-20240307", {}, None, 4_096),
        ("some-server/claude", {}, None, 8_192),
        (SONNET, {"max_tokens": 5}, None, 5),
        (SONNET, {"max_completion_tokens": 6}, None, 6),
        (SONNET, {"max_tokens": 5, "max_completion_tokens": 6}, None, 6),
        (SONNET, {"max_tokens": None, "max_completion_tokens": None}, None, 64_000),
        (SONNET, {"max_tokens": 5}, 3, 3),
        (OLD, {"max_tokens": 100_000}, None, 8_192),
        ("some-server/claude", {"max_tokens": 100_000}, None, 100_000),
    ],
)
def test_S1_the_limit_that_the_api_demands(
    sent: Sent, model: str, asked: Any, limit: int | None, sent_limit: int
) -> None:
    assert sent(model, {"limit": limit}, **asked)["max_tokens"] == sent_limit


@pytest.mark.parametrize(("held", "sent_limit"), [(16_384, 16_384), (200_000, 64_000)])
def test_S1_a_default_is_no_more_than_was_held(sent: Sent, held: int, sent_limit: int) -> None:
    assert sent(SONNET, {"held": held})["max_tokens"] == sent_limit
    assert sent(SONNET, {"held": held}, max_tokens=20_000)["max_tokens"] == 20_000


@pytest.mark.parametrize(
    ("model", "asked", "made"),
    [
        (SONNET, {"temperature": 0}, {"temperature": 0}),
        (SONNET, {"temperature": 0.7}, {"temperature": 0.7}),
        (SONNET, {"temperature": 1.6}, {"temperature": 1}),
        (SONNET, {"top_p": 0.2}, {"top_p": 0.2}),
        (SONNET, {"top_p": 0}, {"top_p": 0}),
        (OLD, {"temperature": 0, "top_p": 0.5, "top_k": 7}, {"temperature": 0, "top_p": 0.5, "top_k": 7}),
        (OLD, {"temperature": None, "top_p": None, "top_k": None}, {}),
    ],
)
def test_S2_sampling_is_not_lost(sent: Sent, model: str, asked: Any, made: Any) -> None:
    assert sampling_of(sent(model, **asked)) == made


@pytest.mark.parametrize(
    ("model", "asked", "made"),
    [
        (SONNET, {"temperature": 0.3, "top_p": 1}, {"temperature": 0.3}),
        (SONNET, {"temperature": 0.3, "top_p": 0.5}, {"temperature": 0.3}),
        (SONNET, {"temperature": 1, "top_p": 0.5}, {"top_p": 0.5}),
        (BARE, {"temperature": 0, "top_p": 0.5, "top_k": 3}, {}),
        (ALWAYS, {"temperature": 0}, {}),
    ],
)
def test_S3_what_a_model_refuses_is_left_out(sent: Sent, model: str, asked: Any, made: Any) -> None:
    assert sampling_of(sent(model, **asked)) == made


def test_S3_a_version_of_the_api_without_sampling() -> None:
    assert ModelRules({}, sampling=False).of(SONNET).sampling == "none"


def sampling_of(body: dict[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in ("temperature", "top_p", "top_k") if name in body}


@pytest.mark.parametrize(
    ("stop", "made"),
    [("END", ["END"]), (["a", "b", "a"], ["a", "b"]), (["\n", "", " "], None), (["\n", "x\n"], ["x\n"]), (None, None),
     ([], None)],
)  # fmt: skip
def test_S4_stop_is_a_list_of_what_can_be_met(sent: Sent, stop: Any, made: Any) -> None:
    assert sent(stop=stop).get("stop_sequences") == made


def test_S5_the_user_is_an_opaque_id(sent: Sent) -> None:
    assert sent(user="u-17", metadata={"a": "b"})["metadata"] == {"user_id": "u-17"}
    for user in ("ann@example.com", "x" * 300, "+44 20 7946 0958"):
        made = sent(user=user)["metadata"]["user_id"]
        assert len(made) == 64
        assert made != sent(user=user + "x")["metadata"]["user_id"]
    assert sent(safety_identifier="s-1")["metadata"] == {"user_id": "s-1"}
    assert "metadata" not in sent(user=" ", metadata={"user_id": "b"})


HINTS = {
    "seed": 1, "presence_penalty": 0.5, "frequency_penalty": -0.5, "logit_bias": {"5": 1}, "store": True,
    "service_tier": "auto", "metadata": {"a": "b"}, "prediction": {"type": "content", "content": "x"},
    "modalities": ["text"], "verbosity": "low", "logprobs": False, "prompt_cache_key": "k", "n": 1,
}  # fmt: skip


def test_S6_hints_stay_behind_and_null_is_absent(sent: Sent) -> None:
    plain = sent()
    assert sent(**HINTS) == plain
    names = (
        *HINTS,
        "temperature",
        "top_p",
        "stop",
        "tools",
        "tool_choice",
        "response_format",
        "reasoning_effort",
        "user",
    )
    assert sent(**dict.fromkeys(names), max_tokens=None) == plain
    assert sent(tools=[], functions=[]) == plain


@pytest.mark.parametrize(
    "fields",
    [{"logprobs": True}, {"top_logprobs": 2}, {"modalities": ["text", "audio"]}, {"web_search_options": {}}],
)
def test_S6_what_is_more_than_a_hint_is_refused(refused: Refused, fields: Any) -> None:
    assert refused(**fields) in fields


def test_S7_an_unknown_field_stays_behind(sent: Sent) -> None:
    assert sent(chat_template_kwargs={"a": 1}, guided_json={}, min_p=0.1) == sent()
    assert sent(top_k=40)["top_k"] == 40
    assert "top_k" not in sent(top_k=0)
    assert "top_k" not in sent(top_k="many")


# ---------------------------------------------------------------- F

SCHEMA = {
    "type": "object",
    "title": "T",
    "properties": {
        "n": {"type": "integer", "minimum": 0, "maximum": 9, "description": "how many"},
        "s": {"type": ["string", "null"], "maxLength": 5, "format": "date"},
        "k": {"oneOf": [{"type": "string", "pattern": "a+"}, {"const": 7}]},
        "l": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2},
        "m": {"type": "array", "items": {"$ref": "#/definitions/P"}, "minItems": 1},
    },
    "required": ["n", "s"],
    "definitions": {"P": {"type": "object", "properties": {"x": {"type": "number", "multipleOf": 2}}}},
}


def formatted(schema: Any, **more: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, **more}}}


def test_F1_a_schema_is_the_models_own_where_it_has_that(sent: Sent) -> None:
    body = sent(SONNET, **formatted(SCHEMA, strict=True))
    assert "tools" not in body
    assert body["output_config"]["format"]["type"] == "json_schema"
    assert body["output_config"]["format"]["schema"] == {
        "$defs": {"P": {"type": "object", "properties": {"x": {"type": "number", "description": "{multipleOf: 2}"}},
                        "additionalProperties": False}},
        "type": "object",
        "title": "T",
        "properties": {
            "n": {"type": "integer", "description": "how many\n\n{minimum: 0, maximum: 9}"},
            "s": {"anyOf": [{"type": "string", "format": "date", "description": "{maxLength: 5}"}, {"type": "null"}]},
            "k": {"anyOf": [{"type": "string", "description": '{pattern: "a+"}'}, {"const": 7}]},
            "l": {"type": "array", "items": {"enum": ["a", "b"]}, "description": "{minItems: 2}"},
            "m": {"type": "array", "items": {"$ref": "#/$defs/P"}, "minItems": 1},
        },
        "required": ["n", "s"],
        "additionalProperties": False,
    }  # fmt: skip


def test_F1_else_a_tool_is_called_for_it(sent: Sent) -> None:
    body = sent(OLD, **formatted(SCHEMA, description="an answer"))
    assert body["tool_choice"] == {"type": "tool", "name": "answer_as_json", "disable_parallel_tool_use": True}
    (made,) = body["tools"]
    assert made["input_schema"]["required"] == ["n", "s"]
    assert "an answer" in made["description"]


LOOSE = [
    {"type": "object", "additionalProperties": {"type": "string"}},
    {"type": "object", "properties": {"a": {}}},
    {"type": "object", "properties": {"a": {"type": "object"}}},
    {"type": "object", "properties": {"a": {"type": "array"}}},
    {"type": "object", "properties": {"a": True}},
    {"type": "object", "properties": {"n": {"$ref": "#"}}},
    {"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}},
     "$defs": {"N": {"type": "object", "properties": {"m": {"$ref": "#/$defs/M"}}},
               "M": {"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}}}},
    {"type": "object", "properties": {"n": {"$ref": "#/properties/m"}, "m": {"type": "string"}}},
    {"type": "object", "properties": {"n": {"allOf": [
        {"type": "object", "properties": {"a": {"type": "string"}}},
        {"type": "object", "properties": {"b": {"type": "string"}}},
    ]}}},
    {"type": "object", "properties": {f"a{at}": {"type": "string"} for at in range(25)}},
    {"type": "object", "properties": {"a": {"enum": [{"b": 1}, [2]]}}},
    {"type": "object", "properties": {"a": {"const": {"b": 1}}}},
    {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a", "b"]},
    {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}},
     "$defs": {"A": {"type": "string"}}, "definitions": {"A": {"type": "integer"}}},
    {"type": "object", "properties": {f"a{at}": {"type": ["string", "null"]} for at in range(17)},
     "required": [f"a{at}" for at in range(17)]},
]  # fmt: skip


@pytest.mark.parametrize("schema", LOOSE)
def test_F3_a_schema_that_cannot_be_closed_keeps_what_it_allows(sent: Sent, schema: Any) -> None:
    body = sent(SONNET, **formatted(schema))
    assert body["tool_choice"]["name"] == "answer_as_json"
    assert "output_config" not in body
    for model in (ALWAYS, "claude-sonnet-5-5"):
        told = sent(model, **formatted(schema))
        assert "tools" not in told
        assert told["messages"][-1]["content"][-1]["text"].endswith(json.dumps(schema, separators=(",", ":")))


def test_F1_one_of_all_of_is_what_it_is(sent: Sent) -> None:
    """As pydantic wrote a field that is a model and has a description: the API takes no reference in `allOf`."""
    model = {"type": "object", "properties": {"y": {"type": "string"}}, "required": ["y"]}
    fields = {"x": {"allOf": [{"$ref": "#/$defs/P"}], "description": "d"}, "y": {"title": "Y", "allOf": [model]}}
    body = sent(SONNET, **formatted({"type": "object", "properties": fields, "$defs": {"P": model}}))
    assert body["output_config"]["format"]["schema"]["properties"] == {
        "x": {"$ref": "#/$defs/P"},
        "y": {**model, "title": "Y", "additionalProperties": False},
    }


def test_F1_definitions_of_both_names_are_kept(sent: Sent) -> None:
    fields = {"a": {"$ref": "#/definitions/A"}, "b": {"$ref": "#/$defs/B"}}
    defs = {"definitions": {"A": {"type": "string"}}, "$defs": {"B": {"type": "integer"}}}
    body = sent(SONNET, **formatted({"type": "object", "properties": fields, "required": ["a", "a"], **defs}))
    made = body["output_config"]["format"]["schema"]
    assert made["$defs"] == {"A": {"type": "string"}, "B": {"type": "integer"}}
    assert made["properties"]["a"] == {"$ref": "#/$defs/A"}
    assert made["required"] == ["a"]


def test_F1_fields_whose_names_no_tool_may_have_are_told(sent: Sent) -> None:
    body = sent(OLD, **formatted({"type": "object", "properties": {"größe": {"type": "string"}}}))
    assert "tools" not in body
    assert "größe" in body["messages"][-1]["content"][-1]["text"]


def test_F3_what_is_no_object_is_told(sent: Sent) -> None:
    for schema in ({"type": "array", "items": {"type": "object"}}, {"type": "string", "$ref": "#/x"}):
        assert "tools" not in sent(OLD, **formatted(schema))
    named = {"tools": [tool()], "tool_choice": tool()}
    body = sent(OLD, **formatted(SCHEMA), **named)
    assert body["tool_choice"] == {"type": "tool", "name": "f"}
    assert "JSON schema" in body["messages"][-1]["content"][-1]["text"]


def test_F2_json_object_is_told(sent: Sent) -> None:
    for form in ({"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "x"}}):
        body = sent(response_format=form)
        assert "one valid JSON object" in body["messages"][-1]["content"][-1]["text"]
        assert body["messages"][-1]["content"][0] == {"type": "text", "text": "Hello"}
    assert sent(response_format={"type": "text"}) == sent()


def test_F3_tools_stay_callable_beside_a_schema(sent: Sent) -> None:
    native = sent(SONNET, tools=[tool()], **formatted(SCHEMA))
    assert [one["name"] for one in native["tools"]] == ["f"]
    assert "tool_choice" not in native
    beside = sent(OLD, tools=[tool(), tool("answer_as_json")], parallel_tool_calls=False, **formatted(SCHEMA))
    assert [one["name"] for one in beside["tools"]] == ["f", "answer_as_json", "answer_as_json_0"]
    assert beside["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
    none = sent(OLD, tools=[tool()], tool_choice="none", **formatted(SCHEMA))
    assert none["tool_choice"]["name"] == "answer_as_json"


def test_F1_another_kind_of_format_is_refused(refused: Refused) -> None:
    assert refused(response_format={"type": "grammar"}) == "response_format.type"


# ---------------------------------------------------------------- R

EFFORTS = ("minimal", "low", "medium", "high")


def test_R1_effort_is_a_budget_that_grows(sent: Sent) -> None:
    budgets = [sent(reasoning_effort=effort)["thinking"]["budget_tokens"] for effort in EFFORTS]
    assert budgets == sorted(set(budgets)) == [BUDGETS[effort] for effort in EFFORTS]
    assert budgets[0] == 1024
    assert "thinking" not in sent(reasoning_effort="none")
    assert "thinking" not in sent()


def test_R1_a_model_that_cannot_think_is_not_asked_to(sent: Sent) -> None:
    assert sent(OLD, reasoning_effort="high") == sent(OLD)


def test_R1_an_effort_that_nobody_knows_is_refused(refused: Refused) -> None:
    for effort in ("some", 7):
        assert refused(reasoning_effort=str(effort)) == "reasoning_effort"


@pytest.mark.parametrize(
    ("limit", "thinking"),
    [
        (500, None),
        (1024, None),
        (1500, None),
        (2048, 1024),
        (4096, 3072),
        (20_000, 15_000),
        (60_000, 16_384),
    ],
)
def test_R2_a_budget_leaves_room_for_the_answer(sent: Sent, limit: int, thinking: int | None) -> None:
    body = sent(reasoning_effort="high", max_tokens=limit)
    assert (body.get("thinking") or {}).get("budget_tokens") == thinking
    assert body["max_tokens"] == limit


def test_R2_what_does_not_go_with_thinking_is_left_out(sent: Sent) -> None:
    for model in (SONNET, ADAPTIVE):
        body = sent(model, reasoning_effort="low", temperature=0, top_p=0.5, top_k=5)
        assert sampling_of(body) == {}
        assert sampling_of(sent(model, reasoning_effort="low", top_p=0.97)) == {"top_p": 0.97}
        assert sampling_of(sent(model, reasoning_effort="none", temperature=0)) == {"temperature": 0}


@pytest.mark.parametrize("choice", ["required", tool()])
def test_R2_a_tool_that_must_be_called_comes_before_thinking(sent: Sent, choice: Any) -> None:
    for model in (SONNET, ADAPTIVE, BARE):
        body = sent(model, reasoning_effort="high", tools=[tool()], tool_choice=choice)
        assert body["tool_choice"]["type"] in ("any", "tool")
        assert "thinking" not in body
    assert sent(ASKED, tools=[tool()], tool_choice=choice)["thinking"] == {"type": "disabled"}
    assert "thinking" not in sent("claude-3-7-sonnet-x", reasoning_effort="high", **formatted(SCHEMA))


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "made"),
    [
        (ADAPTIVE, "minimal", {"type": "adaptive"}, "low"),
        (ADAPTIVE, "high", {"type": "adaptive"}, "high"),
        (ADAPTIVE, "xhigh", {"type": "adaptive"}, "high"),
        (ADAPTIVE, "max", {"type": "adaptive"}, "max"),
        (ADAPTIVE, "none", None, None),
        (ADAPTIVE, None, None, None),
        (BARE, "xhigh", {"type": "adaptive", "display": "summarized"}, "xhigh"),
        (BARE, "none", None, None),
        (ASKED, None, None, None),
        (ASKED, "none", {"type": "disabled"}, None),
        (ASKED, "medium", {"type": "adaptive", "display": "summarized"}, "medium"),
        ("claude-sonnet-5-5", "none", {"type": "between_tools"}, None),
        (ALWAYS, "none", None, "low"),
        (ALWAYS, "low", {"type": "adaptive", "display": "summarized"}, "low"),
        ("claude-haiku-4-5", "low", {"type": "enabled", "budget_tokens": 2048}, None),
    ],
)
def test_R3_each_model_is_asked_in_its_way(sent: Sent, model: str, effort: Any, thinking: Any, made: Any) -> None:
    body = sent(model, reasoning_effort=effort)
    assert body.get("thinking") == thinking
    assert (body.get("output_config") or {}).get("effort") == made


def test_R3_every_model_of_the_table_takes_every_effort(sent: Sent) -> None:
    for pattern, _ in TABLE:
        name = pattern.strip("*").replace("[1-9]", "1").replace("4-2", "4-20250514")
        model = {"": "other", "claude-": "claude-opus-6"}.get(name, name)
        for effort in (None, "none", *EFFORTS, "xhigh", "max"):
            for more in ({}, {"tools": [tool()], "tool_choice": "required"}, formatted(SCHEMA), {"max_tokens": 900}):
                sent(model, reasoning_effort=effort, temperature=0.5, top_p=0.9, **more)


def thought(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": signature_of(text)}


CALLED = {"role": "assistant", "content": "so", "tool_calls": [
    {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
    {"id": "b", "type": "function", "function": {"name": "f", "arguments": ""}}]}  # fmt: skip
DONE = [{"role": "tool", "tool_call_id": one, "content": "1"} for one in "ab"]
KINDS = ["thinking", "text", "tool_use", "thinking", "tool_use"]


def kinds(body: dict[str, Any], at: int = 1) -> list[str]:
    return [block["type"] for block in body["messages"][at]["content"]]


@pytest.mark.parametrize("model", [SONNET, ADAPTIVE, BARE, ALWAYS])
def test_R4_thinking_that_was_kept_is_given_back(sent: Sent, model: str) -> None:
    options = {"thoughts": {"a": [thought("x")], "b": [thought("y")]}}
    body = sent(model, options, messages=[USER, CALLED, *DONE], reasoning_effort="low")
    assert kinds(body) == KINDS
    assert body["thinking"]["type"] in ("enabled", "adaptive")


def test_R4_thinking_that_is_lost_is_switched_off_for_the_call(sent: Sent) -> None:
    for options in ({}, {"thoughts": {"b": [thought("y")]}}):
        body = sent(SONNET, options, messages=[USER, CALLED, *DONE], reasoning_effort="low", temperature=0.5)
        assert "thinking" not in body
        assert kinds(body) == ["text", "tool_use", "tool_use"]
        assert body["temperature"] == 0.5


def test_R4_a_model_that_thinks_by_itself_goes_on_without_it(sent: Sent) -> None:
    body = sent(ADAPTIVE, messages=[USER, CALLED, *DONE], reasoning_effort="low")
    assert body["thinking"] == {"type": "adaptive"}


def test_R4_a_loop_that_is_over_needs_no_thinking(sent: Sent) -> None:
    messages = [USER, CALLED, *DONE, {"role": "assistant", "content": "done"}, USER]
    assert sent(messages=messages, reasoning_effort="low")["thinking"]["type"] == "enabled"


def called(*ids: str) -> list[dict[str, Any]]:
    calls = [{"id": one, "type": "function", "function": {"name": "f", "arguments": ""}} for one in ids]
    return [
        {"role": "assistant", "tool_calls": calls},
        *({"role": "tool", "tool_call_id": one, "content": "1"} for one in ids),
    ]


SAID = {"role": "assistant", "content": "done"}


@pytest.mark.parametrize(
    ("messages", "ids"),
    [
        ([USER], []),
        ([USER, *called("a", "b")], ["a", "b"]),
        ([USER, *called("a"), *called("b")], ["b", "a"]),
        ([USER, *called("a"), USER, {"role": "system", "content": "x"}], ["a"]),
        ([USER, *called("a"), USER, *called("b")], ["b", "a"]),
        ([USER, *called("a"), SAID, USER], []),
        ([USER, *called("a"), SAID, USER, *called("b")], ["b"]),
        ([USER, *called("a"), SAID], []),
        ([USER, {**called("a")[0], "thinking_blocks": [thought("x")]}, called("a")[1]], []),
    ],
)
def test_R4_what_is_recalled_is_the_thinking_of_the_loop(messages: Any, ids: list[str]) -> None:
    assert recalled_ids(messages) == ids


@pytest.mark.parametrize("model", [SONNET, ADAPTIVE])
def test_R4_what_the_client_gives_back_counts(sent: Sent, model: str) -> None:
    given = [
        {**thought("x"), "index": 0, "extra": 1},
        {"type": "redacted_thinking", "data": "redacted", "index": 1},
        {"type": "thinking", "thinking": "without a signature"},
        {"type": "thinking", "thinking": 7, "signature": "s"},
        "odd",
    ]
    message = {**CALLED, "thinking_blocks": given, "reasoning_content": "x"}
    options = {"thoughts": {"a": [thought("other")]}}
    body = sent(model, options, messages=[USER, message, *DONE], reasoning_effort="low")
    assert kinds(body) == ["thinking", "redacted_thinking", "text", "tool_use", "tool_use"]
    assert body["messages"][1]["content"][0] == thought("x")
    off = sent(model, options, messages=[USER, message, *DONE])
    assert kinds(off) == ["text", "tool_use", "tool_use"]
    assert kinds(sent(model, {"think": False}, messages=[USER, message, *DONE], reasoning_effort="low"))[0] == "text"
