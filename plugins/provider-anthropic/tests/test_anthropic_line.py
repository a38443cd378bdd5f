"""The whole line: openai-python, the gateway, Claude's wire; and what the ledger says."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import openai
import pytest

from gateway_core.testing.anthropic_fixture import AnthropicHandle
from gateway_core.testing.line import Line
from gateway_core.testing.provider_line_suite import ProviderLineSuite

MODEL = "claude-sonnet-4-5"
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
TOOLS: list[Any] = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]


class TestAnthropicLine(ProviderLineSuite):
    plugin = "provider-anthropic"
    model = MODEL
    priced = """
price = { input = "3.00", cached_input = "0.30", cache_write = "3.75", output = "15.00" }
max_output_tokens = 64000
features = ["stream", "tools", "vision", "json_schema"]
"""

    @pytest.fixture(scope="class")
    @classmethod
    def api_process(cls, anthropic_upstream_process: AnthropicHandle) -> AnthropicHandle:
        return anthropic_upstream_process

    @pytest.fixture
    def api(self, anthropic_upstream: AnthropicHandle) -> AnthropicHandle:
        return anthropic_upstream

    @pytest.fixture
    def client(self, line: Line) -> Iterator[openai.OpenAI]:
        with openai.OpenAI(base_url=line.gateway.base_url, api_key=line.gateway.key, max_retries=0) as client:
            yield client

    def error(self, message: str) -> str:
        return json.dumps({"type": "error", "error": {"type": "some_error", "message": message}})

    def test_O1_U1_U2_a_plain_answer(self, line: Line) -> None:
        line.upstream.script(MODEL, text="Hello there", cached=100, cache_write=10)
        answer = line.call(temperature=0).json()
        assert answer["id"].startswith("chatcmpl-")
        assert (answer["object"], answer["model"]) == ("chat.completion", "priced")
        assert answer["choices"][0]["message"]["content"] == "Hello there"
        usage = answer["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        assert usage["prompt_tokens"] > 110
        assert usage["prompt_tokens_details"]["cached_tokens"] == 100
        fresh = usage["prompt_tokens"] - 110
        listed = fresh * 300 + 100 * 30 + 10 * 375 + usage["completion_tokens"] * 1_500  # cents for a million times 100
        assert Decimal(usage["cost_cents"]) == Decimal(listed) / 1_000_000

    @pytest.mark.parametrize("stream", [False, True])
    def test_R4_T6_a_loop_of_openai_python_with_thinking(self, client: openai.OpenAI, line: Line, stream: bool) -> None:
        calls = [{"id": f"toolu_{stream}", "name": "f", "input": {"a": 1}}]
        line.upstream.script(MODEL, thinking=["hm"], text="so", calls=calls, times=1)
        asked: dict[str, Any] = {"model": "priced", "tools": TOOLS, "reasoning_effort": "low"}
        if stream:
            with client.chat.completions.stream(messages=HELLO, **asked) as running:
                message = running.get_final_completion().choices[0].message
        else:
            message = client.chat.completions.create(messages=HELLO, **asked).choices[0].message
        assert message.tool_calls
        kept: Any = {
            "role": "assistant",
            "content": message.content,
            "tool_calls": [
                {"id": call.id, "type": "function", "function": {"name": "f", "arguments": call.function.arguments}}
                for call in message.tool_calls
            ],
        }
        result: Any = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "1"}
        again = client.chat.completions.create(messages=[*HELLO, kept, result], **asked)
        assert again.choices[0].message.content
        sent = line.upstream.log()[-1]["body"]
        assert sent["thinking"]["type"] == "enabled"
        assert [block["type"] for block in sent["messages"][1]["content"]] == ["thinking", "text", "tool_use"]

    @pytest.mark.parametrize(
        "fields", [{"n": 9}, {"logprobs": True}, {"tools": [{"type": "custom", "custom": {"name": "x"}}]}]
    )
    def test_E1_E7_what_cannot_be_done_names_its_field(self, line: Line, fields: Any) -> None:
        response = line.call(**fields)
        assert response.status_code == 400
        assert response.json()["error"]["param"].startswith(next(iter(fields)))

    def test_E6_U2_who_leaves_pays_for_the_prompt_as_it_was_counted(self, line: Line) -> None:
        line.upstream.script(MODEL, words=400, gap_ms=5, cached=64)
        with line.http.stream("POST", "/v1/chat/completions", json=line.body(stream=True)) as answer:
            request_id = answer.headers["x-request-id"]
            next(one for one in answer.iter_lines() if "word9" in one)
        row = line.row(request_id)
        assert (row["outcome"], row["cached"], row["estimated"]) == ("cut", 64, 1)
        assert row["input"] > 64
