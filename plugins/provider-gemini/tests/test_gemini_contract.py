"""The contracts of every provider, on the strict upstream."""

import json
from typing import ClassVar

import pytest

from gateway_core.testing.gemini_fixture import KEY, GeminiHandle
from gateway_core.testing.provider_faults_suite import ProviderFaultsSuite
from gateway_core.testing.provider_streams_suite import ProviderStreamsSuite
from gateway_core.testing.provider_suite import ProviderSuite
from gateway_core.types import Route


class TestGeminiProvider(ProviderSuite):
    @pytest.fixture(params=["gemini-2.0-flash", "gemini-2.5-pro", "gemini-3-flash-preview", "gemini-3.8-flash"])
    def route(self, request: pytest.FixtureRequest) -> Route:
        return Route("mine", request.param)


class _Wire:
    model = "gemini-3.8-flash"

    @pytest.fixture
    def api(self, gemini_upstream: GeminiHandle) -> GeminiHandle:
        return gemini_upstream


class TestGeminiFaults(_Wire, ProviderFaultsSuite):
    own_headers: ClassVar = {"x-goog-api-key": KEY}

    def error(self, message: str) -> str:
        return json.dumps({"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}})


class TestGeminiStreams(_Wire, ProviderStreamsSuite):
    two_words_and_an_error: ClassVar = {"error_after": 2}
