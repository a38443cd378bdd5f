"""What a request may not ask for, by field; and what goes on unharmed."""

from typing import Any

import msgspec
import pytest

from gateway_core.errors import InvalidRequest
from gateway_core.request_policy import of_one_tenant, refuse_unpriced
from gateway_core.types import ChatRequest
from gateway_core.wire.chat import decode_request

FUNCTION = {"type": "function", "function": {"name": "f"}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}, *parts]}]}


def request(fields: dict[str, Any]) -> ChatRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], **fields}
    return decode_request(msgspec.json.encode(body))


UNPRICED: list[tuple[dict[str, Any], str]] = [
    ({"service_tier": "priority"}, "service_tier"),
    ({"service_tier": "flex"}, "service_tier"),
    ({"service_tier": "scale"}, "service_tier"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"search_parameters": {"mode": "on"}}, "search_parameters"),
    ({"plugins": [{"id": "web"}]}, "plugins"),
    ({"tools": [FUNCTION, {"type": "web_search"}]}, "tools[1].type"),
    ({"tools": [{"type": "code_interpreter"}]}, "tools[0].type"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
    (user(AUDIO), "messages[0].content[1].input_audio"),
]
FOREIGN: list[tuple[dict[str, Any], str]] = [
    ({"store": True}, "store"),
    (user({"type": "file", "file": {"file_id": "file-abc"}}), "messages[0].content[1].file.file_id"),
    ({"messages": [{"role": "assistant", "audio": {"id": "audio_abc"}}]}, "messages[0].audio"),
    ({"previous_response_id": "resp_1"}, "previous_response_id"),
    ({"conversation": "conv_1"}, "conversation"),
    ({"container": "cntr_1"}, "container"),
    ({"cached_content": "cachedContents/1"}, "cached_content"),
    ({"extra_body": {"google": {"cached_content": "cachedContents/1"}}}, "extra_body.google.cached_content"),
]
HARMLESS: list[dict[str, Any]] = [
    {},
    {"service_tier": None, "store": None, "audio": None, "modalities": None, "tools": None},
    {"service_tier": "auto"},
    {"service_tier": "default", "modalities": ["text"], "tools": [FUNCTION]},
    {"tools": [{"type": "custom", "custom": {"name": "c"}}]},
    {"prediction": {"type": "content", "content": "Hello"}},
    {"extra_body": {"google": {"thinking_config": {}}}, "chat_template_kwargs": {"a": 1}},
    user({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}),
    user({"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}}),
]


@pytest.mark.parametrize(("fields", "param"), UNPRICED)
def test_what_the_book_does_not_know_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        refuse_unpriced(request(fields))
    assert caught.value.param == param
    assert caught.value.message.startswith(f"'{param}' is refused: ")
    of_one_tenant(request(fields))


@pytest.mark.parametrize(("fields", "param"), FOREIGN)
def test_what_may_be_another_tenants_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        of_one_tenant(request(fields))
    assert caught.value.param == param
    refuse_unpriced(request(fields))


@pytest.mark.parametrize("fields", HARMLESS)
def test_everything_else_goes_on_and_is_not_stored(fields: dict[str, Any]) -> None:
    asked = request(fields)
    refuse_unpriced(asked)
    sent = of_one_tenant(asked)
    assert sent.body == {**asked.body, "store": False}
    rest = {name: value for name, value in asked.body.items() if name != "model"}
    assert msgspec.json.decode(sent.rest) == {**rest, "store": False}
    assert sent.rest.count(b'"store"') == 1
    assert msgspec.structs.replace(sent, body=asked.body, rest=asked.rest) == asked


def test_what_says_so_already_is_not_touched() -> None:
    asked = request({"store": False})
    assert of_one_tenant(asked) is asked


def test_a_request_of_nothing_else() -> None:
    bare = ChatRequest(model="m", body={"model": "m", "messages": []}, size=0)
    assert of_one_tenant(bare).rest == b'{"store":false}'
