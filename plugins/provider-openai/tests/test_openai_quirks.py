"""What differs by model is said by patterns, the nearest first; and each quirk does what it is for."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as tried
from hypothesis import strategies as st
from spl_provider_openai.quirks import FOREIGN, ModelQuirks, Quirks
from spl_provider_openai.request import encode_request
from spl_provider_openai.settings import OpenAISettings

from gateway_core.wire.chat import decode_request

MARK = {"type": "ephemeral"}


def settings(**fields: Any) -> OpenAISettings:
    """As a configuration would say it."""
    return msgspec.convert(fields, OpenAISettings)


def sent(settings: OpenAISettings, model: str, *, stream: bool = False, **fields: Any) -> dict[str, Any]:
    body = {"model": "asked", "messages": [{"role": "user", "content": "Hello"}], **fields}
    request = decode_request(json.dumps(body).encode())
    made: dict[str, Any] = json.loads(encode_request(request, model, None, settings.quirks(model), stream=stream))
    assert request.body == body
    return made


@pytest.mark.parametrize(
    ("model", "limit", "mark"),
    [
        ("gpt-4o", None, "strip"),
        ("chatgpt-4o-latest", None, "strip"),
        ("o1", "max_completion_tokens", "strip"),
        ("o4-mini", "max_completion_tokens", "strip"),
        ("openai/o3", "max_completion_tokens", "strip"),
        ("ft:gpt-5-mini:acme::1", "max_completion_tokens", "strip"),
        ("gpt-5.1-codex", "max_completion_tokens", "strip"),
        ("olmo-2", None, "keep"),
        ("llama-3", None, "keep"),
        ("anthropic/claude-sonnet-4-5", None, "keep"),
    ],
)
def test_what_is_known_of_openais_own_models(model: str, limit: str | None, mark: str) -> None:
    assert settings().quirks(model) == Quirks(
        limit_field=limit,  # type: ignore[arg-type]  # a literal in the table above
        developer_role="keep",
        foreign_fields=mark,  # type: ignore[arg-type]  # as above
        stream_usage=True,
        omit=frozenset(),
    )


def test_the_first_pattern_that_says_something_decides() -> None:
    given = settings(
        limit_field="max_tokens",
        omit=["store"],
        models={
            "o3-mini*": {"limit_field": "auto"},
            "o3*": {"limit_field": "max_completion_tokens", "omit": [], "developer_role": "system"},
            "*": {"stream_usage": False, "foreign_fields": "keep"},
        },
    )
    assert given.quirks("o3-mini") == Quirks("max_completion_tokens", "system", "keep", False, frozenset())
    assert given.quirks("llama") == Quirks("max_tokens", "keep", "keep", False, frozenset({"store"}))


def test_a_pattern_may_not_leave_out_what_makes_a_request_one() -> None:
    with pytest.raises(ValueError, match="omit: messages cannot be left out"):
        ModelQuirks(omit=frozenset({"messages"}))
    with pytest.raises(msgspec.ValidationError, match="unknown field `limit`"):
        settings(models={"*": {"limit": "max_tokens"}})


def test_S8_developer_becomes_system_where_it_is_not_known() -> None:
    messages = [
        {"role": "developer", "content": "one", "name": "a"},
        {"role": "user", "content": '"role":"developer"'},
        {"role": "developer", "content": [{"type": "text", "text": "two"}]},
    ]
    renamed = [{**message, "role": message["role"].replace("developer", "system")} for message in messages]
    assert sent(settings(developer_role="system"), "m", messages=messages)["messages"] == renamed
    assert sent(settings(), "m", messages=messages)["messages"] == messages


def test_M8_marks_are_left_out_where_they_stand_and_nowhere_else() -> None:
    schema = {"type": "object", "properties": {"cache_control": {"type": "string"}}}
    text = {"type": "text", "text": '"cache_control":'}
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"cache_control": 1}'}}
    fields = {
        "messages": [
            {"role": "system", "content": [{**text, "cache_control": MARK}]},
            {"role": "user", "content": "x", "cache_control": None},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": [{**text, "cache_control": MARK}]},
        ],
        "tools": [
            {
                "type": "function",
                "cache_control": MARK,
                "function": {"name": "f", "parameters": schema, "cache_control": MARK},
            }
        ],
        "cache_control": MARK,
    }
    bare = {
        "messages": [
            {"role": "system", "content": [text]},
            {"role": "user", "content": "x"},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": [text]},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}],
    }
    assert sent(settings(), "gpt-4o", **fields) == {"model": "gpt-4o", **bare}
    assert sent(settings(), "llama", **fields) == {"model": "llama", **fields}
    assert sent(settings(foreign_fields="keep"), "gpt-4o", **fields) == {"model": "gpt-4o", **fields}


def test_litellms_notes_are_left_out_for_openais_own_models() -> None:
    """Its SDK makes them on every answer, and sends them back with it."""
    note = {"provider_specific_fields": {"refusal": None}}
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    noted = [{"role": "assistant", "content": None, "tool_calls": [{**call, **note}], **note}]
    bare = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    assert sent(settings(), "gpt-4o", messages=noted)["messages"] == bare
    assert sent(settings(), "llama", messages=noted)["messages"] == noted


@pytest.mark.parametrize("name", ["provider_specific_fields", "reasoning_content", "thinking_blocks", "extra_content"])
def test_M6_what_clients_keep_for_others_is_not_for_openai(name: str) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    answered = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "x"}
    kept = {**answered, name: {"a": 1}, "tool_calls": [{**call, name: [1], "function": {**call["function"], name: 1}}]}
    hello = {"role": "user", "content": f'"{name}":'}
    assert sent(settings(), "gpt-4o", messages=[hello, kept, result])["messages"] == [hello, answered, result]
    assert sent(settings(), "llama", messages=[hello, kept, result])["messages"] == [hello, kept, result]


def test_X2_usage_is_not_asked_for_where_it_cannot_be() -> None:
    given = settings(models={"old*": {"stream_usage": False}})
    assert "stream_options" not in sent(given, "older", stream=True)
    assert sent(given, "m", stream=True)["stream_options"] == {"include_usage": True}


# ---------------------------------------------------------------- what other vendors put into messages

MARKED = st.dictionaries(st.sampled_from([*FOREIGN, "text", "id"]), st.just("x"), max_size=2)
PART = st.builds(lambda marks: {**marks, "type": "text", "text": '"reasoning":'}, MARKED)
FUNCTION = st.builds(lambda marks: {**marks, "name": "f", "arguments": "{}", "parameters": {"reasoning": {}}}, MARKED)
CALL = st.builds(lambda marks, function: {**marks, "id": "c", "function": function}, MARKED, FUNCTION)
TOOL = st.builds(lambda marks, function: {**marks, "type": "function", "function": function}, MARKED, FUNCTION)
MESSAGE = st.builds(
    lambda marks, content, calls: {**marks, "role": "assistant", "content": content, "tool_calls": calls},
    MARKED,
    st.just("text") | st.lists(PART, min_size=1, max_size=2),
    st.none() | st.lists(CALL, max_size=2),
)


def without_foreign(value: Any, *, schema: bool = False) -> Any:
    """The rule, said once more: nowhere but in a schema."""
    if isinstance(value, list):
        return [without_foreign(one) for one in value]
    if not isinstance(value, dict) or schema:
        return value
    kept = {name: one for name, one in value.items() if name not in FOREIGN}
    return {name: without_foreign(one, schema=name == "parameters") for name, one in kept.items()}


@tried(max_examples=300, deadline=None)
@given(st.lists(MESSAGE, min_size=1, max_size=2), st.none() | st.lists(TOOL, max_size=2), st.booleans())
def test_marks_are_found_wherever_they_are_taken_out(messages: list[Any], tools: list[Any] | None, top: bool) -> None:
    fields: dict[str, Any] = {"messages": messages, "tools": tools, **({"cache_control": MARK} if top else {})}
    made = sent(settings(), "gpt-4o", **fields)
    assert made["messages"] == without_foreign(messages)
    assert made["tools"] == without_foreign(tools)
    assert "cache_control" not in made
    assert sent(settings(foreign_fields="keep"), "gpt-4o", **fields)["messages"] == messages
