"""The whole line: openai-python, the gateway, Claude's wire; and what the ledger says."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import httpx2
import openai
import pytest

from gateway_core.testing.anthropic_fixture import AnthropicHandle
from gateway_core.testing.line import events, text_of
from gateway_core.testing.server import PATIENCE, ServedGateway, serving

CONFIG = """
[server]
grace_seconds = 1

[upstream]
retries = 0
breaker_failures = 0

[providers.claude]
plugin = "provider-anthropic"
base_url = "{base_url}"
api_key = "env:STRICT_KEY"

[models."claude-sonnet-4-5"]
routes = [{{ provider = "claude", model = "claude-sonnet-4-5" }}]
price = {{ input = "3.00", cached_input = "0.30", cache_write = "3.75", output = "15.00" }}
max_output_tokens = 64000
features = ["stream", "tools", "vision", "json_schema"]
"""
MODEL = "claude-sonnet-4-5"
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
TOOLS: list[Any] = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]


@pytest.fixture(scope="module")
def served(
    anthropic_upstream_process: AnthropicHandle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedGateway]:
    config = CONFIG.format(base_url=anthropic_upstream_process.base_url)
    home = tmp_path_factory.mktemp("claude") / "home"
    with serving(home, config=config, env={"STRICT_KEY": anthropic_upstream_process.key}) as gateway:
        yield gateway


@pytest.fixture
def http(served: ServedGateway, anthropic_upstream: AnthropicHandle) -> Iterator[httpx2.Client]:
    headers = {"Authorization": f"Bearer {served.key}", "Cookie": "a=b", "X-Secret": "of the client's"}
    with httpx2.Client(base_url=served.url, headers=headers, timeout=PATIENCE) as http:
        yield http


@pytest.fixture
def client(served: ServedGateway, anthropic_upstream: AnthropicHandle) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=served.key, max_retries=0) as client:
        yield client


def ask(http: httpx2.Client, **fields: Any) -> httpx2.Response:
    return http.post("/v1/chat/completions", json={"model": MODEL, "messages": HELLO, **fields})


def row_of(served: ServedGateway, request_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with closing(sqlite3.connect(f"file:{served.home / 'store.sqlite3'}?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            row = db.execute("SELECT * FROM ledger WHERE id = ?", (request_id,)).fetchone()
        if row is not None:
            return dict(row)
        time.sleep(0.02)
    pytest.fail(f"{request_id} is not on the ledger")


def test_O1_U1_U2_a_plain_answer(http: httpx2.Client, anthropic_upstream: AnthropicHandle) -> None:
    anthropic_upstream.script(MODEL, text="Hello there", cached=100, cache_write=10)
    answer = ask(http, temperature=0).json()
    assert answer["id"].startswith("chatcmpl-")
    assert (answer["object"], answer["model"]) == ("chat.completion", MODEL)
    assert answer["choices"][0]["message"]["content"] == "Hello there"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens"] > 110
    assert usage["prompt_tokens_details"]["cached_tokens"] == 100
    fresh = usage["prompt_tokens"] - 110
    listed = fresh * 300 + 100 * 30 + 10 * 375 + usage["completion_tokens"] * 1_500  # cents for a million times 100
    assert Decimal(usage["cost_cents"]) == Decimal(listed) / 1_000_000


@pytest.mark.parametrize("asked", [False, True])
def test_X1_X2_X3_a_stream(http: httpx2.Client, anthropic_upstream: AnthropicHandle, asked: bool) -> None:
    anthropic_upstream.script(MODEL, text="Hello there", oddities=True)
    options = {"stream_options": {"include_usage": True}} if asked else {}
    response = ask(http, stream=True, **options)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert "event:" not in response.text
    *chunks, done = events(response.text)
    assert done == "[DONE]"
    assert text_of(chunks) == "Hello there"
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    assert [reason for reason in reasons if reason] == ["stop"]
    assert [bool(chunk.get("usage")) for chunk in chunks] == [False] * (len(chunks) - 1) + [asked]
    assert [chunk["choices"] == [] for chunk in chunks] == [False] * (len(chunks) - 1) + [asked]


@pytest.mark.parametrize("stream", [False, True])
def test_R4_T6_a_loop_of_openai_python_with_thinking(
    client: openai.OpenAI, anthropic_upstream: AnthropicHandle, stream: bool
) -> None:
    calls = [{"id": f"toolu_{stream}", "name": "f", "input": {"a": 1}}]
    anthropic_upstream.script(MODEL, thinking=["hm"], text="so", calls=calls, times=1)
    asked: dict[str, Any] = {"model": MODEL, "tools": TOOLS, "reasoning_effort": "low"}
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
    sent = anthropic_upstream.log()[-1]["body"]
    assert sent["thinking"]["type"] == "enabled"
    assert [block["type"] for block in sent["messages"][1]["content"]] == ["thinking", "text", "tool_use"]


def test_K1_K2_nothing_of_the_clients_headers_goes_upstream(
    http: httpx2.Client, served: ServedGateway, anthropic_upstream: AnthropicHandle
) -> None:
    ask(http)
    headers = anthropic_upstream.log()[-1]["headers"]
    assert headers["x-api-key"] == anthropic_upstream.key
    assert not {"authorization", "cookie", "x-secret"} & set(headers)
    assert served.key not in json.dumps(anthropic_upstream.log())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "seen", "code"),
    [(400, 400, "invalid_request"), (413, 413, "request_too_large"), (401, 503, "provider_error"),
     (404, 503, "provider_error"), (429, 429, "provider_rate_limited"), (529, 503, "provider_error")],
)  # fmt: skip
def test_E1_E2_E3_E7_each_status_is_the_contracts(
    http: httpx2.Client, anthropic_upstream: AnthropicHandle, status: int, seen: int, code: str, stream: bool
) -> None:
    body = json.dumps({"type": "error", "error": {"type": "some_error", "message": "it is bad"}})
    anthropic_upstream.script(MODEL, status=status, body=body, headers={"retry-after": "7"})
    response = ask(http, stream=stream)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (seen, code, None)
    assert ("it is bad" in error["message"]) == (seen in (400, 413))
    if status in (429, 529):
        assert response.headers["retry-after"] == "7"


@pytest.mark.parametrize(
    "fields", [{"n": 9}, {"logprobs": True}, {"tools": [{"type": "custom", "custom": {"name": "x"}}]}]
)
def test_E1_E7_what_cannot_be_done_names_its_field(http: httpx2.Client, fields: Any) -> None:
    response = ask(http, **fields)
    assert response.status_code == 400
    assert response.json()["error"]["param"].startswith(next(iter(fields)))


@pytest.mark.parametrize("how", [{"error_after": 5}, {"reset_at": 900}, {"close_at": 900}])
def test_E4_a_stream_that_breaks_off(http: httpx2.Client, anthropic_upstream: AnthropicHandle, how: Any) -> None:
    anthropic_upstream.script(MODEL, words=50, **how)
    found = events(ask(http, stream=True).text)
    assert "error" in found[-1]
    assert not any(choice["finish_reason"] for event in found[:-1] for choice in event["choices"])


def test_E6_U2_a_client_that_leaves_pays_for_what_it_got(
    http: httpx2.Client, served: ServedGateway, anthropic_upstream: AnthropicHandle
) -> None:
    anthropic_upstream.script(MODEL, words=400, gap_ms=5, cached=64)
    body = {"model": MODEL, "messages": HELLO, "stream": True}
    with http.stream("POST", "/v1/chat/completions", json=body) as response:
        request_id = response.headers["x-request-id"]
        for line in response.iter_lines():
            if "word9" in line:
                break
    anthropic_upstream.wait_for(lambda log: log[-1]["state"] == "client_gone")
    row = row_of(served, request_id)
    assert row["outcome"] == "cut"
    assert row["cached"] == 64
    assert row["input"] > 64
    assert 5 <= row["output"] <= 100
    assert row["estimated"]
