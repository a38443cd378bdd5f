"""Fault 38: a client that always cancels before usage, on a model that reasons: the house's loss has a bound."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway_core.money import parse_usd
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.server import ServedGateway, serving

pytestmark = pytest.mark.usefixtures("within_a_day")

CONFIG = """
[limits]
loss_usd_per_day = "0.05"

[providers.strict]
plugin = "provider-openai"
base_url = "{base_url}"
api_key = "env:STRICT_KEY"

[models.reasoning]
routes = [{{ provider = "strict", model = "upstream-name" }}]
price = {{ input = "1.00", output = "1000.00" }}
max_output_tokens = 100
features = ["stream", "reasoning"]
"""

MOST_CALLS = 40
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def config(openai_upstream: UpstreamHandle) -> str:
    return CONFIG.format(base_url=openai_upstream.base_url)


@pytest.fixture
def served(config: str, openai_upstream: UpstreamHandle, tmp_path: Path) -> Iterator[ServedGateway]:
    with serving(tmp_path / "home", config=config, env={"STRICT_KEY": openai_upstream.key}) as gateway:
        yield gateway


def cancel_after(client: httpx2.Client, word: str) -> httpx2.Response:
    """Starts a stream and leaves at that word; what was answered, its body unread where it was cancelled."""
    body = {"model": "reasoning", "messages": HELLO, "stream": True}
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        if answer.status_code != 200:
            answer.read()
            return answer
        for line in answer.iter_lines():
            if word in line:
                break
    return answer


def losses(home: Path) -> list[int]:
    with sqlite3.connect(f"file:{home / 'store.sqlite3'}?mode=ro", uri=True) as db:
        found = [row[0] for row in db.execute("SELECT loss FROM ledger ORDER BY sequence")]
    db.close()
    return found


def check_refusal(answer: httpx2.Response) -> None:
    error: dict[str, Any] = answer.json()["error"]
    assert (answer.status_code, error["code"], error["kind"]) == (429, "rate_limited", "usage")
    assert "0.05 USD today (UTC)" in error["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert 0 < int(answer.headers["retry-after"]) <= 86_400


def test_38_a_client_that_always_cancels_before_usage(
    served: ServedGateway, config: str, openai_upstream: UpstreamHandle, tmp_path: Path
) -> None:
    # Silent for a while, as a model that reasons is: 100 tokens a second at $0.001 are taken to be made meanwhile.
    openai_upstream.script("upstream-name", delay_ms=150, words=100, gap_ms=50)
    headers = {"Authorization": f"Bearer {served.key}"}
    with httpx2.Client(base_url=served.url, headers=headers, timeout=30) as client:
        answer = cancel_after(client, "word0")
        while answer.status_code == 200 and len(openai_upstream.log()) < MOST_CALLS:
            openai_upstream.wait_for(lambda log: len(losses(served.home)) == len(log))
            answer = cancel_after(client, "word0")
        check_refusal(answer)
        lost = losses(served.home)
        assert len(lost) == len(openai_upstream.log()) < MOST_CALLS
        assert all(loss > 0 for loss in lost)
        bound = parse_usd("0.05")
        assert sum(lost[:-1]) < bound <= sum(lost)
        # Another account is not meant, nor is a look.
        served.spl("account", "create", "other")
        minted = json.loads(served.spl("keys", "mint", "--account", "other", "--name", "k", "-o", "json"))
        other = {"Authorization": f"Bearer {minted['secret']}"}
        openai_upstream.script("upstream-name", words=1)
        call = {"model": "reasoning", "messages": HELLO}
        assert client.post("/v1/chat/completions", json=call, headers=other).status_code == 200
        assert client.get("/v1/models").status_code == 200
    served.stop()
    # What the store has of the day outlives the process.
    env = {"STRICT_KEY": openai_upstream.key}
    with serving(tmp_path / "home", config=config, env=env) as again:
        check_refusal(httpx2.post(f"{again.base_url}/chat/completions", json=call, headers=headers))
