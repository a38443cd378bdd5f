"""The contracts of every provider, on the strict upstream."""

import json
from typing import ClassVar

import pytest

from gateway_core.testing.openai_fixture import KEY, UpstreamHandle
from gateway_core.testing.provider_faults_suite import ProviderFaultsSuite
from gateway_core.testing.provider_streams_suite import ProviderStreamsSuite
from gateway_core.testing.provider_suite import ProviderSuite
from gateway_core.types import Route


class TestOpenAIProvider(ProviderSuite):
    @pytest.fixture(params=["gpt-4o", "o3-mini", "compat/llama"])
    def route(self, request: pytest.FixtureRequest) -> Route:
        return Route("mine", request.param)

    async def test_a_request_is_left_as_it_was(self, provider, route) -> None:  # type: ignore[no-untyped-def]  # the suite's
        if route.model.startswith("compat"):  # OpenAI itself refuses the unknown field that this one has
            await super().test_a_request_is_left_as_it_was(provider, route)


class _Wire:
    model = "m"

    @pytest.fixture
    def api(self, openai_upstream: UpstreamHandle) -> UpstreamHandle:
        return openai_upstream


class TestOpenAIFaults(_Wire, ProviderFaultsSuite):
    own_headers: ClassVar = {"authorization": f"Bearer {KEY}"}

    def error(self, message: str) -> str:
        return json.dumps({"error": {"message": message, "type": "invalid_request_error", "code": "bad_value"}})


class TestOpenAIStreams(_Wire, ProviderStreamsSuite):
    two_words_and_an_error: ClassVar = {
        "events": [
            '{"choices":[{"delta":{"content":"word0"}}]}',
            '{"choices":[{"delta":{"content":" word1"}}]}',
            '{"error":{"message":"x"}}',
        ]
    }
