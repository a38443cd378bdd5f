"""The whole line: openai-python, the gateway, Gemini's wire; what survives a restart, and what the ledger says."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from gateway_core.testing.gemini_fixture import GeminiHandle
from gateway_core.testing.line import events, text_of
from gateway_core.testing.provider_suite import WEATHER
from gateway_core.testing.server import PATIENCE, ServedGateway, serving

MODEL = "gemini-3.8-flash"
CONFIG = """
[server]
grace_seconds = 1

[upstream]
retries = 0
breaker_failures = 0

[providers.google]
plugin = "provider-gemini"
base_url = "{base_url}"
api_key = "env:STRICT_KEY"

[models.gemini]
routes = [{{ provider = "google", model = "gemini-3.8-flash" }}]
price = {{ input = "1.00", cached_input = "0.10", output = "10.00" }}
max_output_tokens = 64000
features = ["stream", "tools", "vision", "json_schema", "reasoning"]
"""
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
TOOLS: list[Any] = [WEATHER]
CALL = {"name": "get_weather", "args": {"city": "Bern"}}


@pytest.fixture(scope="module")
def served(gemini_upstream_process: GeminiHandle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedGateway]:
    config = CONFIG.format(base_url=gemini_upstream_process.base_url)
    home = tmp_path_factory.mktemp("gemini") / "home"
    with serving(home, config=config, env={"STRICT_KEY": gemini_upstream_process.key}) as gateway:
        yield gateway


@pytest.fixture
def client(served: ServedGateway, gemini_upstream: GeminiHandle) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=served.base_url, api_key=served.key, max_retries=0) as client:
        yield client


@pytest.fixture
def http(served: ServedGateway, gemini_upstream: GeminiHandle) -> Iterator[httpx2.Client]:
    headers = {"Authorization": f"Bearer {served.key}", "Cookie": "a=b", "X-Secret": "of the client's"}
    with httpx2.Client(base_url=served.url, headers=headers, timeout=PATIENCE) as http:
        yield http


def ask(http: httpx2.Client, **fields: Any) -> httpx2.Response:
    return http.post("/v1/chat/completions", json={"model": "gemini", "messages": HELLO, **fields})


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


def test_K1_K2_nothing_of_the_clients_headers_goes_upstream(http: httpx2.Client, gemini_upstream: GeminiHandle) -> None:
    assert ask(http).status_code == 200
    (entry,) = gemini_upstream.log()
    assert entry["headers"]["x-goog-api-key"] == gemini_upstream.key
    assert {"authorization", "cookie", "x-secret"}.isdisjoint(entry["headers"])


def test_U1_U2_U3_the_usage_is_what_is_charged(
    client: openai.OpenAI, served: ServedGateway, gemini_upstream: GeminiHandle
) -> None:
    counts = {
        "promptTokenCount": 1000,
        "cachedContentTokenCount": 400,
        "candidatesTokenCount": 7,
        "thoughtsTokenCount": 3,
    }
    gemini_upstream.script(MODEL, usage=counts)
    raw = client.chat.completions.with_raw_response.create(model="gemini", messages=HELLO)
    # 600 × $1 + 400 × $0.10 + 10 × $10, each for a million tokens, in cents
    assert Decimal(raw.headers["x-syncropic-cost-cents"]) == Decimal("0.074")
    usage = raw.parse().usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (1000, 10, 1010)
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 400
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 3


@pytest.mark.parametrize("asked", [False, True])
def test_X1_X2_X3_a_stream_as_openai_writes_it(http: httpx2.Client, asked: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if asked else {}
    answer = ask(http, stream=True, n=2, **options)
    *chunks, done = events(answer.text)
    assert done == "[DONE]"
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    assert [reason for reason in reasons if reason] == ["stop", "stop"]
    usages = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    assert len(usages) == asked
    assert (chunks[-1]["choices"] == []) == asked
    assert "event:" not in answer.text


def loop(client: openai.OpenAI, *, stream: bool) -> list[Any]:
    """One turn with calls, as a client that keeps standard fields only has it afterwards."""
    if stream:
        calls: dict[int, dict[str, Any]] = {}
        for chunk in client.chat.completions.create(model="gemini", messages=HELLO, tools=TOOLS, stream=True):
            for piece in chunk.choices[0].delta.tool_calls or () if chunk.choices else ():
                assert piece.function is not None
                call = calls.setdefault(piece.index, {"id": piece.id, "name": piece.function.name, "arguments": ""})
                call["arguments"] += piece.function.arguments or ""
        made = list(calls.values())
    else:
        answer = client.chat.completions.create(model="gemini", messages=HELLO, tools=TOOLS)
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


def signatures(upstream: GeminiHandle) -> list[Any]:
    turns = upstream.log()[-1]["body"]["contents"]
    parts = [part for turn in turns for part in turn["parts"] if "functionCall" in part]
    return [part.get("thoughtSignature") for part in parts]


@pytest.mark.parametrize("stream", [False, True])
def test_T6_R6_the_loop_works_with_standard_fields(
    client: openai.OpenAI, gemini_upstream: GeminiHandle, stream: bool
) -> None:
    gemini_upstream.script(MODEL, calls=[[CALL, CALL], [CALL]], times=1)
    messages = loop(client, stream=stream)
    answer = client.chat.completions.create(model="gemini", messages=messages, tools=TOOLS)
    assert answer.choices[0].message.content
    first, *others = signatures(gemini_upstream)
    assert first != "skip_thought_signature_validator"
    assert others == [None, None]


def test_R6_signatures_survive_a_restart(
    gemini_upstream: GeminiHandle, gemini_upstream_process: GeminiHandle, tmp_path: Path
) -> None:
    config = CONFIG.format(base_url=gemini_upstream_process.base_url)
    env = {"STRICT_KEY": gemini_upstream.key}
    gemini_upstream.script(MODEL, calls=[[CALL]], times=1)
    with serving(tmp_path / "home", config=config, env=env) as gateway:
        key = gateway.key
        with openai.OpenAI(base_url=gateway.base_url, api_key=key, max_retries=0) as client:
            messages = loop(client, stream=True)
        assert gateway.stop() == 0
    with (
        serving(tmp_path / "home", config=config, env=env) as gateway,
        openai.OpenAI(base_url=gateway.base_url, api_key=key, max_retries=0) as client,
    ):
        client.chat.completions.create(model="gemini", messages=messages, tools=TOOLS)
    (signature,) = signatures(gemini_upstream)
    assert signature != "skip_thought_signature_validator"


@pytest.mark.parametrize("stream", [False, True])
def test_E2_a_throttle_is_a_429_with_its_wait(http: httpx2.Client, gemini_upstream: GeminiHandle, stream: bool) -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "6.2s"}]
    error = {"code": 429, "message": "Quota", "status": "RESOURCE_EXHAUSTED", "details": details}
    gemini_upstream.script(MODEL, status=429, body=json.dumps({"error": error}))
    answer = ask(http, stream=stream)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.json()["error"]["code"] == "provider_rate_limited"


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        ({"status": 400, "body": '{"error": {"code": 400, "message": "bad"}}'}, 400, "invalid_request"),
        ({"status": 400, "body": '{"error": {"message": "API key not valid."}}'}, 503, "provider_error"),
        ({"status": 404, "body": "{}"}, 503, "provider_error"),
        ({"status": 413, "body": "{}"}, 413, "request_too_large"),
        ({"status": 503, "body": "<html>"}, 503, "provider_error"),
        ({"body": "nonsense"}, 503, "provider_error"),
    ],
)
def test_E1_E3_E7_failures_are_openais(
    http: httpx2.Client, gemini_upstream: GeminiHandle, script: dict[str, Any], status: int, code: str
) -> None:
    gemini_upstream.script(MODEL, **script)
    answer = ask(http)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert error["param"] is None


def test_what_the_model_cannot_do_is_a_400_that_names_the_field(
    http: httpx2.Client, gemini_upstream: GeminiHandle
) -> None:
    answer = ask(http, n=9)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "n")
    assert "gemini" in answer.json()["error"]["message"]
    assert gemini_upstream.log() == []


def test_E4_a_stream_that_breaks_off_ends_with_an_error_and_is_billed_by_the_last_count(
    http: httpx2.Client, served: ServedGateway, gemini_upstream: GeminiHandle
) -> None:
    gemini_upstream.script(MODEL, words=5, error_after=3)
    answer = ask(http, stream=True)
    found = events(answer.text)
    assert text_of(found[:-1]) == "word0 word1 word2"
    assert found[-1]["error"]["code"] == "provider_error"
    assert all(choice["finish_reason"] is None for event in found[:-1] for choice in event["choices"])
    row = row_of(served, answer.headers["x-request-id"])
    assert (row["outcome"], row["stream_state"], row["output"]) == ("cut", "provider_error", 3)


def test_E6_U2_a_client_that_leaves_pays_for_what_it_got(
    http: httpx2.Client, served: ServedGateway, gemini_upstream: GeminiHandle
) -> None:
    gemini_upstream.script(MODEL, words=400, gap_ms=5)
    body = {"model": "gemini", "messages": HELLO, "stream": True}
    with http.stream("POST", "/v1/chat/completions", json=body) as response:
        request_id = response.headers["x-request-id"]
        for line in response.iter_lines():
            if "word9" in line:
                break
    gemini_upstream.wait_for(lambda log: log[-1]["state"] == "client_gone")
    row = row_of(served, request_id)
    assert (row["outcome"], row["stream_state"]) == ("cut", "client_disconnect")
    assert 5 <= row["output"] <= 100
