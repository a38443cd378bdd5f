"""Sampling, forms and thinking as they reach the API. Every body here has passed the strict rules."""

from typing import Any

import pytest

from gateway_core.errors import InvalidRequest
from gateway_core.testing.provider_suite import WEATHER

Sent = Any
OLD, MIDDLE, NEW = "gemini-2.0-flash", "gemini-2.5-flash", "gemini-3.8-flash"


def config(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body.get("generationConfig", {})
    return found


# ---------------------------------------------------------------- sampling


@pytest.mark.parametrize(
    ("asked", "limit", "expected"),
    [
        ({}, None, None),
        ({"max_tokens": 5}, None, 5),
        ({"max_completion_tokens": 6}, None, 6),
        ({"max_tokens": 5, "max_completion_tokens": 6}, None, 6),
        ({"max_tokens": None, "max_completion_tokens": None}, None, None),
        ({"max_tokens": 5}, 3, 3),
        ({}, 3, 3),
    ],
)
def test_S1_the_output_limit_arrives(sent: Sent, asked: dict[str, Any], limit: int | None, expected: Any) -> None:
    assert config(sent(limit=limit, **asked)).get("maxOutputTokens") == expected


def test_S1_without_a_limit_there_is_what_was_held(sent: Sent) -> None:
    assert config(sent(given={"held": 16_384})) == {"maxOutputTokens": 16_384}
    assert config(sent(given={"held": 16_384}, max_tokens=5)) == {"maxOutputTokens": 5}
    assert config(sent(given={"held": 16_384}, limit=3)) == {"maxOutputTokens": 3}


@pytest.mark.parametrize("temperature", [0, 0.7, 1, 2])
def test_S2_temperature_and_top_p_arrive_zero_too(sent: Sent, temperature: float) -> None:
    assert config(sent(temperature=temperature, top_p=0)) == {"temperature": temperature, "topP": 0}


def test_O10_alternatives_of_probabilities_that_are_not_asked_for_are_refused(sent: Sent) -> None:
    with pytest.raises(InvalidRequest, match="logprobs") as refused:
        sent(top_logprobs=3)
    assert refused.value.param == "top_logprobs"
    assert config(sent(top_logprobs=0)) == {}


@pytest.mark.parametrize(("asked", "sent_on"), [(2, 1.9999), (2.0, 1.9999), (1.5, 1.5), (0, 0), (-2, -2)])
def test_S6_the_highest_penalty_is_one_that_google_takes(sent: Sent, asked: float, sent_on: float) -> None:
    penalties = {"presencePenalty": sent_on, "frequencyPenalty": sent_on}
    assert config(sent(presence_penalty=asked, frequency_penalty=asked)) == penalties


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("END", ["END"]),
        (["a", "b"], ["a", "b"]),
        ([], None),
        ("", None),
        (["", "x"], ["x"]),
        (["\n"], ["\n"]),
        (None, None),
    ],
)
def test_S4_stop_is_a_list(sent: Sent, stop: Any, expected: Any) -> None:
    assert config(sent(stop=stop)).get("stopSequences") == expected


def test_S4_more_stops_than_the_api_takes_are_refused(sent: Sent) -> None:
    assert len(config(sent(stop=list("abcde")))["stopSequences"]) == 5
    with pytest.raises(InvalidRequest, match="asked-for takes at most 5") as refused:
        sent(stop=list("abcdef"))
    assert refused.value.param == "stop"


def test_S5_who_the_user_is_stays_here(sent: Sent) -> None:
    assert sent(user="ann@example.com", metadata={"a": "b"}) == sent()


def test_S6_seed_and_penalties_arrive(sent: Sent) -> None:
    body = sent(seed=7, presence_penalty=-0.5, frequency_penalty=0.25)
    assert config(body) == {"seed": 7, "presencePenalty": -0.5, "frequencyPenalty": 0.25}


@pytest.mark.parametrize("seed", [2**31, -(2**31) - 1, 2**63 - 1, 0])
def test_S6_a_seed_of_any_size_is_one(sent: Sent, seed: int) -> None:
    assert config(sent(seed=seed))["seed"] == config(sent(seed=seed))["seed"]


HINTS = {
    "logit_bias": {"5": 1}, "store": True, "service_tier": "default", "metadata": {"a": "b"}, "user": "u",
    "prediction": {"type": "content", "content": "x"}, "modalities": ["text"], "verbosity": "low",
    "stream_options": {"include_usage": True}, "stream": True, "safety_identifier": "x", "prompt_cache_key": "k",
}  # fmt: skip


def test_S6_pure_hints_are_left_out(sent: Sent) -> None:
    assert sent(**HINTS) == sent()


def test_S6_null_is_absent(sent: Sent) -> None:
    names = [
        "temperature", "top_p", "max_tokens", "stop", "seed", "presence_penalty", "tools", "tool_choice", "n",
        "response_format", "reasoning_effort", "logprobs", "top_logprobs", "functions", "modalities", "extra_body",
    ]  # fmt: skip
    assert sent(**dict.fromkeys(names)) == sent()


def test_S6_fields_that_a_model_refuses_can_be_left_out_by_configuration(sent: Sent) -> None:
    body = sent(presence_penalty=1, temperature=1, overrides={"omit": ["presencePenalty"]})
    assert config(body) == {"temperature": 1}


def test_S7_unknown_fields_stay_here_but_for_top_k(sent: Sent) -> None:
    assert sent(top_k=40, guided_json={}, chat_template_kwargs={"a": 1}) == {**sent(), "generationConfig": {"topK": 40}}


@pytest.mark.parametrize("to", [OLD, MIDDLE, NEW])
def test_O9_several_answers_are_asked_for(sent: Sent, to: str) -> None:
    assert config(sent(to, n=3))["candidateCount"] == 3
    assert "candidateCount" not in config(sent(to, n=1))


def test_O9_more_answers_than_the_model_gives_are_refused(sent: Sent) -> None:
    with pytest.raises(InvalidRequest, match="asked-for gives at most 8") as refused:
        sent(n=9)
    assert refused.value.param == "n"


def test_O10_logprobs_are_asked_for(sent: Sent) -> None:
    assert config(sent(logprobs=True, top_logprobs=3)) == {"responseLogprobs": True, "logprobs": 3}
    assert config(sent(logprobs=True)) == {"responseLogprobs": True}
    assert config(sent(logprobs=False)) == {}
    with pytest.raises(InvalidRequest) as refused:
        sent(logprobs=True, overrides={"logprobs": False})
    assert refused.value.param == "logprobs"


# ---------------------------------------------------------------- forms


SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": ["integer", "null"], "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
STRICT = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}


def test_F1_a_schema_is_demanded(sent: Sent) -> None:
    for to in (MIDDLE, NEW):
        expected = {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
        assert config(sent(to, response_format=STRICT)) == expected
    assert config(sent(OLD, response_format=STRICT)) == {
        "responseMimeType": "application/json",
        "responseSchema": {
            "type": "OBJECT",
            "properties": {"name": {"type": "STRING"}, "age": {"type": "INTEGER", "minimum": 0, "nullable": True}},
            "required": ["name", "age"],
        },
    }


def test_F2_json_is_demanded(sent: Sent) -> None:
    assert config(sent(response_format={"type": "json_object"})) == {"responseMimeType": "application/json"}
    assert config(sent(response_format={"type": "text"})) == {}


def test_F3_a_schema_and_tools_together(sent: Sent) -> None:
    body = sent(NEW, response_format=STRICT, tools=[WEATHER])
    assert config(body)["responseJsonSchema"] == SCHEMA
    assert body["tools"]


@pytest.mark.parametrize("form", [STRICT, {"type": "json_object"}])
def test_F3_where_they_exclude_each_other_the_model_is_told_of_the_schema(sent: Sent, form: dict[str, Any]) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    for to in (OLD, MIDDLE):
        body = sent(to, response_format=form, tools=[WEATHER], messages=messages)
        assert config(body) == {}
        first, told = body["systemInstruction"]["parts"]
        assert first == {"text": "Be brief."}
        assert "JSON" in told["text"]
        assert ('"minimum": 0' in told["text"]) == (form is STRICT)


@pytest.mark.parametrize("schema", [{}, None, {"type": "object"}, {"properties": {"a": {}}}])
def test_F3_loose_schemas_work(sent: Sent, schema: Any) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": False}}
    for to in (OLD, MIDDLE, NEW):
        assert config(sent(to, response_format=form))["responseMimeType"] == "application/json"


def test_F1_a_form_that_nobody_knows_is_refused(sent: Sent) -> None:
    with pytest.raises(InvalidRequest) as refused:
        sent(response_format={"type": "grammar"})
    assert refused.value.param == "response_format.type"


# ---------------------------------------------------------------- thinking


BUDGETED = ["gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.5-flash-preview-09-2025"]
LEVELLED = [
    "gemini-3-pro-preview", "gemini-3.1-pro-preview", "gemini-3-flash-preview", "gemini-3.1-flash-lite",
    "gemini-3.5-flash", "gemini-3.6-flash", "gemini-3.7-flash", "gemini-3.8-flash", "models/gemini-3.8-flash",
]  # fmt: skip


def thinking(sent: Sent, to: str, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = config(sent(to.removeprefix("models/"), **fields)).get("thinkingConfig", {})
    return found


@pytest.mark.parametrize("to", BUDGETED)
def test_R1_effort_is_a_budget_that_grows(sent: Sent, to: str) -> None:
    budgets = [thinking(sent, to, reasoning_effort=effort)["thinkingBudget"] for effort in ("low", "medium", "high")]
    assert budgets == sorted(set(budgets))
    none = thinking(sent, to, reasoning_effort="none")["thinkingBudget"]
    assert none == (128 if to.endswith("pro") else 0)
    assert none <= thinking(sent, to, reasoning_effort="minimal")["thinkingBudget"] < budgets[0]


@pytest.mark.parametrize("to", LEVELLED)
def test_R3_newer_models_have_levels_and_no_budget(sent: Sent, to: str) -> None:
    levels = [thinking(sent, to, reasoning_effort=one) for one in ("none", "minimal", "low", "medium", "high", "xhigh")]
    assert all(list(level) == ["thinkingLevel"] for level in levels)
    assert levels[2] == {"thinkingLevel": "LOW"}
    assert levels[4] == levels[5] == {"thinkingLevel": "HIGH"}


@pytest.mark.parametrize("to", ["gemini-1.5-flash", "gemini-2.0-flash", "gemma-3-27b-it"])
def test_R1_models_that_do_not_think_are_not_asked_to(sent: Sent, to: str) -> None:
    assert "generationConfig" not in sent(to, reasoning_effort="high", given={"include_thoughts": True})


def test_R1_an_effort_that_nobody_knows_is_refused(sent: Sent) -> None:
    with pytest.raises(InvalidRequest, match="reasoning_effort of asked-for must be one of none, ") as refused:
        sent(reasoning_effort="very")
    assert refused.value.param == "reasoning_effort"


def test_R5_thoughts_are_asked_for_where_there_are_any(sent: Sent) -> None:
    tell = {"include_thoughts": True}
    assert thinking(sent, MIDDLE, given=tell) == {"includeThoughts": True}
    assert thinking(sent, MIDDLE, given=tell, reasoning_effort="none") == {"thinkingBudget": 0}
    assert thinking(sent, MIDDLE) == {}


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({"thinking_budget": 300}, {"thinkingBudget": 300}),
        ({"thinking_level": "high"}, {"thinkingLevel": "HIGH"}),
        ({"include_thoughts": True}, {"thinkingLevel": "LOW", "includeThoughts": True}),
        ({"include_thoughts": False}, {"thinkingLevel": "LOW", "includeThoughts": False}),
        ({}, {"thinkingLevel": "LOW"}),
        (5, {"thinkingLevel": "LOW"}),
    ],
)
def test_R3_googles_own_words_come_first(sent: Sent, own: Any, expected: dict[str, Any]) -> None:
    extra = {"google": {"thinking_config": own}}
    assert thinking(sent, NEW, reasoning_effort="low", extra_body=extra) == expected


@pytest.mark.parametrize(
    ("own", "param"),
    [
        ({"thinking_budget": 1, "thinking_level": "low"}, ""),
        ({"thinking_budget": "1"}, ".thinking_budget"),
        ({"thinking_budget": True}, ".thinking_budget"),
        ({"thinking_level": 1}, ".thinking_level"),
    ],
)
def test_R3_what_cannot_be_meant_is_refused(sent: Sent, own: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        sent(NEW, extra_body={"google": {"thinking_config": own}})
    assert refused.value.param == f"extra_body.google.thinking_config{param}"


def test_safety_is_as_configured(sent: Sent) -> None:
    body = sent(given={"safety": {"HARM_CATEGORY_HARASSMENT": "BLOCK_NONE"}})
    assert body["safetySettings"] == [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]


ANSWER_FORM = {
    "type": "json_schema",
    "json_schema": {"name": "a", "schema": {"type": "object", "properties": {"a": {}}}},
}


@pytest.mark.parametrize("to", [OLD, MIDDLE])
def test_F3_tools_that_may_not_be_called_do_not_loosen_the_form(sent: Sent, to: str) -> None:
    body = sent(to, tools=[WEATHER], tool_choice="none", response_format=ANSWER_FORM)
    assert config(body)["responseMimeType"] == "application/json"
    assert "tools" not in body
    assert "toolConfig" not in body
    assert "tools" in sent(to, tools=[WEATHER], tool_choice="none")
    assert "tools" in sent(NEW, tools=[WEATHER], tool_choice="none", response_format=ANSWER_FORM)


def test_F3_an_object_of_any_kind_is_a_form(sent: Sent) -> None:
    """The old dialect has no object without properties."""
    loose = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    assert config(sent(OLD, response_format=loose)) == {"responseMimeType": "application/json"}
