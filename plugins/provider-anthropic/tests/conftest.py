"""The provider under test, on the strict upstream."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from spl_provider_anthropic import Plugin
from spl_provider_anthropic.models import ModelRules
from spl_provider_anthropic.provider import AnthropicProvider
from spl_provider_anthropic.request import convert

from gateway_core.config import UpstreamConfig
from gateway_core.errors import InvalidRequest
from gateway_core.ports import Upstream
from gateway_core.testing.anthropic_fixture import AnthropicHandle
from gateway_core.testing.anthropic_rules import check
from gateway_core.testing.provider_parts import PlainMemory, TableMedia, parts
from gateway_core.upstream.httpx_upstream import HttpxUpstream
from gateway_core.upstream.native import NativeUpstream
from gateway_core.wire.chat import decode_request

Make = Callable[..., AnthropicProvider]


@pytest.fixture(params=[NativeUpstream, HttpxUpstream], ids=["native", "httpx2"])
async def upstream(request: pytest.FixtureRequest) -> AsyncIterator[Upstream]:
    upstream: Upstream = request.param(UpstreamConfig())
    yield upstream
    await upstream.close()


@pytest.fixture
def memory() -> PlainMemory:
    return PlainMemory()


@pytest.fixture
def media() -> TableMedia:
    return TableMedia()


@pytest.fixture
def make(anthropic_upstream: AnthropicHandle, upstream: Upstream, memory: PlainMemory, media: TableMedia) -> Make:
    """make(**settings) → a provider for the strict upstream."""
    (kind,) = Plugin().register_providers()

    def make(api_key: str | None = anthropic_upstream.key, **settings: Any) -> AnthropicProvider:
        built: AnthropicProvider = kind.build(
            kind.settings(**{"base_url": anthropic_upstream.base_url, **settings}),
            parts("mine", api_key, upstream=upstream, memory=memory, media=media),
        )
        return built

    return make


@pytest.fixture
def provider(make: Make) -> AnthropicProvider:
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
