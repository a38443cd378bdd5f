"""Windows survive a restart of the real program on its real store, also one that nobody announced."""

import json
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from gateway_core.testing.server import ServedGateway, serving

CONFIG = """
include = ["shipped:self-host.toml"]
[models.open]
routes = [{ provider = "demo", model = "demo" }]
price = "free"
tiers = ["anonymous"]
[tiers.anonymous]
requests_per_minute = 4
messages_per_day = 6
"""


def call(served: ServedGateway) -> httpx2.Response:
    body = {"model": "open", "messages": [{"role": "user", "content": "Hello"}]}
    return httpx2.post(f"{served.base_url}/chat/completions", json=body)


def wait_for_snapshot(home: Path, calls: int) -> None:
    """Until so many calls are in the windows on disk."""
    deadline = time.monotonic() + 20
    while _snapshot(home) != calls:
        assert time.monotonic() < deadline, "no snapshot has them all"
        time.sleep(0.05)


def _snapshot(home: Path) -> int:
    """Calls of this minute that are on disk."""
    with closing(sqlite3.connect(f"file:{home / 'store.sqlite3'}?mode=ro", uri=True)) as store:
        row = store.execute("SELECT value FROM state WHERE name = 'limits.memory'").fetchone()
    windows = [window for line in row[0].splitlines()[1:] for window in json.loads(line)] if row else []
    return sum(count for _, _, seconds, buckets in windows if seconds == 60 for _, count in buckets)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_minute_and_a_day_go_on(tmp_path: Path, how: signal.Signals) -> None:
    home = tmp_path / "home"
    with serving(home, config=CONFIG) as first:
        for _ in range(3):
            assert call(first).status_code == 200
        if how is signal.SIGKILL:
            wait_for_snapshot(home, 3)
        first.process.send_signal(how)
        first.process.wait(30)
    with serving(home, config=CONFIG) as second:
        answer = call(second)
        assert (answer.status_code, answer.headers["x-ratelimit-remaining-requests"]) == (200, "0")
        refused = call(second)
        assert refused.status_code == 429
        assert refused.json()["error"]["message"].startswith("4 requests per minute on anonymous tier; retry in ")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
