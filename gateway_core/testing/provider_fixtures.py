"""Fixtures of providers' own tests: import them in a conftest. What needs a connection runs over both clients.

from gateway_core.testing.provider_fixtures import media, memory, upstream
"""

from collections.abc import AsyncIterator
from typing import Any, Protocol

import pytest

from gateway_core.config import UpstreamConfig
from gateway_core.ports import Provider, ProviderKind, ProviderParts, Upstream
from gateway_core.testing.provider_parts import PlainMemory, TableMedia
from gateway_core.testing.upstream_handle import ScriptedHandle
from gateway_core.upstream.httpx_upstream import HttpxUpstream
from gateway_core.upstream.native import NativeUpstream

OURS = ""
"""For `Make`: the key that the upstream knows."""


class Make(Protocol):
    """make(**settings) → a provider, named `mine`, for the strict upstream."""

    def __call__(self, api_key: str | None = OURS, **settings: Any) -> Provider: ...


@pytest.fixture(params=[NativeUpstream, HttpxUpstream], ids=["native", "httpx2"])
async def upstream(request: pytest.FixtureRequest) -> AsyncIterator[Upstream]:
    """Each of the clients."""
    upstream: Upstream = request.param(UpstreamConfig())
    yield upstream
    await upstream.close()


@pytest.fixture
def memory() -> PlainMemory:
    """Empty."""
    return PlainMemory()


@pytest.fixture
def media() -> TableMedia:
    """Without files."""
    return TableMedia()


def maker(plugin: Any, api: ScriptedHandle, upstream: Upstream, memory: PlainMemory, media: TableMedia) -> Make:
    """For a plugin's class of one kind of provider, and the upstream that it is to ask."""
    kind: ProviderKind = plugin().register_providers()[0]

    def make(api_key: str | None = OURS, **settings: Any) -> Provider:
        key = api.key if api_key == OURS else api_key
        parts = ProviderParts("mine", key, upstream, media, memory)
        built: Provider = kind.build(kind.settings(**{"base_url": api.base_url, **settings}), parts)
        return built

    return make
