"""The contract of every provider, on the strict upstream."""

import pytest

from gateway_core.testing.provider_suite import ProviderSuite
from gateway_core.types import Route


class TestAnthropicProvider(ProviderSuite):
    @pytest.fixture(params=["claude-haiku-4-5", "claude-opus-4-6", "claude-opus-5", "claude-3-5-haiku", "served"])
    def route(self, request: pytest.FixtureRequest) -> Route:
        return Route("mine", request.param)
