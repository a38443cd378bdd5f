"""Fault 25: one Idempotency-Key, many times over: clients → `spl serve` → a strict upstream, and the ledger's rows."""

import asyncio
import json
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway_core.testing.line import sent_call
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.server import PATIENCE, ServedGateway, serving

CONFIG = """
[server]
grace_seconds = 0.5

[upstream]
retries = 0

[idempotency]
max_answer_bytes = 20000

[providers.strict]
plugin = "provider-openai"
base_url = "{base_url}"
api_key = "env:STRICT_KEY"

[models.priced]
routes = [{{ provider = "strict", model = "upstream-name" }}]
price = {{ input = "1.00", output = "10.00" }}
max_output_tokens = 1000
tokenizer = "o200k_base"
"""

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def config(openai_upstream: UpstreamHandle) -> str:
    return CONFIG.format(base_url=openai_upstream.base_url)


@pytest.fixture
def env(openai_upstream: UpstreamHandle) -> dict[str, str]:
    return {"STRICT_KEY": openai_upstream.key}


@pytest.fixture
def served(config: str, env: dict[str, str], tmp_path: Path) -> Iterator[ServedGateway]:
    with serving(tmp_path / "home", config=config, env=env) as gateway:
        yield gateway


@pytest.fixture
def client(served: ServedGateway) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=served.url, headers={"Authorization": f"Bearer {served.key}"}, timeout=30) as made:
        yield made


def call(client: httpx2.Client, key: str = "k", **fields: Any) -> httpx2.Response:
    body = {"model": "priced", "messages": HELLO, **fields}
    return client.post("/v1/chat/completions", json=body, headers={"Idempotency-Key": key})


def rows(home: Path) -> list[tuple[str, str, int]]:
    """Id, outcome and charge of every settled call, in the order in which they were settled."""
    with sqlite3.connect(f"file:{home / 'store.sqlite3'}?mode=ro", uri=True) as db:
        found: list[tuple[str, str, int]] = db.execute(
            "SELECT id, outcome, charge FROM ledger ORDER BY sequence"
        ).fetchall()
    db.close()
    return found


@pytest.mark.parametrize("stream", [False, True])
async def test_25_fifty_at_once_are_one_call_and_one_charge(
    served: ServedGateway, openai_upstream: UpstreamHandle, stream: bool
) -> None:
    openai_upstream.script("upstream-name", delay_ms=300, gap_ms=20, words=8)
    body = {"model": "priced", "messages": HELLO, "stream": stream}
    headers = {"Authorization": f"Bearer {served.key}", "Idempotency-Key": "fifty"}
    limits = httpx2.Limits(max_connections=60)
    async with httpx2.AsyncClient(base_url=served.url, headers=headers, timeout=60, limits=limits) as client:
        answers = await asyncio.gather(*(client.post("/v1/chat/completions", json=body) for _ in range(50)))
        later = await client.post("/v1/chat/completions", json=body)
    assert [answer.status_code for answer in answers] == [200] * 50
    (text,) = {answer.text for answer in (*answers, later)}
    assert "word7" in text
    assert text.endswith("data: [DONE]\n\n") == stream
    ((settled, outcome, charge),) = rows(served.home)
    assert outcome == "ok"
    assert charge > 0
    assert len(openai_upstream.log()) == 1
    (first,) = [answer for answer in answers if "idempotent-replayed" not in answer.headers]
    assert first.headers["x-request-id"] == settled
    replays = [later, *(answer for answer in answers if answer is not first)]
    assert {answer.headers["idempotent-replayed"] for answer in replays} == {"true"}
    assert {answer.headers["x-syncropic-original-request-id"] for answer in replays} == {settled}
    assert len({answer.headers["x-request-id"] for answer in replays}) == 50
    if not stream:
        assert {answer.headers["x-syncropic-cost-cents"] for answer in replays} == {"0"}


@pytest.mark.parametrize("stream", [False, True])
def test_25_another_body_is_422_before_and_after(
    client: httpx2.Client, served: ServedGateway, openai_upstream: UpstreamHandle, stream: bool
) -> None:
    assert call(client, stream=stream).status_code == 200
    answer = call(client, stream=stream, temperature=1)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert answer.json()["error"]["param"] == "Idempotency-Key"
    assert call(client, key="other", stream=stream, temperature=1).status_code == 200
    minted = json.loads(served.spl("keys", "mint", "--account", "local", "--name", "second", "-o", "json"))
    client.headers["authorization"] = f"Bearer {minted['secret']}"
    assert "idempotent-replayed" not in call(client, stream=stream).headers
    assert len(rows(served.home)) == len(openai_upstream.log()) == 3


async def test_25_another_body_is_422_while_it_runs(served: ServedGateway, openai_upstream: UpstreamHandle) -> None:
    openai_upstream.script("upstream-name", delay_ms=1500)
    headers = {"Authorization": f"Bearer {served.key}", "Idempotency-Key": "k"}
    async with httpx2.AsyncClient(base_url=served.url, headers=headers, timeout=60) as client:
        body = {"model": "priced", "messages": HELLO}
        running = asyncio.create_task(client.post("/v1/chat/completions", json=body))
        await asyncio.to_thread(openai_upstream.wait_for, lambda log: len(log) == 1)
        other = await client.post("/v1/chat/completions", json={**body, "temperature": 1})
        assert other.status_code == 422
        assert (await running).status_code == 200


@pytest.mark.parametrize("key", [b"", b"x" * 256, "ümlaut".encode("latin-1"), b"tab\there"])
def test_25_what_cannot_be_a_key_is_400(client: httpx2.Client, openai_upstream: UpstreamHandle, key: bytes) -> None:
    body = {"model": "priced", "messages": HELLO}
    answer = client.post("/v1/chat/completions", json=body, headers=[(b"Idempotency-Key", key)])
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "Idempotency-Key")
    twice = client.post("/v1/chat/completions", json=body, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "a")])
    assert twice.status_code == 400
    assert openai_upstream.log() == []
    assert call(client, key="~" * 255).status_code == 200


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ({"status": 500, "body": "oops"}, 503),
        ({"status": 400, "body": '{"error": {"message": "bad image", "param": "messages"}}'}, 400),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_25_what_failed_and_cost_nothing_may_be_tried_again(
    client: httpx2.Client,
    served: ServedGateway,
    openai_upstream: UpstreamHandle,
    script: dict[str, Any],
    status: int,
    stream: bool,
) -> None:
    openai_upstream.script("upstream-name", times=1, **script)
    assert call(client, stream=stream).status_code == status
    again = call(client, stream=stream)
    assert again.status_code == 200
    assert "idempotent-replayed" not in again.headers
    assert call(client, stream=stream).headers["idempotent-replayed"] == "true"
    assert [outcome for _, outcome, _ in rows(served.home)] == ["failed", "ok"]


def test_25_a_refusal_at_a_gate_frees_the_key(client: httpx2.Client, served: ServedGateway) -> None:
    unknown = {"model": "unheard-of", "messages": HELLO}
    headers = {"Idempotency-Key": "k"}
    assert client.post("/v1/chat/completions", json=unknown, headers=headers).status_code == 404
    assert call(client).status_code == 200
    assert len(rows(served.home)) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_25_an_answer_that_is_too_large_is_given_once(
    client: httpx2.Client, served: ServedGateway, openai_upstream: UpstreamHandle, stream: bool
) -> None:
    openai_upstream.script("upstream-name", text="z" * 30_000)
    assert len(call(client, stream=stream).text) > 30_000
    again = call(client, stream=stream)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
    assert again.headers["x-should-retry"] == "false"
    ((settled, _, _),) = rows(served.home)
    assert settled in again.json()["error"]["message"]


def test_25_a_stream_that_its_client_left_is_not_made_twice(
    client: httpx2.Client, served: ServedGateway, openai_upstream: UpstreamHandle
) -> None:
    openai_upstream.script("upstream-name", times=1, words=400, gap_ms=20)
    body = {"model": "priced", "messages": HELLO, "stream": True}
    with client.stream("POST", "/v1/chat/completions", json=body, headers={"Idempotency-Key": "k"}) as answer:
        for line in answer.iter_lines():
            if "word3" in line:
                break
    openai_upstream.wait_for(lambda log: bool(log) and log[0]["state"] == "client_gone")
    again = call(client, stream=True)
    assert again.status_code == 409
    ((settled, outcome, charge),) = rows(served.home)
    assert outcome == "cut"
    assert charge > 0
    assert settled in again.json()["error"]["message"]


def test_25_a_plain_call_that_its_client_left_is_made_again(
    client: httpx2.Client, served: ServedGateway, openai_upstream: UpstreamHandle
) -> None:
    openai_upstream.script("upstream-name", times=1, hang="before_head")
    with sent_call(served.url, served.key, {"model": "priced", "messages": HELLO}, "Idempotency-Key: k"):
        openai_upstream.wait_for(bool)
    openai_upstream.wait_for(lambda log: bool(log) and log[0]["state"] == "client_gone")
    assert call(client).status_code == 200
    assert [(outcome, charge > 0) for _, outcome, charge in rows(served.home)] == [("failed", False), ("ok", True)]


async def test_25_a_stream_goes_on_for_whoever_stays(served: ServedGateway, openai_upstream: UpstreamHandle) -> None:
    """The first caller leaves in the middle; one that came later has all of it, from its beginning."""
    openai_upstream.script("upstream-name", words=60, gap_ms=20)
    body = {"model": "priced", "messages": HELLO, "stream": True}
    headers = {"Authorization": f"Bearer {served.key}", "Idempotency-Key": "k"}
    async with httpx2.AsyncClient(base_url=served.url, headers=headers, timeout=60) as client:
        async with client.stream("POST", "/v1/chat/completions", json=body) as leaving:
            lines = leaving.aiter_lines()
            while "word2" not in await anext(lines):
                pass
            staying = await client.send(client.build_request("POST", "/v1/chat/completions", json=body), stream=True)
            assert staying.headers["idempotent-replayed"] == "true"
        text = (await staying.aread()).decode()
    assert "word0" in text
    assert text.endswith("data: [DONE]\n\n")
    assert [outcome for _, outcome, _ in rows(served.home)] == ["ok"]
    assert len(openai_upstream.log()) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_25_an_answer_survives_a_kill_and_lies_encrypted(
    config: str, env: dict[str, str], openai_upstream: UpstreamHandle, tmp_path: Path, stream: bool
) -> None:
    home = tmp_path / "home"
    openai_upstream.script("upstream-name", text="canary-of-an-answer")
    with serving(home, config=config, env=env) as served:
        key = served.key
        with httpx2.Client(base_url=served.url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
            first = call(client, key="canary-of-a-key", stream=stream)
        served.process.send_signal(signal.SIGKILL)
        served.process.wait(PATIENCE)
    lying = b"".join(path.read_bytes() for path in home.glob("store.sqlite3*"))
    for canary in (b"canary-of-an-answer", b"canary-of-a-key", b"canary-of"):
        assert canary not in lying
    with (
        serving(home, config=config, env=env) as served,
        httpx2.Client(base_url=served.url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client,
    ):
        again = call(client, key="canary-of-a-key", stream=stream)
        assert (again.status_code, again.content) == (200, first.content)
        assert again.headers["content-type"] == first.headers["content-type"]
        assert again.headers["x-syncropic-original-request-id"] == first.headers["x-request-id"]
        assert call(client, key="canary-of-a-key", stream=stream, temperature=1).status_code == 422
    assert len(openai_upstream.log()) == len(rows(home)) == 1


@pytest.mark.parametrize(("words", "status", "outcomes"), [(0, 200, ["failed", "ok"]), (300, 409, ["cut"])])
async def test_25_a_kill_in_the_middle_is_decided_by_the_ledger(
    config: str,
    env: dict[str, str],
    openai_upstream: UpstreamHandle,
    tmp_path: Path,
    words: int,
    status: int,
    outcomes: list[str],
) -> None:
    """Killed before anything was delivered: the call is made again. After a part of it: it is not."""
    home = tmp_path / "home"
    script: dict[str, Any] = {"words": words, "gap_ms": 20} if words else {"hang": "before_head"}
    openai_upstream.script("upstream-name", times=1, **script)
    body = {"model": "priced", "messages": HELLO, "stream": True}
    with serving(home, config=config, env=env) as served:
        headers = {"Authorization": f"Bearer {served.key}", "Idempotency-Key": "k"}
        async with httpx2.AsyncClient(base_url=served.url, headers=headers, timeout=60) as client:
            # Checkpoints are a second apart: by then at least one is on disk.
            reading = asyncio.create_task(_read_until(client, body, "word150"))
            if words:
                await reading
            else:
                await asyncio.to_thread(openai_upstream.wait_for, lambda _: opened(home) == 1)
            served.process.kill()
            served.process.wait(30)
            await asyncio.gather(reading, return_exceptions=True)
    with serving(home, config=config, env=env) as served, httpx2.Client(headers=headers, timeout=30) as again:
        assert again.post(f"{served.base_url}/chat/completions", json=body).status_code == status
    assert [outcome for _, outcome, _ in rows(home)] == outcomes


def opened(home: Path) -> int:
    """Open calls that are on disk."""
    with closing(sqlite3.connect(f"file:{home / 'store.sqlite3'}?mode=ro", uri=True)) as db:
        count: int = db.execute("SELECT count(*) FROM open_calls").fetchone()[0]
        return count


async def _read_until(client: httpx2.AsyncClient, body: dict[str, Any], word: str) -> None:
    """Reads a stream as far as that word, and leaves its connection open."""
    answer = await client.send(client.build_request("POST", "/v1/chat/completions", json=body), stream=True)
    lines = answer.aiter_lines()
    while word not in await anext(lines):
        pass
