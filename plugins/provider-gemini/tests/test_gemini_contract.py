"""The contract of every provider, on the strict upstream."""

import pytest

from gateway_core.testing.provider_suite import ProviderSuite
from gateway_core.types import Route


class TestGeminiProvider(ProviderSuite):
    @pytest.fixture(params=["gemini-2.0-flash", "gemini-2.5-pro", "gemini-3-flash-preview", "gemini-3.8-flash"])
    def route(self, request: pytest.FixtureRequest) -> Route:
        return Route("mine", request.param)
