"""The whole line to OpenAI's wire."""

import json

import pytest

from gateway_core.testing.line import PRICED
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.provider_line_suite import ProviderLineSuite


class TestOpenAILine(ProviderLineSuite):
    plugin = "provider-openai"
    model = "m"
    priced = PRICED

    @pytest.fixture(scope="class")
    @classmethod
    def api_process(cls, openai_upstream_process: UpstreamHandle) -> UpstreamHandle:
        return openai_upstream_process

    @pytest.fixture
    def api(self, openai_upstream: UpstreamHandle) -> UpstreamHandle:
        return openai_upstream

    def error(self, message: str) -> str:
        return json.dumps({"error": {"message": message, "type": "invalid_request_error", "code": "bad_value"}})
