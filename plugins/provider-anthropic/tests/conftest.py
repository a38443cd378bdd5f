"""The provider under test, on the strict upstream, over both clients."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from spl_provider_anthropic import Plugin
from spl_provider_anthropic.models import ModelRules
from spl_provider_anthropic.request import convert

from gateway_core.errors import InvalidRequest
from gateway_core.ports import Provider, Upstream
from gateway_core.testing.anthropic_fixture import AnthropicHandle
from gateway_core.testing.anthropic_rules import check
from gateway_core.testing.provider_fixtures import Make, maker, media, memory, upstream
from gateway_core.testing.provider_parts import PlainMemory, TableMedia
from gateway_core.wire.chat import decode_request

__all__ = ["media", "memory", "upstream"]


@pytest.fixture
def make(anthropic_upstream: AnthropicHandle, upstream: Upstream, memory: PlainMemory, media: TableMedia) -> Make:
    return maker(Plugin, anthropic_upstream, upstream, memory, media)


@pytest.fixture
def provider(make: Make) -> Provider:
    return make()


RULES = ModelRules({})


@pytest.fixture
def sent() -> Callable[..., dict[str, Any]]:
    """sent(model, options={…}, **fields) → the request for the upstream, taken by its strict rules."""

    def sent(model: str = "claude-sonnet-4-5", options: Any = None, **fields: Any) -> dict[str, Any]:
        body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], **fields}
        request = decode_request(json.dumps(body).encode())
        return check(convert(request, model, RULES.of(model), **(options or {})).encode())

    return sent


@pytest.fixture
def refused(sent: Callable[..., dict[str, Any]]) -> Callable[..., str | None]:
    """refused(model, **fields) → the field that a refusal of ours names."""

    def refused(*arguments: Any, **fields: Any) -> str | None:
        with pytest.raises(InvalidRequest) as met:
            sent(*arguments, **fields)
        return met.value.param

    return refused
