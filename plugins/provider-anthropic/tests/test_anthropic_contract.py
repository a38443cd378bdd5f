"""The contracts of every provider, on the strict upstream."""

import json
from typing import ClassVar

import pytest

from gateway_core.testing.anthropic_fixture import KEY, AnthropicHandle
from gateway_core.testing.provider_faults_suite import ProviderFaultsSuite
from gateway_core.testing.provider_streams_suite import ProviderStreamsSuite
from gateway_core.testing.provider_suite import ProviderSuite
from gateway_core.types import Route


class TestAnthropicProvider(ProviderSuite):
    @pytest.fixture(params=["claude-haiku-4-5", "claude-opus-4-6", "claude-opus-5", "claude-3-5-haiku", "served"])
    def route(self, request: pytest.FixtureRequest) -> Route:
        return Route("mine", request.param)


class _Wire:
    model = "claude-sonnet-4-5"

    @pytest.fixture
    def api(self, anthropic_upstream: AnthropicHandle) -> AnthropicHandle:
        return anthropic_upstream


class TestAnthropicFaults(_Wire, ProviderFaultsSuite):
    own_headers: ClassVar = {"anthropic-version": "2023-06-01", "x-api-key": KEY}

    def error(self, message: str) -> str:
        return json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": message}})


class TestAnthropicStreams(_Wire, ProviderStreamsSuite):
    two_words_and_an_error: ClassVar = {"error_after": 5}
