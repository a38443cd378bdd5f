"""Fields that a server refuses are left out, and every other one keeps its value."""

import json

import msgspec
import pytest
from spl_provider_openai.request import encode_request
from spl_provider_openai.settings import OpenAISettings

from gateway_core.types import ROUTED_FIELDS
from gateway_core.wire.chat import decode_request

BODY = {
    "model": "m",
    "messages": [{"role": "user", "content": "Hello"}],
    "store": False,
    "max_tokens": 7,
    "unknown": {"deep": [1, None]},
}


@pytest.mark.parametrize("omit", [set(), {"store"}, {"store", "max_tokens", "absent"}, {"unknown", "store"}])
def test_what_is_named_is_left_out(omit: set[str]) -> None:
    request = decode_request(msgspec.json.encode(BODY))
    sent = json.loads(
        encode_request(request, "m", None, OpenAISettings(omit=frozenset(omit)).quirks("m"), stream=False)
    )
    assert sent == {name: value for name, value in BODY.items() if name not in omit}


def test_a_request_that_is_asked_for_as_it_came_is_not_encoded_again() -> None:
    request = decode_request(msgspec.json.encode(BODY))
    sent = encode_request(request, "m", None, OpenAISettings(omit=frozenset({"absent"})).quirks("m"), stream=False)
    assert sent.endswith(request.rest[1:])
    assert set(json.loads(request.rest)) == set(BODY) - set(ROUTED_FIELDS)


@pytest.mark.parametrize("name", ["model", "messages", "stream"])
def test_what_makes_a_request_cannot_be_left_out(name: str) -> None:
    with pytest.raises(ValueError, match=f"omit: {name} cannot be left out"):
        OpenAISettings(omit=frozenset({name}))
