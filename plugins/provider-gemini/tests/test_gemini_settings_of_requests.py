"""Tools, sampling, forms, thinking and media as they reach the API. Every body here has passed the strict rules."""

from typing import Any

import pytest

from gateway_core.errors import InvalidRequest
from gateway_core.ports import MediaFile
from gateway_core.testing.conversations import JPEG, PDF, PNG
from gateway_core.testing.provider_suite import WEATHER

Sent = Any
OLD, MIDDLE, NEW = "gemini-2.0-flash", "gemini-2.5-flash", "gemini-3.8-flash"
TIME = {"type": "function", "function": {"name": "get_time"}}


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def config(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body.get("generationConfig", {})
    return found


# ---------------------------------------------------------------- tools


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


@pytest.mark.parametrize("temperature", [0, 0.7, 1, 2])
def test_S2_temperature_and_top_p_arrive_zero_too(sent: Sent, temperature: float) -> None:
    assert config(sent(temperature=temperature, top_p=0)) == {"temperature": temperature, "topP": 0}


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


# ---------------------------------------------------------------- media


def parts(sent: Sent, *content: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    body = sent(messages=[{"role": "user", "content": list(content)}], **more)
    found: list[dict[str, Any]] = body["contents"][0]["parts"]
    return found


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "high"}}


@pytest.mark.parametrize(
    ("url", "kind", "data"),
    [
        (f"data:image/png;base64,{PNG}", "image/png", PNG),
        (f"data:image/jpeg;base64,{JPEG}", "image/jpeg", JPEG),
        (f"data:image/jpg;base64,{JPEG}", "image/jpeg", JPEG),
        (f"data:IMAGE/WEBP;charset=x;base64,{PNG}", "image/webp", PNG),
        ("data:image/png,%41%42%43", "image/png", "QUJD"),
    ],
)
def test_V1_images_as_data_urls_arrive(sent: Sent, url: str, kind: str, data: str) -> None:
    text = {"type": "text", "text": "What is it?"}
    assert parts(sent, image(url), text) == [{"inlineData": {"mimeType": kind, "data": data}}, {"text": "What is it?"}]
    assert parts(sent, {"type": "image_url", "image_url": url}) == [{"inlineData": {"mimeType": kind, "data": data}}]


def test_V1_images_in_results_arrive(sent: Sent) -> None:
    made = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    content = [{"type": "text", "text": "here"}, image(f"data:image/png;base64,{PNG}")]
    messages = [
        {"role": "user", "content": "Look"},
        {"role": "assistant", "tool_calls": [made]},
        {"role": "tool", "tool_call_id": "c1", "content": content},
    ]
    inline = {"inlineData": {"mimeType": "image/png", "data": PNG}}
    response = {"name": "look", "response": {"output": "here"}}
    new = sent(NEW, messages=messages)["contents"][-1]["parts"]
    assert new == [{"functionResponse": {"id": "c1", **response, "parts": [inline]}}]
    assert sent(MIDDLE, messages=messages)["contents"][-1]["parts"] == [{"functionResponse": response}, inline]


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "video_url", "video_url": {"url": "x"}}, ".type"),
        (image("data:image/png;base64,"), ".image_url.url"),
        (image("data:nonsense"), ".image_url.url"),
        (image("ftp://example.com/a.png"), ".image_url.url"),
        (image("gs://bucket/a.png"), ".image_url.url"),
        ({"type": "image_url", "image_url": {"detail": "low"}}, ".image_url.url"),
    ],
)
def test_V1_what_is_no_image_is_refused_and_named(sent: Sent, part: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parts(sent, {"type": "text", "text": "x"}, part)
    assert refused.value.param == f"messages[0].content[1]{param}"


@pytest.mark.parametrize("role", ["system", "developer", "assistant"])
def test_V1_images_where_only_text_can_stand_are_refused(sent: Sent, role: str) -> None:
    with pytest.raises(InvalidRequest, match="only text") as refused:
        sent(messages=[{"role": role, "content": [image(f"data:image/png;base64,{PNG}")]}])
    assert refused.value.param == "messages[0].content[0].type"


def test_V2_a_fetched_image_is_inlined(sent: Sent) -> None:
    url = "https://images.example/a.png"
    found = parts(sent, image(url), given={"media": {url: MediaFile("image/png", b"ABC")}})
    assert found == [{"inlineData": {"mimeType": "image/png", "data": "QUJD"}}]


def test_V2_what_google_fetches_itself_is_passed_on(sent: Sent) -> None:
    url = "https://www.youtube.com/watch?v=x"
    found = parts(sent, image(url), given={"google_fetches": ("https://www.youtube.com/",)})
    assert found == [{"fileData": {"fileUri": url}}]


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ({"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"}, "application/pdf"),
        ({"file_data": PDF, "filename": "a.pdf"}, "application/pdf"),
        ({"file_data": PDF}, "application/pdf"),
        ({"file_data": PDF, "filename": "a.TXT"}, "text/plain"),
    ],
)
def test_V3_files_as_data_arrive(sent: Sent, file: dict[str, Any], kind: str) -> None:
    assert parts(sent, {"type": "file", "file": file}) == [{"inlineData": {"mimeType": kind, "data": PDF}}]


@pytest.mark.parametrize(
    ("file", "param"),
    [
        ({"file_id": "file-1"}, "file_id"),
        ({}, "file_data"),
        ({"file_data": ""}, "file_data"),
        ({"file_data": 5}, "file_data"),
    ],
)
def test_V3_a_files_id_is_refused(sent: Sent, file: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parts(sent, {"type": "file", "file": file})
    assert refused.value.param == f"messages[0].content[0].file.{param}"


@pytest.mark.parametrize(("kind", "mime"), [("wav", "audio/wav"), ("mp3", "audio/mp3")])
def test_V4_audio_arrives(sent: Sent, kind: str, mime: str) -> None:
    audio = {"type": "input_audio", "input_audio": {"data": "QUJD", "format": kind}}
    assert parts(sent, audio) == [{"inlineData": {"mimeType": mime, "data": "QUJD"}}]


@pytest.mark.parametrize(
    "audio", [{"data": "QUJD", "format": "midi"}, {"format": "wav"}, {"data": 5, "format": "wav"}, {}]
)
def test_V4_what_is_no_audio_is_refused(sent: Sent, audio: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parts(sent, {"type": "input_audio", "input_audio": audio})
    assert (refused.value.param or "").startswith("messages[0].content[0].input_audio.")


def test_V4_audio_as_an_answer_is_refused(sent: Sent) -> None:
    with pytest.raises(InvalidRequest) as refused:
        sent(modalities=["text", "audio"])
    assert refused.value.param == "modalities"


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
