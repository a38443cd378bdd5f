"""Requests that are small and would take minutes, gigabytes or a stack without end: each is converted or refused.

Whatever is worse than in proportion does not come to an end here; what grows is measured in bytes.
"""

from typing import Any

import msgspec
import pytest
from spl_provider_anthropic.models import ModelRules
from spl_provider_anthropic.request import convert

from gateway_core.errors import InvalidRequest
from gateway_core.testing import schema_bombs
from gateway_core.testing.schema_bombs import MANY, form, tool
from gateway_core.wire import chat

MODELS = ["claude-3-haiku", "claude-sonnet-4-5", "claude-opus-5-5"]
USER = {"role": "user", "content": "hi"}


def _strict(schema: Any) -> dict[str, Any]:
    return tool(schema, strict=True)


SCHEMAS: dict[str, Any] = {
    **schema_bombs.SCHEMAS,
    "one variant many times": {
        "anyOf": [{"$ref": "#/$defs/a"}] * 2_000,
        "$defs": {"a": {"type": "object", "required": [f"p{at}" for at in range(MANY)]}},
    },
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("use", [tool, _strict, form])
@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_that_is_a_bomb(model: str, use: Any, name: str) -> None:
    body = msgspec.json.encode({"model": "m", "messages": [USER], **use(SCHEMAS[name])})
    sent = _sent(body, model)
    assert len(sent) < 3 * len(body) + 10_000


def test_what_is_put_together_is_bounded_for_all_tools_of_a_request() -> None:
    """Each alone would do."""
    fields = {f"p{at}": {"type": "string"} for at in range(20)}
    schema = {"anyOf": [{"$ref": "#/$defs/a"}] * 200, "$defs": {"a": {"type": "object", "properties": fields}}}
    one = tool(schema)["tools"]
    assert _sent(msgspec.json.encode({"model": "m", "messages": [USER], "tools": one}), MODELS[0])
    with pytest.raises(InvalidRequest, match="too many schemas") as refused:
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
    given = [block["id"] for block in sent["messages"][1]["content"]]
    assert len(set(given)) == MANY
    assert [block["tool_use_id"] for block in sent["messages"][2]["content"]] == given


@pytest.mark.parametrize("head", ["data:image/png,", "data:image/png;base64,"])
def test_a_data_url_of_escapes(head: str) -> None:
    part = {"type": "image_url", "image_url": {"url": head + "%41" * MANY}}
    body = msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": [part]}]})
    with pytest.raises(InvalidRequest, match="base64") as refused:
        _convert(body, MODELS[1])
    assert refused.value.param == "messages[0].content[0].image_url.url"


def _convert(body: bytes, model: str) -> bytes:
    return convert(chat.decode_request(body), model, ModelRules({}).of(model)).encode()


def _sent(body: bytes, model: str) -> bytes:
    """What goes upstream; nothing where it is refused."""
    try:
        return _convert(body, model)
    except InvalidRequest:
        return b""
