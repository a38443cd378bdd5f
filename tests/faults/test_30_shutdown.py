"""Fault 30: SIGTERM with streams open: nothing new, time to end, the rest settled as it stands, a clean exit."""

import json
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from gateway_core.testing.line import Line, events, line, text_of
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.server import PATIENCE
from gateway_core.tokens import Tokens

MODELS = """
[models.endless]
routes = [{ provider = "strict", model = "endless" }]
price = { input = "1.00", output = "10.00" }
tokenizer = "o200k_base"

[models.ending]
routes = [{ provider = "strict", model = "ending" }]
price = { input = "1.00", output = "10.00" }
tokenizer = "o200k_base"
"""


class Reader(threading.Thread):
    """A client that reads a stream to its end."""

    def __init__(self, served: Line, stack: ExitStack, model: str) -> None:
        super().__init__(daemon=True)
        body = served.body(model=model, stream=True, stream_options={"include_usage": True})
        self._answer = stack.enter_context(served.http.stream("POST", "/v1/chat/completions", json=body))
        self.request_id = self._answer.headers["x-request-id"]
        self.text = ""
        self.start()

    def run(self) -> None:
        for piece in self._answer.iter_text():
            self.text += piece


async def test_30_a_shutdown_lets_streams_end_and_settles_the_rest(
    tmp_path: Path, openai_upstream: UpstreamHandle
) -> None:
    openai_upstream.script("endless", words=100_000, gap_ms=10)
    openai_upstream.script("ending", words=80, gap_ms=10)
    home = tmp_path / "home"
    with line(home, openai_upstream, more=MODELS, server="grace_seconds = 4") as served, ExitStack() as stack:
        endless, ending = Reader(served, stack, "endless"), Reader(served, stack, "ending")
        served.gateway.process.send_signal(signal.SIGTERM)
        while served.ready():
            pass
        with httpx2.Client(base_url=served.gateway.url, headers=served.http.headers) as late:
            for stream in (False, True):
                refused = late.post("/v1/chat/completions", json=served.body(stream=stream))
                assert (refused.status_code, refused.json()["error"]["code"]) == (503, "internal_error")
                assert int(refused.headers["retry-after"]) >= 1
            assert late.get("/healthz").status_code == 200
        for reader in (endless, ending):
            reader.join(PATIENCE)
        assert served.gateway.process.wait(PATIENCE) == 0
        rows = served.rows()
    assert events(ending.text)[-1] == "[DONE]"
    assert rows[ending.request_id]["stream_state"] == "completed"
    found = events(endless.text)
    assert found[-1]["error"]["code"] == "internal_error"
    row = rows[endless.request_id]
    assert (row["stream_state"], row["outcome"]) == ("gateway_shutdown", "cut")
    assert row["output"] == await Tokens().count("o200k_base", [text_of(found)])
    assert not (home / "server.json").exists()
    assert len(openai_upstream.log()) == 2, "a call that was refused has reached the provider"
    openai_upstream.wait_for(lambda log: {entry["state"] for entry in log} == {"answered", "client_gone"})
    with line(home, openai_upstream) as again:
        assert "settled" not in again.gateway.output().rpartition("Base URL")[2]
        assert again.rows() == rows
        assert again.reconciles()
        listed = json.loads(again.gateway.spl("thread", "records", "th_audit_api_usage", "-o", "json"))
        assert sorted(one["body"]["request_id"] for one in listed) == sorted(rows)


async def test_30_a_second_ctrl_c_does_not_wait(tmp_path: Path, openai_upstream: UpstreamHandle) -> None:
    """What is open is cut and settled at once, as after the grace."""
    openai_upstream.script("endless", words=100_000, gap_ms=10)
    with (
        line(tmp_path / "home", openai_upstream, more=MODELS, server="grace_seconds = 3600") as served,
        ExitStack() as stack,
    ):
        endless = Reader(served, stack, "endless")
        served.gateway.process.send_signal(signal.SIGINT)
        while served.ready():
            pass
        served.gateway.process.send_signal(signal.SIGINT)
        assert served.gateway.process.wait(PATIENCE) == 0
        endless.join(PATIENCE)
        row = served.row(endless.request_id)
    assert (row["outcome"], row["stream_state"]) == ("cut", "gateway_shutdown")


@pytest.mark.parametrize("key", [None, "one of mine"])
async def test_30_a_call_whose_provider_does_not_answer_is_told_so(
    tmp_path: Path, openai_upstream: UpstreamHandle, key: str | None
) -> None:
    """What waits for a first word is cut after the grace, too: with an answer, and settled."""
    openai_upstream.script("endless", hang="before_head")
    headers = {} if key is None else {"idempotency-key": key}
    with (
        line(tmp_path / "home", openai_upstream, more=MODELS, server="grace_seconds = 1") as served,
        ThreadPoolExecutor() as pool,
    ):
        waiting = [
            pool.submit(served.http.post, "/v1/chat/completions", json=served.body(model="endless"), headers=headers)
            for _ in range(1 if key is None else 2)
        ]
        openai_upstream.wait_for(lambda log: bool(log))
        served.gateway.process.send_signal(signal.SIGTERM)
        answers = [each.result(PATIENCE) for each in waiting]
        assert served.gateway.process.wait(PATIENCE) == 0
        rows = served.rows()
    for answer in answers:
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "internal_error")
        assert int(answer.headers["retry-after"]) >= 1
    assert [(row["outcome"], row["error_code"], row["charge"]) for row in rows.values()] == [
        ("failed", "gateway_shutdown", 0)
    ]
    assert rows.popitem()[1]["loss"] > 0, "the provider may charge for what nobody got"


@pytest.mark.parametrize("stream", [False, True])
async def test_30_a_call_that_is_whole_after_the_cut_asks_no_provider(
    tmp_path: Path, openai_upstream: UpstreamHandle, stream: bool
) -> None:
    """Its body was still coming when the others were cut: it is told so at once, and nobody is paid for it."""
    openai_upstream.script("endless", hang="before_head")
    with (
        line(tmp_path / "home", openai_upstream, more=MODELS, server="grace_seconds = 1") as served,
        ThreadPoolExecutor() as pool,
    ):
        address = urlsplit(served.gateway.url)
        body = json.dumps(served.body(model="endless", stream=stream)).encode()
        with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as slow:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {served.gateway.key}\r\n"
            slow.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body[:9])
            waiting = pool.submit(served.http.post, "/v1/chat/completions", json=served.body(model="endless"))
            openai_upstream.wait_for(lambda log: bool(log))
            served.gateway.process.send_signal(signal.SIGTERM)
            assert waiting.result(PATIENCE).status_code == 503, "it was cut"
            slow.sendall(body[9:])
            answer = slow.recv(65536)
        assert served.gateway.process.wait(PATIENCE) == 0
        rows = served.rows()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert len(openai_upstream.log()) == 1
    assert sorted((row["error_code"], row["loss"] > 0) for row in rows.values()) == [
        ("gateway_shutdown", False),
        ("gateway_shutdown", True),
    ]
