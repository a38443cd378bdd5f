"""The strict upstream itself: what it refuses, in whose words, and that what it says is what Google's SDK reads."""

import json
from typing import Any

import pytest
from google.genai import types
from spl_provider_gemini.rules import RULES, rules_of

from gateway_core.testing.gemini_rules import Model, Refused, check
from gateway_core.testing.gemini_script import GeminiScript, answer_of, stream_of

HELLO: dict[str, Any] = {"role": "user", "parts": [{"text": "Hello"}]}
CALL: dict[str, Any] = {"functionCall": {"name": "f", "args": {}}}
RESULT: dict[str, Any] = {"functionResponse": {"name": "f", "response": {}}}
LOOP = [HELLO, {"role": "model", "parts": [CALL]}, {"role": "user", "parts": [RESULT]}]
F: dict[str, Any] = {"name": "f"}


def tools(*declared: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"functionDeclarations": list(declared)}]


def refused(body: Any, model: str = "gemini-2.5-flash") -> str:
    with pytest.raises(Refused) as met:
        check(json.dumps(body).encode() if not isinstance(body, bytes) else body, model)
    assert met.value.error["code"] == 400
    return str(met.value.error["message"])


def config(**fields: Any) -> dict[str, Any]:
    return {"contents": [HELLO], "generationConfig": fields}


@pytest.mark.parametrize(
    "body",
    [
        {"contents": [HELLO]},
        {"contents": LOOP, "tools": tools(F)},
        config(temperature=0, topP=1, stopSequences=["a"], candidateCount=8, thinkingConfig={"thinkingBudget": 0}),
        config(responseMimeType="application/json", responseJsonSchema={"type": "object"}),
    ],
)
def test_what_is_right_passes(body: dict[str, Any]) -> None:
    assert check(json.dumps(body).encode(), "gemini-2.5-flash") == body


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "Invalid JSON payload"),
        (b"[]", "Root element"),
        (b'{"contents": [], "contents": []}', "Duplicate key"),
        ({"contents": [HELLO], "x": 1}, "Unknown name \"x\" at '': Cannot find field."),
        ({"contents": [{**HELLO, "name": "ann"}]}, "Unknown name \"name\" at 'contents[0]'"),
        ({"contents": [{"role": "user", "parts": [{"text": "a", "x": 1}]}]}, "at 'contents[0].parts[0]'"),
        ({"contents": [HELLO], "generation_config": {}}, 'Unknown name "generation_config"'),
        (config(max_output_tokens=1), 'Unknown name "max_output_tokens"'),
        (config(temperature="1"), "Invalid value at 'generationConfig.temperature'"),
        ({"contents": []}, "contents is not specified"),
        ({"contents": [{"role": "user", "parts": []}]}, "must not be empty"),
        ({"contents": [{"role": "user", "parts": [{"text": ""}]}]}, "empty text"),
        ({"contents": [{"role": "user", "parts": [{}]}]}, "oneof"),
        ({"contents": [{"role": "user", "parts": [{"text": "a", "fileData": {"fileUri": "x"}}]}]}, "oneof"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "a"}]}]}, "valid role"),
        ({"contents": [{"role": "model", "parts": [{"text": "a"}]}]}, "start with a user turn"),
        ({"contents": [HELLO, HELLO]}, "alternate"),
        ({"contents": [HELLO], "systemInstruction": {"parts": []}}, "system_instruction"),
        ({"contents": [HELLO], "systemInstruction": {"parts": [{"text": ""}]}}, "system_instruction"),
        ({"contents": LOOP[:2]}, "function response turn"),
        ({"contents": [HELLO, LOOP[1], HELLO]}, "number of function response parts"),
        ({"contents": [HELLO, {"role": "model", "parts": [CALL, CALL]}, LOOP[2]]}, "number of function response parts"),
        ({"contents": [HELLO, LOOP[1], {"role": "user", "parts": [{"text": "a"}, RESULT]}]}, "before other parts"),
        (
            {"contents": [*LOOP[:2], {"role": "user", "parts": [{"functionResponse": {"name": "g", "response": {}}}]}]},
            "not the name of the call",
        ),
        (
            {"contents": [*LOOP[:2], {"role": "user", "parts": [{"functionResponse": {"name": "f"}}]}]},
            "must be a struct",
        ),
        ({"contents": [HELLO], "tools": tools()}, "must not be empty"),
        ({"contents": [HELLO], "tools": tools({"name": "1st"})}, "Invalid function name"),
        ({"contents": [HELLO], "tools": tools(F, F)}, "Duplicate function declaration"),
        ({"contents": [HELLO], "tools": tools({**F, "parameters": {"type": "OBJECT"}})}, "non-empty for OBJECT"),
        (
            {"contents": [HELLO], "tools": tools({**F, "parameters": {}, "parametersJsonSchema": {}})},
            "only one of parameters",
        ),
        ({"contents": [HELLO], "tools": tools({**F, "parametersJsonSchema": {"type": "string"}})}, "must be object"),
        ({"contents": [HELLO], "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}, "without function_decl"),
        (
            {
                "contents": [HELLO],
                "tools": tools(F),
                "toolConfig": {"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": ["f"]}},
            },
            "when mode is ANY",
        ),
        (
            {
                "contents": [HELLO],
                "tools": tools(F),
                "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["g"]}},
            },
            "subset",
        ),
        ({"contents": [HELLO], "tools": tools(F), "toolConfig": {"functionCallingConfig": {"mode": "any"}}}, '"any"'),
        (config(temperature=2.1), "range"),
        (config(stopSequences=list("abcdef")), "1 to 5"),
        (config(candidateCount=9), "range"),
        (config(logprobs=3), "response_logprobs"),
        (config(responseSchema={"type": "STRING"}), "application/json"),
        (config(responseMimeType="text/html"), "allowed mimetypes"),
        (config(thinkingConfig={"thinkingBudget": 1, "thinkingLevel": "LOW"}), "only set one"),
        (config(thinkingConfig={"thinkingBudget": 99_999}), "is invalid for this model"),
        (config(thinkingConfig={"thinkingLevel": "LOW"}), "not supported for this model"),
        (
            {**config(responseMimeType="application/json"), "tools": tools(F)},
            "Function calling with a response mime type: 'application/json' is unsupported",
        ),
        ({"contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/x", "data": "eA=="}}]}]}, "MIME"),
        ({"contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": "!"}}]}]}, "base64"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_in_googles_words(body: Any, says: str) -> None:
    assert says in refused(body)


@pytest.mark.parametrize(
    "schema",
    [
        {"$schema": "x"}, {"$ref": "#/$defs/A"}, {"$defs": {}}, {"const": 1}, {"oneOf": []}, {"allOf": []},
        {"additionalProperties": False}, {"exclusiveMinimum": 0}, {"prefixItems": []}, {"examples": []},
        {"type": ["STRING"]}, {"type": "string"}, {"type": "STRING", "enum": [1]}, {"type": "INTEGER", "enum": ["1"]},
        {"type": "OBJECT", "properties": {}, "required": ["a"]}, {"type": "ARRAY"}, {"type": "STRING", "format": "uri"},
    ],
)  # fmt: skip
def test_schemas_that_the_api_does_not_take_are_refused(schema: dict[str, Any]) -> None:
    parameters = {"type": "OBJECT", "properties": {"a": schema}}
    refused({"contents": [HELLO], "tools": tools({**F, "parameters": parameters})}, "gemini-2.0-flash")


def test_signatures_are_demanded_of_the_current_turn_and_must_be_our_own() -> None:
    model = "gemini-3.8-flash"
    signed: dict[str, Any] = {"functionCall": {"id": "1", **CALL["functionCall"]}}
    answered: dict[str, Any] = {"functionResponse": {"id": "1", **RESULT["functionResponse"]}}
    loop = [HELLO, {"role": "model", "parts": [signed]}, {"role": "user", "parts": [answered]}]
    assert "is missing a thought_signature" in refused({"contents": loop}, model)
    over = [*loop, {"role": "model", "parts": [{"text": "x"}]}, HELLO]
    check(json.dumps({"contents": over}).encode(), model)
    signed["thoughtSignature"] = "eA=="
    assert "Corrupted" in refused({"contents": loop}, model)
    check(json.dumps({"contents": loop}).encode(), model, {"eA=="})
    del answered["functionResponse"]["id"]
    assert "id of the call" in refused({"contents": loop}, model)


@pytest.mark.parametrize("name", ["gemini-3.5-flash-lite", "gemini-3.6-flash", "gemini-3.8-flash"])
def test_M4_newest_models_take_no_prefill_and_results_alone(name: str) -> None:
    answer = {"role": "model", "parts": [{"text": "The"}]}
    call = {"functionCall": {"id": "c", "name": "f"}, "thoughtSignature": "c2ln"}
    result = {"functionResponse": {"id": "c", "name": "f", "response": {}}}
    told = {"role": "user", "parts": [result, {"text": "x"}]}
    for contents in ([HELLO, answer], [HELLO, {"role": "model", "parts": [call]}, told]):
        body = json.dumps({"contents": contents}).encode()
        check(body, "gemini-2.5-flash")
        with pytest.raises(Refused):
            check(body, name, {"c2ln"})


@pytest.mark.parametrize(
    "script",
    [
        {"thoughts": "Hm.", "sign_text": True},
        {"calls": (({"name": "f", "args": {"a": 1}}, {"name": "f"}),), "text": "x"},
        {"block_reason": "SAFETY"},
        {"logprobs": True, "finish_reason": "MAX_TOKENS"},
        {"words": 0, "finish_reason": "MISSING_THOUGHT_SIGNATURE"},
    ],
)
def test_what_the_upstream_says_is_what_googles_sdk_reads(script: dict[str, Any]) -> None:
    made = GeminiScript(model="gemini-3.8-flash", **script)
    thinking = {"candidateCount": 2, "thinkingConfig": {"includeThoughts": True}}
    body = {"contents": [HELLO], "generationConfig": thinking}
    for answer in (answer_of(made, body, made.model), *stream_of(made, body, made.model)):
        types.GenerateContentResponse.model_validate_json(json.dumps(answer), by_alias=True, by_name=False)


@pytest.mark.parametrize(
    "name",
    [
        "gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-3-pro-preview", "gemini-3.1-pro-preview",
        "gemini-3-flash-preview", "gemini-3.1-flash-lite", "gemini-3.5-flash", "gemini-3.6-flash", "gemini-3.7-flash",
        "gemini-3.8-flash", "gemini-4-pro", "gemini-flash-latest",
    ],
)  # fmt: skip
def test_the_table_of_rules_says_what_the_strict_rules_take(name: str) -> None:
    model = Model(name)
    for amount in rules_of(name, {}).efforts.values():
        assert model.budget_fits(amount) if isinstance(amount, int) else amount in model.levels()


def test_every_row_of_the_table_is_reached() -> None:
    names = [pattern.replace("[1-5]", "1").replace("*", "x") for pattern, _ in RULES]
    assert [rules_of(name, {}) for name in names] == [rules for _, rules in RULES]
