"""The provider under test, on the strict upstream."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from spl_provider_anthropic import Plugin
from spl_provider_anthropic.provider import AnthropicProvider

from gateway_core.config import UpstreamConfig
from gateway_core.ports import Upstream
from gateway_core.testing.anthropic_fixture import AnthropicHandle
from gateway_core.testing.provider_parts import PlainMemory, TableMedia, parts
from gateway_core.upstream.httpx_upstream import HttpxUpstream
from gateway_core.upstream.native import NativeUpstream

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
