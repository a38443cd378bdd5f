"""Towards OpenAI's own API every field keeps its value; towards a compatible server those nobody knows do, too."""

from typing import Any

import pytest

PNG = "data:image/png;base64,iVBORw0KGgo="
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}
SECOND = {**CALL, "id": "toolu_01/x:2"}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"$ref": "#/$defs/days"}},
    "required": ["city", "days"],
    "additionalProperties": False,
    "$defs": {"days": {"type": ["integer", "null"], "enum": [1, 2, None]}},
    "$schema": "https://json-schema.org/draft/2020-12/schema",
}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "weather", "parameters": SCHEMA}}
HI = {"role": "user", "content": "hi"}


def text(*words: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": word} for word in words]


def same(front: Any, *messages: Any, model: str = "gpt-4o", **fields: Any) -> None:
    """The conversation, and every other field, arrives as it was sent."""
    sent = front.sent(model, messages=list(messages), **fields)
    assert sent == {"messages": list(messages), **fields}


# ---------------------------------------------------------------- messages


def test_M1_every_system_message_at_the_head_arrives(front: Any) -> None:
    same(
        front,
        {"role": "system", "content": "one"},
        {"role": "developer", "content": text("two", "three")},
        {"role": "system", "content": text("four")},
        HI,
    )


def test_M2_a_later_system_message_arrives_where_it_stood(front: Any) -> None:
    same(front, HI, {"role": "assistant", "content": "ho"}, {"role": "system", "content": "be brief"}, HI)
    same(front, {"role": "system", "content": "alone"})


def test_M3_messages_of_one_role_in_a_row_are_left_apart(front: Any) -> None:
    same(front, HI, {"role": "user", "content": text("a", "b")}, HI, {"role": "assistant", "content": "c"}, HI)


def test_M4_an_assistant_may_begin_and_end(front: Any) -> None:
    same(front, {"role": "assistant", "content": "first"}, HI, {"role": "assistant", "content": "and so "})


def test_M5_empty_texts_are_sent_as_they_are(front: Any) -> None:
    same(front, {"role": "system", "content": ""}, {"role": "user", "content": text("", " ", "x")}, HI)


@pytest.mark.parametrize("content", [None, "", "so:", text("so:")])
def test_M6_an_assistants_content_and_its_own_fields_arrive(front: Any, content: Any) -> None:
    called = {"role": "assistant", "content": content, "name": "bot", "refusal": None, "tool_calls": [CALL]}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "3 °C"}
    same(front, {**HI, "name": "ann"}, called, result, tools=[TOOL])


def test_M7_the_older_functions_arrive(front: Any) -> None:
    function = {"name": "f", "parameters": SCHEMA}
    called = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    result = {"role": "function", "name": "f", "content": "done"}
    same(front, HI, called, result, functions=[function], function_call={"name": "f"})


def test_M8_cache_control_is_for_others(front: Any) -> None:
    mark = {"type": "ephemeral"}
    schema = {"type": "object", "properties": {"cache_control": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    marked = [{"role": "user", "content": [{**text("x")[0], "cache_control": mark}], "cache_control": mark}]
    fields = {"messages": marked, "tools": [{**tool, "cache_control": mark}]}
    assert front.sent(**fields) == {"messages": [{"role": "user", "content": text("x")}], "tools": [tool]}
    assert front.sent("compat", **fields) == fields


# ---------------------------------------------------------------- tools


def test_T1_T2_tools_arrive_with_every_word_of_their_schemas(front: Any) -> None:
    loose = {"oneOf": [{"type": "object"}, {"const": 1}], "x-note": [1.5, None], "examples": [{}], "minimum": 1e300}
    tools = [TOOL, {"type": "function", "function": {"name": "loose", "parameters": loose, "strict": False}}]
    same(front, HI, tools=tools)


@pytest.mark.parametrize("parameters", [{}, {"parameters": {}}, {"parameters": {"type": "object", "properties": {}}}])
def test_T3_a_tool_without_parameters_works(front: Any, parameters: Any) -> None:
    same(front, HI, tools=[{"type": "function", "function": {"name": "f", **parameters}}])


@pytest.mark.parametrize(
    "choice",
    ["auto", "none", {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [TOOL]}}],
)
def test_T4_each_tool_choice_arrives(front: Any, choice: Any) -> None:
    same(front, HI, tools=[TOOL], tool_choice=choice)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_T4_a_demanded_call_is_made(front: Any, choice: Any) -> None:
    answer = front.answer(tools=[TOOL], tool_choice=choice)
    assert answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "get_weather"


@pytest.mark.parametrize("parallel", [False, True])
def test_T5_parallel_tool_calls_arrives(front: Any, parallel: bool) -> None:
    same(front, HI, tools=[TOOL], parallel_tool_calls=parallel)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["gpt-4o", "compat"])
def test_T6_the_whole_loop_with_standard_fields_only(front: Any, model: str, stream: bool) -> None:
    asked = [{"role": "user", "content": "weather?"}]
    fields = {"tools": [TOOL], "tool_choice": "required", "n": 1}
    if stream:
        deltas = [chunk["choices"][0]["delta"] for chunk in front.chunks(model, messages=asked, **fields)]
        fragments = [fragment for delta in deltas for fragment in delta.get("tool_calls") or ()]
        arguments = "".join(fragment["function"]["arguments"] for fragment in fragments)
        call = {**fragments[0], "function": {"name": fragments[0]["function"]["name"], "arguments": arguments}}
        call = {name: call[name] for name in ("id", "type", "function")}
    else:
        (call,) = front.answer(model, messages=asked, **fields)["choices"][0]["message"]["tool_calls"]
    told = [*asked, {"role": "assistant", "tool_calls": [call]}]
    told.append({"role": "tool", "tool_call_id": call["id"], "content": "3 °C"})
    assert front.sent(model, messages=told, tools=[TOOL])["messages"] == told


def test_T7_all_results_arrive_in_their_order(front: Any) -> None:
    called = {"role": "assistant", "content": None, "tool_calls": [CALL, SECOND]}
    results = [
        {"role": "tool", "tool_call_id": SECOND["id"], "content": text("a", "b")},
        {"role": "tool", "tool_call_id": "call_1", "content": '{"t": 3}'},
    ]
    same(front, HI, called, *results, HI, tools=[TOOL])


@pytest.mark.parametrize("arguments", ["", "{", "[1]", '"x"', "null"])
def test_T8_arguments_that_are_no_object_never_break_a_call(front: Any, arguments: str) -> None:
    call = {**CALL, "function": {"name": "get_weather", "arguments": arguments}}
    result = {"role": "tool", "tool_call_id": "call_1", "content": ""}
    same(front, HI, {"role": "assistant", "tool_calls": [call]}, result, tools=[TOOL])


@pytest.mark.parametrize(
    "messages",
    [
        [HI, {"role": "tool", "tool_call_id": "call_1", "content": "x"}],
        [HI, {"role": "assistant", "tool_calls": [CALL]}],
        [HI, {"role": "assistant", "tool_calls": [CALL]}, HI],
    ],
)
def test_T10_results_without_calls_and_calls_without_results_are_400(front: Any, messages: Any) -> None:
    response = front.ask(messages=messages)
    assert response.status_code == 400
    error = response.json()["error"]
    assert "tool_call" in error["message"]
    assert error["param"].startswith("messages.[")


# ---------------------------------------------------------------- sampling and limits


@pytest.mark.parametrize(
    ("model", "asked", "sent"),
    [
        ("gpt-4o", {"max_tokens": 5}, {"max_tokens": 5}),
        ("gpt-4o", {"max_completion_tokens": 5}, {"max_completion_tokens": 5}),
        ("o3", {"max_tokens": 5}, {"max_completion_tokens": 5}),
        ("gpt-5-mini", {"max_tokens": 5}, {"max_completion_tokens": 5}),
        ("o3", {"max_completion_tokens": 5}, {"max_completion_tokens": 5}),
        ("compat", {"max_tokens": 5}, {"max_tokens": 5}),
        ("compat", {"max_tokens": 5, "max_completion_tokens": 5}, {"max_tokens": 5, "max_completion_tokens": 5}),
        ("old", {"max_completion_tokens": 5}, {"max_tokens": 5}),
        ("gpt-4o", {}, {}),
    ],
)
def test_S1_the_limit_has_the_name_that_the_model_knows(front: Any, model: str, asked: Any, sent: Any) -> None:
    assert front.sent(model, **asked) == sent


def test_S2_zeros_are_not_lost(front: Any) -> None:
    fields = {"temperature": 0, "top_p": 0, "presence_penalty": 0, "frequency_penalty": 0.0, "seed": 0}
    assert front.sent(**fields) == fields


@pytest.mark.parametrize("stop", ["END", ["END"], ["a", "b", "c", " "]])
def test_S4_stop_arrives_as_it_was_written(front: Any, stop: Any) -> None:
    assert front.sent(stop=stop) == {"stop": stop}


def test_S5_user_and_metadata_arrive_apart(front: Any) -> None:
    fields = {"user": "ann@example.com", "metadata": {"user_id": "7"}, "safety_identifier": "s"}
    assert front.sent(**fields) == fields


def test_S6_hints_arrive_and_null_is_absent(front: Any) -> None:
    hints = {
        "seed": 7,
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "logit_bias": {"50256": -100},
        "store": False,
        "service_tier": "default",
        "metadata": {"a": "b"},
        "modalities": ["text"],
        "prediction": {"type": "content", "content": "x"},
    }
    assert front.sent(**hints) == hints
    assert front.sent(temperature=None, tools=None, stop=None, max_tokens=None, response_format=None) == {}


def test_S7_what_nobody_knows_goes_to_a_compatible_server_verbatim(front: Any) -> None:
    unknown = {
        "top_k": 40,
        "min_p": 0.0,
        "chat_template_kwargs": {"enable_thinking": False, "deep": [{"a": None}, 1e-7]},
        "guided_json": SCHEMA,
    }
    messages = [{**HI, "weight": 0.25}, {"role": "assistant", "content": "x", "reasoning_content": "hm"}, HI]
    same(front, *messages, model="compat", **unknown)


def test_S7_openai_itself_says_which_field_it_does_not_know(front: Any) -> None:
    response = front.ask(top_k=40)
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "Unrecognized request argument supplied: top_k"


def test_S8_every_known_field_arrives_as_it_was(front: Any) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {
        "type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"],
        "additionalProperties": False}}}  # fmt: skip
    fields = {
        "tools": [TOOL, {"type": "custom", "custom": {"name": "shell", "format": {"type": "text"}}}],
        "tool_choice": "auto",
        "response_format": form,
        "verbosity": "low",
        "web_search_options": {"search_context_size": "low"},
        "prompt_cache_key": "k",
        "n": 2,
        "logprobs": True,
        "top_logprobs": 2,
        "audio": {"format": "mp3", "voice": "alloy"},
    }
    same(front, {"role": "developer", "content": "be brief"}, HI, **fields)


def test_S8_a_server_that_is_older_gets_what_it_knows(front: Any) -> None:
    messages = [{"role": "developer", "content": "be brief"}, HI]
    sent = front.sent("old", messages=messages, max_completion_tokens=5, store=False)
    assert sent == {"messages": [{"role": "system", "content": "be brief"}, HI], "max_tokens": 5}
    front.chunks("old", stream_options={"include_usage": True})
    assert "stream_options" not in front.upstream.log()[-1]["body"]


# ---------------------------------------------------------------- media, formats, reasoning


def test_V1_V2_V3_V4_media_arrive_as_they_are(front: Any) -> None:
    parts = [
        *text("look"),
        {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://images.example/a.png"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
    ]
    same(front, {"role": "user", "content": parts})


@pytest.mark.parametrize("part", [{"type": "video_url", "video_url": {"url": "x"}}, {"type": "hologram"}])
def test_V1_an_unknown_part_is_refused_by_openai_itself(front: Any, part: Any) -> None:
    response = front.ask(messages=[{"role": "user", "content": [*text("x"), part]}])
    assert response.status_code == 400
    assert response.json()["error"]["param"].startswith("messages[0].content")


def test_F1_F3_a_schema_and_its_answer(front: Any) -> None:
    front.upstream.script("gpt-4o", text='{"a": "é"}')
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "minimum": 3}}}
    sent = front.sent(response_format=form, tools=[TOOL])
    assert sent == {"response_format": form, "tools": [TOOL]}
    (choice,) = front.answer(response_format=form)["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ('{"a": "é"}', "stop")
    chunks = front.chunks(response_format=form)
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == '{"a": "é"}'


def test_F1_a_schema_that_openai_does_not_take_is_a_400_in_its_words(front: Any) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"type": "object"}}}
    response = front.ask(response_format=form)
    assert response.status_code == 400
    assert "'additionalProperties' is required" in response.json()["error"]["message"]


def test_F2_json_object_arrives(front: Any) -> None:
    same(front, {"role": "user", "content": "in json"}, response_format={"type": "json_object"})


@pytest.mark.parametrize("effort", ["none", "minimal", "low", "medium", "high", "xhigh"])
def test_R1_reasoning_effort_arrives(front: Any, effort: str) -> None:
    assert front.sent("gpt-5-mini", reasoning_effort=effort) == {"reasoning_effort": effort}
