"""The provider under test, on the strict upstream."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from spl_provider_openai import Plugin
from spl_provider_openai.provider import OpenAIProvider

from gateway_core.config import UpstreamConfig
from gateway_core.ports import Upstream
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.provider_parts import parts
from gateway_core.upstream.httpx_upstream import HttpxUpstream
from gateway_core.upstream.native import NativeUpstream

Make = Callable[..., OpenAIProvider]


@pytest.fixture(params=[NativeUpstream, HttpxUpstream], ids=["native", "httpx2"])
async def upstream(request: pytest.FixtureRequest) -> AsyncIterator[Upstream]:
    upstream: Upstream = request.param(UpstreamConfig())
    yield upstream
    await upstream.close()


@pytest.fixture
def make(openai_upstream: UpstreamHandle, upstream: Upstream) -> Make:
    """make(**settings) → a provider for the strict upstream."""
    (kind,) = Plugin().register_providers()

    def make(api_key: str | None = openai_upstream.key, **settings: Any) -> OpenAIProvider:
        built: OpenAIProvider = kind.build(
            kind.settings(**{"base_url": openai_upstream.base_url, **settings}),
            parts("mine", api_key, upstream=upstream),
        )
        return built

    return make


@pytest.fixture
def provider(make: Make) -> OpenAIProvider:
    return make()
