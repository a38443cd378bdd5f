"""Providers in trouble, on real sockets: comments instead of events, silence, and routes that are left alone."""

import json
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from gateway_core.testing.line import events, text_of
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.server import PATIENCE, ServedGateway, serving

HELLO = [{"role": "user", "content": "Hello"}]
CONFIG = """
[server]
keep_alive_seconds = 1
grace_seconds = 0.5

[upstream]
retries = 0
breaker_failures = 3
breaker_seconds = 2
breaker_longest_seconds = 2

[providers.strict]
plugin = "provider-openai"
base_url = "{strict}"
api_key = "env:STRICT_KEY"
first_byte_timeout = 4

[providers.chatty]
plugin = "provider-openai"
base_url = "http://127.0.0.1:{chatty}/v1"
api_key = "env:STRICT_KEY"
"""
MODEL = """
[models.{name}]
routes = [{routes}]
price = {{ input = "1.00", output = "10.00" }}
max_output_tokens = 1000
overhead_tokens = 0
tokenizer = "o200k_base"
{more}
"""
CHUNK = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "delta": {"role": "assistant", "content": "one two three"}, "finish_reason": None}],
}


def model(name: str, *routes: str, more: str = "") -> str:
    listed = ", ".join(
        f'{{ provider = "{provider}", model = "{there}" }}'
        for provider, there in (route.split("/") for route in routes)
    )
    return MODEL.format(name=name, routes=listed, more=more)


MODELS = (
    model("mute", "chatty/comments", more="first_byte_timeout = 1")
    + model("stops", "chatty/chunk,comments", more="idle_timeout = 1")
    + model("endless", "chatty/chunk,chunk", more="total_timeout = 2")
    + model("slow", "strict/slow")
    + model("pauses", "strict/pauses")
    + model("alone", "strict/alone")
    + model("two", "strict/broken", "strict/works")
    + model("busy", "strict/busy")
)


class Chatty(socketserver.BaseRequestHandler):
    """Sends what the model's name says: the first once, the last again and again, until nobody listens."""

    def handle(self) -> None:
        request: socket.socket = self.request
        got = b""
        while b"\r\n\r\n" not in got:
            got += request.recv(65536)
        head, _, body = got.partition(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-l"))
        while len(body) < length:
            body += request.recv(65536)
        first, _, then = json.loads(body)["model"].partition(",")
        try:
            request.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
            request.sendall(said(first))
            while True:
                time.sleep(0.02)
                request.sendall(said(then or first))
        except OSError:
            self.server.left.release()  # type: ignore[attr-defined]  # the server below has it


def said(what: str) -> bytes:
    return b": keep-alive\n\n" if what == "comments" else b"data: " + json.dumps(CHUNK).encode() + b"\n\n"


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Chatty)
        #: Released once for each client that left.
        self.left = threading.Semaphore(0)


@pytest.fixture(scope="module")
def chatty() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def served(
    openai_upstream_process: UpstreamHandle, chatty: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedGateway]:
    config = CONFIG.format(strict=openai_upstream_process.base_url, chatty=chatty.server_address[1]) + MODELS
    home = tmp_path_factory.mktemp("trouble") / "home"
    with serving(home, config=config, env={"STRICT_KEY": openai_upstream_process.key}) as gateway:
        yield gateway


@pytest.fixture
def client(served: ServedGateway, openai_upstream: UpstreamHandle) -> Iterator[httpx2.Client]:
    with httpx2.Client(
        base_url=served.url, headers={"Authorization": f"Bearer {served.key}"}, timeout=PATIENCE
    ) as made:
        yield made


def call(client: httpx2.Client, name: str, **fields: Any) -> httpx2.Response:
    return client.post("/v1/chat/completions", json={"model": name, "messages": HELLO, **fields})


def record(client: httpx2.Client, answer: httpx2.Response) -> dict[str, Any]:
    kept: dict[str, Any] = client.get(f"/v1/requests/{answer.headers['x-request-id']}").json()
    return kept


def route(served: ServedGateway, there: str) -> dict[str, Any]:
    rows = json.loads(served.spl("providers", "-o", "json"))
    return next(row for row in rows if row["model"] == there)


# ---------------------------------------------------------------- deadlines of events


def test_comments_do_not_stand_in_for_a_first_event(
    served: ServedGateway, client: httpx2.Client, chatty: Server
) -> None:
    answer = call(client, "mute", stream=True)
    error = answer.json()["error"] if answer.status_code == 503 else events(answer.text)[-1]["error"]
    assert error["code"] == "provider_error"
    kept = record(client, answer)
    assert (kept["outcome"], kept["cost_usd"], kept["tokens_output"]) == ("failed", "0", 0)
    assert chatty.left.acquire(timeout=PATIENCE)
    assert "sent no event within 1 s" in served.output()


@pytest.mark.parametrize("name", ["stops", "endless"])
def test_a_stream_that_goes_on_without_events_or_without_end_is_cut(
    client: httpx2.Client, chatty: Server, name: str
) -> None:
    answer = call(client, name, stream=True)
    *chunks, error = events(answer.text)
    assert error["error"]["code"] == "provider_error"
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks)
    kept = record(client, answer)
    assert (kept["stream_state"], kept["outcome"], kept["error_code"]) == ("provider_error", "cut", "provider_error")
    # "one two three" is 3 tokens, "threeone" between two of them one more; a comment is none.
    assert kept["tokens_output"] >= 3 * len(chunks) > 0
    assert name == "endless" or kept["tokens_output"] == 3
    assert chatty.left.acquire(timeout=PATIENCE)


# ---------------------------------------------------------------- silence towards the client


def test_a_client_is_kept_company_until_the_first_event_and_then_told_of_the_failure(
    client: httpx2.Client, openai_upstream: UpstreamHandle
) -> None:
    openai_upstream.script("slow", hang="before_head")
    answer = call(client, "slow", stream=True)
    assert answer.status_code == 200
    assert answer.text.startswith(":")
    assert answer.text.count("\n\n") >= 3
    assert [event["error"]["code"] for event in events(answer.text)] == ["provider_error"]
    kept = record(client, answer)
    assert (kept["outcome"], kept["cost_usd"], kept["tokens_output"]) == ("failed", "0", 0)


def test_an_early_failure_keeps_its_status(client: httpx2.Client, openai_upstream: UpstreamHandle) -> None:
    openai_upstream.script("slow", status=500, body="oops")
    assert call(client, "slow", stream=True).status_code == 503


def test_comments_between_events_are_no_tokens(client: httpx2.Client, openai_upstream: UpstreamHandle) -> None:
    openai_upstream.script("pauses", words=3, gap_ms=2500, usage="none")
    answer = call(client, "pauses", stream=True)
    assert answer.text.count(":") > 0
    assert any(part.startswith(":") for part in answer.text.split("\n\n"))
    *chunks, done = events(answer.text)
    assert done == "[DONE]"
    assert text_of(chunks) == "word0 word1 word2"
    kept = record(client, answer)
    assert (kept["stream_state"], kept["tokens_output"]) == ("completed", 6)


# ---------------------------------------------------------------- the breaker


def test_a_route_that_keeps_failing_is_left_alone_then_tried_by_one_call(
    served: ServedGateway, client: httpx2.Client, openai_upstream: UpstreamHandle
) -> None:
    openai_upstream.script("alone", status=500, body="oops")
    for _ in range(3):
        assert call(client, "alone").status_code == 503
    asked = len(openai_upstream.log())
    answer = call(client, "alone")
    # Within two seconds it is not asked at all; on a very slow machine it was one probe that failed.
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert asked == 3
    shown = route(served, "alone")
    assert shown["state"] in ("open", "half_open")
    assert shown["serves"] == ["alone"]
    assert shown["failures"] >= 3
    assert shown["last_failure"] == "Unavailable"
    openai_upstream.reset()
    deadline = time.monotonic() + PATIENCE
    while call(client, "alone").status_code != 200:
        assert time.monotonic() < deadline, "no probe closed it"
    shown = route(served, "alone")
    assert (shown["state"], shown["failures_in_a_row"]) == ("closed", 0)
    assert shown["answer_p50_ms"] is not None
    assert "strict/alone is open" in served.output()
    assert "strict/alone answers again" in served.output()


def test_the_next_route_serves_while_the_first_is_open(
    served: ServedGateway, client: httpx2.Client, openai_upstream: UpstreamHandle
) -> None:
    openai_upstream.script("broken", status=500, body="oops")
    for _ in range(20):
        assert call(client, "two").status_code == 200
    asked = [entry["body"]["model"] for entry in openai_upstream.log()]
    assert asked.count("works") == 20
    assert 3 <= asked.count("broken") < 20
    assert route(served, "works")["state"] == "closed"


def test_a_provider_that_asks_for_a_pause_gets_it_and_callers_are_told(
    served: ServedGateway, client: httpx2.Client, openai_upstream: UpstreamHandle
) -> None:
    openai_upstream.script("busy", status=429, headers={"retry-after": "3600"}, body="{}")
    for _ in range(3):
        answer = call(client, "busy")
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "provider_rate_limited")
        assert 3000 < int(answer.headers["retry-after"]) <= 3600
    assert len(openai_upstream.log()) == 1
    assert route(served, "busy")["state"] == "throttled"
