"""The whole line: openai-python, the gateway, Gemini's wire; what survives a restart, and what the ledger says."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway_core.testing.gemini_fixture import GeminiHandle
from gateway_core.testing.line import Line, events, text_of
from gateway_core.testing.line import line as line_to
from gateway_core.testing.provider_line_suite import ProviderLineSuite
from gateway_core.testing.provider_suite import WEATHER
from gateway_core.testing.upstream_handle import ScriptedHandle

MODEL = "gemini-3.8-flash"
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
TOOLS: list[Any] = [WEATHER]
CALL = {"name": "get_weather", "args": {"city": "Bern"}}


def loop(client: openai.OpenAI, *, stream: bool) -> list[Any]:
    """One turn with calls, as a client that keeps standard fields only has it afterwards."""
    if stream:
        calls: dict[int, dict[str, Any]] = {}
        for chunk in client.chat.completions.create(model="priced", messages=HELLO, tools=TOOLS, stream=True):
            for piece in chunk.choices[0].delta.tool_calls or () if chunk.choices else ():
                assert piece.function is not None
                call = calls.setdefault(piece.index, {"id": piece.id, "name": piece.function.name, "arguments": ""})
                call["arguments"] += piece.function.arguments or ""
        made = list(calls.values())
    else:
        answer = client.chat.completions.create(model="priced", messages=HELLO, tools=TOOLS)
        made = [
            {"id": call.id, "name": call.function.name, "arguments": call.function.arguments}
            for call in answer.choices[0].message.tool_calls or ()
            if call.type == "function"
        ]
    kept = [
        {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
        for call in made
    ]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "sunny"} for call in made]
    return [*HELLO, {"role": "assistant", "content": None, "tool_calls": kept}, *results]


def signatures(upstream: ScriptedHandle) -> list[Any]:
    turns = upstream.log()[-1]["body"]["contents"]
    parts = [part for turn in turns for part in turn["parts"] if "functionCall" in part]
    return [part.get("thoughtSignature") for part in parts]


class TestGeminiLine(ProviderLineSuite):
    plugin = "provider-gemini"
    model = MODEL
    priced = """
price = { input = "1.00", cached_input = "0.10", output = "10.00" }
max_output_tokens = 64000
features = ["stream", "tools", "vision", "json_schema", "reasoning"]
"""

    @pytest.fixture(scope="class")
    @classmethod
    def api_process(cls, gemini_upstream_process: GeminiHandle) -> GeminiHandle:
        return gemini_upstream_process

    @pytest.fixture
    def api(self, gemini_upstream: GeminiHandle) -> GeminiHandle:
        return gemini_upstream

    @pytest.fixture
    def client(self, line: Line) -> Iterator[openai.OpenAI]:
        with openai.OpenAI(base_url=line.gateway.base_url, api_key=line.gateway.key, max_retries=0) as client:
            yield client

    def error(self, message: str) -> str:
        return json.dumps({"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}})

    def test_U1_U2_U3_the_usage_is_what_is_charged(self, client: openai.OpenAI, line: Line) -> None:
        counts = {
            "promptTokenCount": 1000,
            "cachedContentTokenCount": 400,
            "candidatesTokenCount": 7,
            "thoughtsTokenCount": 3,
        }
        line.upstream.script(MODEL, usage=counts)
        raw = client.chat.completions.with_raw_response.create(model="priced", messages=HELLO)
        # 600 × $1 + 400 × $0.10 + 10 × $10, each for a million tokens, in cents
        assert Decimal(raw.headers["x-syncropic-cost-cents"]) == Decimal("0.074")
        usage = raw.parse().usage
        assert usage is not None
        assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (1000, 10, 1010)
        assert usage.prompt_tokens_details is not None
        assert usage.prompt_tokens_details.cached_tokens == 400
        assert usage.completion_tokens_details is not None
        assert usage.completion_tokens_details.reasoning_tokens == 3

    @pytest.mark.parametrize("stream", [False, True])
    def test_T6_R6_the_loop_works_with_standard_fields(self, client: openai.OpenAI, line: Line, stream: bool) -> None:
        line.upstream.script(MODEL, calls=[[CALL, CALL], [CALL]], times=1)
        messages = loop(client, stream=stream)
        answer = client.chat.completions.create(model="priced", messages=messages, tools=TOOLS)
        assert answer.choices[0].message.content
        first, *others = signatures(line.upstream)
        assert first != "skip_thought_signature_validator"
        assert others == [None, None]

    def test_R6_signatures_survive_a_restart(self, api: GeminiHandle, tmp_path: Path) -> None:
        api.script(MODEL, calls=[[CALL]], times=1)
        with line_to(tmp_path / "home", api, plugin=self.plugin, model=MODEL, priced=self.priced) as line:
            key = line.gateway.key
            with openai.OpenAI(base_url=line.gateway.base_url, api_key=key, max_retries=0) as client:
                messages = loop(client, stream=True)
            assert line.gateway.stop() == 0
        with line_to(tmp_path / "home", api, plugin=self.plugin, model=MODEL, priced=self.priced, key=key) as line:
            assert line.call(messages=messages, tools=TOOLS).status_code == 200
        (signature,) = signatures(api)
        assert signature != "skip_thought_signature_validator"

    @pytest.mark.parametrize("stream", [False, True])
    def test_E2_a_throttle_is_a_429_with_its_wait(self, line: Line, stream: bool) -> None:
        details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "6.2s"}]
        error = {"code": 429, "message": "Quota", "status": "RESOURCE_EXHAUSTED", "details": details}
        line.upstream.script(MODEL, status=429, body=json.dumps({"error": error}))
        answer = line.call(stream=stream)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
        assert answer.json()["error"]["code"] == "provider_rate_limited"

    def test_E7_what_the_model_cannot_do_is_a_400_that_names_the_field(self, line: Line) -> None:
        answer = line.call(n=9)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "n")
        assert "priced" in answer.json()["error"]["message"]
        assert line.upstream.log() == []

    def test_E4_U2_a_stream_that_breaks_off_is_billed_by_the_last_count(self, line: Line) -> None:
        line.upstream.script(MODEL, words=5, error_after=3)
        answer = line.call(stream=True)
        assert text_of(events(answer.text)[:-1]) == "word0 word1 word2"
        row = line.row(answer.headers["x-request-id"])
        assert (row["outcome"], row["stream_state"], row["output"]) == ("cut", "provider_error", 3)
