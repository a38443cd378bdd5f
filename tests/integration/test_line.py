"""The line of one call on real sockets: client → `spl serve` → a strict upstream, down to the settled row."""

import json
import signal
import time
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import httpx2
import pytest

from gateway_core.testing.line import sent_call
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.openai_script import Script, events_of
from gateway_core.testing.server import PATIENCE, ServedGateway, serving

CONFIG = """
[server]
grace_seconds = 0.5

[upstream]
retries = 1
breaker_failures = 0

[providers.strict]
plugin = "provider-openai"
base_url = "{base_url}"
api_key = "env:STRICT_KEY"

[models.priced]
routes = [{{ provider = "strict", model = "upstream-name" }}]
price = {{ input = "1.00", cached_input = "0.50", output = "10.00" }}
max_output_tokens = 1000
overhead_tokens = 0
tokenizer = "o200k_base"

[models.small]
routes = [{{ provider = "strict", model = "upstream-name" }}]
price = "free"
context_tokens = 100
tokenizer = "o200k_base"

[models.fallback]
routes = [{{ provider = "strict", model = "broken" }}, {{ provider = "strict", model = "works" }}]
price = "free"
"""

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def served(
    openai_upstream_process: UpstreamHandle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedGateway]:
    """The gateway in front of the strict upstream."""
    config = CONFIG.format(base_url=openai_upstream_process.base_url)
    home = tmp_path_factory.mktemp("line") / "home"
    with serving(home, config=config, env={"STRICT_KEY": openai_upstream_process.key}) as gateway:
        yield gateway


@pytest.fixture
def client(served: ServedGateway, openai_upstream: UpstreamHandle) -> Iterator[httpx2.Client]:
    """A client with the first key."""
    with httpx2.Client(base_url=served.url, headers={"Authorization": f"Bearer {served.key}"}, timeout=20) as made:
        yield made


def call(client: httpx2.Client, **fields: Any) -> httpx2.Response:
    return client.post("/v1/chat/completions", json={"model": "priced", "messages": HELLO, **fields})


def record(client: httpx2.Client, request_id: str) -> dict[str, Any]:
    answer = client.get(f"/v1/requests/{request_id}")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def events(text: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def mint(served: ServedGateway, **limits: str) -> str:
    options = [part for name, value in limits.items() for part in (f"--{name.replace('_', '-')}", value)]
    minted = json.loads(served.spl("keys", "mint", "--account", "local", "--name", "capped", *options, "-o", "json"))
    secret: str = minted["secret"]
    return secret


# ---------------------------------------------------------------- plain


def test_every_field_reaches_the_upstream_and_only_the_model_changes(
    client: httpx2.Client, openai_upstream: UpstreamHandle
) -> None:
    fields = {
        "temperature": 0,
        "top_p": 0.5,
        "seed": 12345678901234567,
        "stop": ["\n", "END"],
        "max_completion_tokens": 77,
        "logit_bias": {"50256": -100},
        "metadata": {"a": "b"},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
        "tool_choice": "auto",
        "user": "ümläut ✓",
        "chat_template_kwargs": {"deep": [1, {"x": None}]},
        "top_k": 5,
    }
    assert call(client, **fields).status_code == 200
    sent = openai_upstream.log()[0]
    assert sent["body"] == {"model": "upstream-name", "messages": HELLO, **fields}
    assert sent["headers"]["authorization"] == f"Bearer {openai_upstream.key}"
    assert client.headers["authorization"] not in json.dumps(sent)


def test_a_plain_answer_its_price_and_its_record(client: httpx2.Client, openai_upstream: UpstreamHandle) -> None:
    openai_upstream.script(
        "upstream-name",
        usage={
            "prompt_tokens": 1000,
            "completion_tokens": 10,
            "total_tokens": 1010,
            "prompt_tokens_details": {"cached_tokens": 400},
        },
    )
    answer = call(client)
    body = answer.json()
    # 600 × $1 + 400 × $0.50 + 10 × $10 per 1M = $0.0009; but a call of 60 bytes may cost no more than it held.
    assert body["model"] == "priced"
    assert body["id"].startswith("chatcmpl-")
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]
    assert answer.headers["x-syncropic-cost-cents"] == body["usage"]["cost_cents"] == "0.09"
    assert answer.headers["x-syncropic-tier"] == "self-host"
    assert answer.headers["x-request-id"] == answer.headers["x-syncropic-request-id"]
    kept = record(client, answer.headers["x-request-id"])
    assert kept["cost_usd"] == "0.0009"
    assert (kept["tokens_input"], kept["tokens_cached"], kept["tokens_output"]) == (1000, 400, 10)
    assert (kept["stream_state"], kept["outcome"], kept["error_code"]) == (None, "ok", None)
    assert (kept["provider"], kept["upstream_model"]) == ("strict", "upstream-name")


# ---------------------------------------------------------------- streams


def test_a_stream_from_role_to_done(client: httpx2.Client) -> None:
    answer = call(client, stream=True, stream_options={"include_usage": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    *chunks, usage, done = events(answer.text)
    assert done == "[DONE]"
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks].count("stop") == 1
    assert {(chunk["id"], chunk["created"], chunk["model"]) for chunk in [*chunks, usage]} == {
        (usage["id"], usage["created"], "priced")
    }
    assert all(chunk["usage"] is None for chunk in chunks)
    assert usage["choices"] == []
    kept = record(client, answer.headers["x-request-id"])
    assert kept["stream_state"] == "completed"
    assert kept["tokens_output"] == usage["usage"]["completion_tokens"] > 0
    assert isinstance(kept["ttft_ms"], int)


def test_usage_is_only_sent_where_it_was_asked_for(client: httpx2.Client, openai_upstream: UpstreamHandle) -> None:
    answer = call(client, stream=True)
    chunks = events(answer.text)
    assert chunks.pop() == "[DONE]"
    assert all(chunk["choices"] and "usage" not in chunk for chunk in chunks)
    assert openai_upstream.log()[0]["body"]["stream_options"] == {"include_usage": True}
    assert record(client, answer.headers["x-request-id"])["estimated"] is False


def test_a_stream_without_a_report_is_counted_and_marked(
    client: httpx2.Client, openai_upstream: UpstreamHandle
) -> None:
    openai_upstream.script("upstream-name", usage="none", text="one two three")
    answer = call(client, stream=True)
    kept = record(client, answer.headers["x-request-id"])
    assert (kept["estimated"], kept["stream_state"]) == (True, "completed")
    assert kept["tokens_output"] == 3


def test_a_client_that_leaves_pays_for_what_it_got(client: httpx2.Client, openai_upstream: UpstreamHandle) -> None:
    script: dict[str, Any] = {"model": "upstream-name", "words": 1000, "gap_ms": 20}
    openai_upstream.script(**script)
    got = ""
    body = {"model": "priced", "messages": HELLO, "stream": True}
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        for text in answer.iter_text():
            got += text
            if "word20" in got:
                break
    (asked,) = openai_upstream.wait_for(lambda log: log[0]["state"] == "client_gone")
    kept = settled(client, answer.headers["x-request-id"])
    assert (kept["stream_state"], kept["outcome"]) == ("client_disconnect", "cut")
    received = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in events(got))
    # Words of two tokens each; what left the gateway until it heard of the hang-up was delivered to the kernel.
    ends = accumulate(map(len, events_of(Script(**script), asked["body"])))
    words_sent = bisect_right(list(ends), asked["sent"]) - 1  # the first event is the role
    assert len(received.split()) * 2 - 2 <= kept["tokens_output"] <= words_sent * 2 < 2000
    assert kept["tokens_generated"] == kept["tokens_output"]
    assert kept["estimated"] is False or kept["tokens_input"] > 0


def settled(client: httpx2.Client, request_id: str) -> dict[str, Any]:
    """The record of a call that ends by itself: polled, since nobody answers for it any more."""
    give_up = time.monotonic() + PATIENCE  # its tokens are counted first, by a vocabulary that may have to be loaded
    while time.monotonic() < give_up:
        if client.get(f"/v1/requests/{request_id}").status_code == 200:
            return record(client, request_id)
        time.sleep(0.01)
    raise AssertionError(f"{request_id} was never settled")


def test_a_stream_that_breaks_off_ends_with_an_error_and_no_done(
    client: httpx2.Client, openai_upstream: UpstreamHandle
) -> None:
    openai_upstream.script("upstream-name", words=50, reset_at=2000)
    answer = call(client, stream=True)
    *chunks, error = events(answer.text)
    assert error["error"]["code"] == "provider_error"
    assert error["error"]["request_id"] == answer.headers["x-request-id"]
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks)
    kept = record(client, answer.headers["x-request-id"])
    assert (kept["stream_state"], kept["outcome"], kept["error_code"]) == ("provider_error", "cut", "provider_error")
    assert kept["tokens_output"] > 0


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        ({"status": 500, "body": "oops"}, 503, "provider_error"),
        ({"status": 401, "body": "{}"}, 503, "provider_error"),
        ({"status": 404, "body": "{}"}, 503, "provider_error"),
        ({"body": "<html>", "content_type": "text/html"}, 503, "provider_error"),
        ({"status": 429, "headers": {"retry-after": "7"}, "body": "{}"}, 429, "provider_rate_limited"),
        (
            {"status": 400, "body": '{"error": {"message": "bad image", "param": "messages"}}'},
            400,
            "invalid_request",
        ),
        ({"status": 413, "body": '{"error": {"message": "too long"}}'}, 413, "request_too_large"),
    ],
)
def test_an_upstreams_failure_has_its_status_and_costs_nothing(
    client: httpx2.Client, openai_upstream: UpstreamHandle, script: dict[str, Any], status: int, code: str, stream: bool
) -> None:
    openai_upstream.script("upstream-name", **script)
    answer = call(client, stream=stream)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    if status == 429:
        assert answer.headers["retry-after"] == "7"
    assert str(openai_upstream.port) not in answer.text
    kept = record(client, answer.headers["x-request-id"])
    assert (kept["cost_usd"], kept["outcome"], kept["error_code"]) == ("0", "failed", code)


def test_the_next_route_serves_where_the_first_fails(client: httpx2.Client, openai_upstream: UpstreamHandle) -> None:
    openai_upstream.script("broken", status=500, body="oops")
    answer = call(client, model="fallback")
    assert answer.status_code == 200
    assert record(client, answer.headers["x-request-id"])["upstream_model"] == "works"


def test_bad_input_names_the_field_and_reaches_nobody(client: httpx2.Client, openai_upstream: UpstreamHandle) -> None:
    answer = call(client, max_tokens=-1)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_request", "max_tokens")
    assert error["request_id"] == answer.headers["x-request-id"]
    assert openai_upstream.log() == []


def test_what_is_longer_than_the_context_is_refused(client: httpx2.Client, openai_upstream: UpstreamHandle) -> None:
    words = "word " * 90
    assert call(client, model="small", messages=[{"role": "user", "content": words}]).status_code == 200
    answer = call(client, model="small", messages=[{"role": "user", "content": words * 2}])
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "messages")
    assert len(openai_upstream.log()) == 1


def test_an_unknown_model_is_a_404(client: httpx2.Client) -> None:
    answer = call(client, model="nope")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_a_cap_refuses_before_anything_is_spent(
    served: ServedGateway, client: httpx2.Client, openai_upstream: UpstreamHandle
) -> None:
    client.headers["authorization"] = f"Bearer {mint(served, cap_usd='0.001')}"
    answer = call(client, max_tokens=1000)
    assert (answer.status_code, answer.json()["error"]["code"]) == (402, "quota_exceeded")
    assert openai_upstream.log() == []


def test_where_a_cap_binds_it_becomes_the_output_limit(
    served: ServedGateway, client: httpx2.Client, openai_upstream: UpstreamHandle
) -> None:
    client.headers["authorization"] = f"Bearer {mint(served, cap_usd='0.001')}"
    assert call(client).status_code == 200
    limit = openai_upstream.log()[0]["body"]["max_tokens"]
    assert 50 < limit < 100


def test_a_plain_call_that_is_abandoned_frees_its_upstream(
    served: ServedGateway, client: httpx2.Client, openai_upstream: UpstreamHandle
) -> None:
    openai_upstream.script("upstream-name", hang="before_head")
    with sent_call(served.url, served.key, {"model": "priced", "messages": HELLO}):
        openai_upstream.wait_for(bool)
    openai_upstream.wait_for(lambda log: bool(log) and log[0]["state"] == "client_gone")


def test_22_a_revoked_key_ends_its_stream_and_is_settled(
    served: ServedGateway, client: httpx2.Client, openai_upstream: UpstreamHandle
) -> None:
    openai_upstream.script("upstream-name", words=100_000, gap_ms=5)
    minted = json.loads(served.spl("keys", "mint", "--account", "local", "--name", "leaked", "-o", "json"))
    bearer = {"Authorization": f"Bearer {minted['secret']}"}
    body = {"model": "priced", "messages": HELLO, "stream": True}
    with client.stream("POST", "/v1/chat/completions", json=body, headers=bearer) as answer:
        texts = answer.iter_text()
        next(texts)
        served.spl("keys", "revoke", minted["id"])
        assert client.post("/v1/chat/completions", json=body, headers=bearer).status_code == 401
        last = events("".join(texts))[-1]
    assert last["error"]["code"] == "invalid_bearer"
    kept = record(client, answer.headers["x-request-id"])
    assert (kept["stream_state"], kept["outcome"]) == ("key_revoked", "cut")
    assert kept["tokens_output"] > 0
    openai_upstream.wait_for(lambda log: bool(log) and log[0]["state"] == "client_gone")


# ---------------------------------------------------------------- the end of a process


@pytest.mark.parametrize(("how", "state"), [(signal.SIGKILL, "gateway_restart"), (signal.SIGTERM, "gateway_shutdown")])
def test_a_stream_outlived_by_nobody_is_settled_once(
    openai_upstream: UpstreamHandle, tmp_path_factory: pytest.TempPathFactory, how: signal.Signals, state: str
) -> None:
    openai_upstream.script("upstream-name", words=100_000, gap_ms=5)
    config = CONFIG.format(base_url=openai_upstream.base_url)
    home = tmp_path_factory.mktemp("ends") / "home"
    environment = {"STRICT_KEY": openai_upstream.key}
    with serving(home, config=config, env=environment) as first:
        key = first.key
        with httpx2.Client(base_url=first.url, headers={"Authorization": f"Bearer {key}"}, timeout=20) as client:
            body = {"model": "priced", "messages": HELLO, "stream": True}
            with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                seen, texts = 0, answer.iter_text()  # kept: a generator that is dropped hangs up
                for text in texts:
                    seen += text.count("data: ")
                    if seen > 500:  # past the first checkpoint
                        break
                first.process.send_signal(how)
                first.process.wait(20)
            request_id = answer.headers["x-request-id"]
    with serving(home, config=config, env=environment) as second:
        with httpx2.Client(base_url=second.url, headers={"Authorization": f"Bearer {key}"}) as client:
            kept = record(client, request_id)
        assert (kept["stream_state"], kept["outcome"]) == (state, "cut")
        assert kept["tokens_output"] > 0
        assert second.spl("reconcile", "-o", "json").strip() == "[]"
        listed = json.loads(second.spl("thread", "records", "th_audit_api_usage", "-o", "json"))
        assert [each["body"]["request_id"] for each in listed] == [request_id]
