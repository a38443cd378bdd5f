"""Requests that are small and would take minutes, gigabytes or a stack without end: each is converted or refused.

Whatever is worse than in proportion does not come to an end here; what grows is measured in bytes.
"""

from typing import Any

import msgspec
import pytest
from spl_provider_gemini.given import Given
from spl_provider_gemini.request import encode_request
from spl_provider_gemini.rules import rules_of

from gateway_core.errors import InvalidRequest
from gateway_core.testing import schema_bombs
from gateway_core.testing.schema_bombs import MANY, form, tool
from gateway_core.wire import chat

MODELS = ["gemini-2.0-flash", "gemini-3-pro"]
USER = {"role": "user", "content": "hi"}


SCHEMAS: dict[str, Any] = {
    **schema_bombs.SCHEMAS,
    "one description many times": {
        "type": "object",
        "properties": {f"p{at}": {"$ref": "#/$defs/a"} for at in range(2_000)},
        "$defs": {"a": {"type": "string", "description": "d" * MANY}},
    },
    "one described choice many times": {
        "type": "object",
        "properties": {f"p{at}": {"$ref": "#/$defs/a"} for at in range(2_000)},
        "$defs": {"a": {"anyOf": [{"type": "string"}, {"type": "integer"}], "description": "d" * MANY}},
    },
    "one default many times": {
        "type": "object",
        "properties": {f"p{at}": {"$ref": "#/$defs/a"} for at in range(2_000)},
        "$defs": {"a": {"type": "array", "default": ["d"] * MANY}},
    },
    "one enumeration many times": {
        "type": "object",
        "properties": {f"p{at}": {"$ref": "#/$defs/a"} for at in range(2_000)},
        "$defs": {"a": {"type": "string", "enum": [f"v{at}" for at in range(MANY)]}},
    },
    "one unknown keyword many times": {
        "type": "object",
        "properties": {f"p{at}": {"$ref": "#/$defs/a"} for at in range(2_000)},
        "$defs": {"a": {"type": "string", "x-own": [f"v{at}" for at in range(MANY)]}},
    },
    "as many keywords as there are words, many times": {
        "type": "object",
        "properties": {f"p{at}": {"$ref": "#/$defs/a"} for at in range(2_000)},
        "$defs": {"a": {"type": "string", **{f"x-{at}": 1 for at in range(MANY)}}},
    },
    "many choices beside a long pattern": {
        "type": "object",
        "properties": {
            "a": {"pattern": "p" * MANY, "anyOf": [{"type": "string", "title": f"{at}"} for at in range(2_000)]}
        },
    },
    "many required in two places": {
        "allOf": [
            {"type": "object", "required": [f"p{at}" for at in range(MANY)]},
            {"type": "object", "required": [f"q{at}" for at in range(MANY)]},
        ]
    },
    "many that hold together": {
        "type": "object",
        "allOf": [{"properties": {f"p{at}": {"type": "string"}}, "required": [f"p{at}"]} for at in range(2_400)],
    },
    "a place for each": {
        "type": "object",
        "properties": {"a": {"prefixItems": [{"title": f"{at}"} for at in range(4_000)]}},
    },
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("use", [tool, form])
@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_that_is_a_bomb(model: str, use: Any, name: str) -> None:
    body = msgspec.json.encode({"model": "m", "messages": [USER], **use(SCHEMAS[name])})
    sent = _sent(body, model)
    assert len(sent) < 3 * len(body) + 150_000


def test_what_is_written_out_is_bounded_for_all_tools_of_a_request() -> None:
    """Each alone would do."""
    schema = {
        "type": "object",
        "properties": {f"p{at}": {"$ref": "#/$defs/a"} for at in range(50)},
        "$defs": {"a": {"type": "string", "description": "d" * 1_000}},
    }
    one = tool(schema)["tools"]
    assert _sent(msgspec.json.encode({"model": "m", "messages": [USER], "tools": one}), MODELS[0])
    with pytest.raises(InvalidRequest, match="schemas") as refused:
        _convert(msgspec.json.encode({"model": "m", "messages": [USER], "tools": one * 50}), MODELS[0])
    assert refused.value.param is not None
    assert refused.value.param.endswith(".function.parameters")


@pytest.mark.parametrize("call_id", ["a", "!", ""])
def test_one_id_for_all_calls(call_id: str) -> None:
    function = {"name": "f", "arguments": "{}"}
    calls = [{"id": call_id, "type": "function", "function": function}] * MANY
    results = [{"role": "tool", "tool_call_id": call_id, "content": "r"}] * MANY
    body = {"model": "m", "messages": [USER, {"role": "assistant", "tool_calls": calls}, *results], **tool({})}
    sent = msgspec.json.decode(_sent(msgspec.json.encode(body), MODELS[1]))
    assert [part["functionResponse"]["id"] for part in sent["contents"][2]["parts"]] == [call_id] * MANY


def test_a_data_url_of_escapes() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png," + "%41" * MANY}}
    body = msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": [part]}]})
    with pytest.raises(InvalidRequest, match="base64") as refused:
        _convert(body, MODELS[1])
    assert refused.value.param == "messages[0].content[0].image_url.url"


def _convert(body: bytes, model: str) -> bytes:
    return encode_request(chat.decode_request(body), Given(model=model, rules=rules_of(model, {})), None)[0]


def _sent(body: bytes, model: str) -> bytes:
    """What goes upstream; nothing where it is refused."""
    try:
        return _convert(body, model)
    except InvalidRequest:
        return b""
