"""The provider under test, on the strict upstream, over both clients."""

import pytest
from spl_provider_openai import Plugin

from gateway_core.ports import Provider, Upstream
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.provider_fixtures import Make, maker, media, memory, upstream
from gateway_core.testing.provider_parts import PlainMemory, TableMedia

__all__ = ["media", "memory", "upstream"]


@pytest.fixture
def make(openai_upstream: UpstreamHandle, upstream: Upstream, memory: PlainMemory, media: TableMedia) -> Make:
    return maker(Plugin, openai_upstream, upstream, memory, media)


@pytest.fixture
def provider(make: Make) -> Provider:
    return make()
