"""`spl outbox` and /v1/admin/outbox, between two gateways that are processes of their own."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway_core.testing.server import PATIENCE, SPL, ServedGateway, serving

MANAGED = """
include = ["shipped:self-host.toml"]
[bearers]
allow_private_addresses = true
"""
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def managed(tmp_path: Path) -> Iterator[ServedGateway]:
    with serving(tmp_path / "managed", config=MANAGED) as gateway:
        gateway.spl("account", "create", "acme")
        yield gateway


def call(gateway: ServedGateway, key: str) -> None:
    body = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"authorization": f"Bearer {key}"}
    answer = httpx2.post(f"{gateway.base_url}/chat/completions", json=body, headers=headers, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text


def outbox(gateway: ServedGateway, *arguments: str) -> dict[str, Any]:
    """The row of audit-thread."""
    (row,) = [row for row in json.loads(gateway.spl("outbox", *arguments)) if row["sink"] == "audit-thread"]
    return dict(row)


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.05)
    return found


def test_a_dead_instance_is_seen_and_gets_its_records_when_it_lives(managed: ServedGateway, tmp_path: Path) -> None:
    home = tmp_path / "office"
    home.mkdir(mode=0o700)
    provision = ("instance", "provision", "office", "--account", "acme", "--push-url", NOBODY)
    made = json.loads(managed.spl(*provision, "--key-file", str(home / "signing.key")))
    acme = json.loads(managed.spl("keys", "mint", "--account", "acme", "--name", "k"))["secret"]
    call(managed, managed.key)  # an account whose records are at home here
    for _ in range(3):
        call(managed, acme)

    def failing() -> Any:
        row = outbox(managed)
        return row if row["attempts"] and row["records_behind"] == 3 else None

    row = wait_for(failing)
    assert (row["accounts_behind"], row["accounts_failing"]) == (1, 1)
    assert row["oldest_seconds"] >= 0
    assert row["next_attempt_at"] > row["oldest_at"]
    assert NOBODY not in row["last_error"]
    (account,) = json.loads(managed.spl("outbox", "--sink", "audit-thread"))
    assert (account["records_behind"], account["last_error"]) == (3, row["last_error"])
    ready = httpx2.get(f"{managed.url}/readyz")
    assert (ready.status_code, ready.json()["checks"]["sinks"]) == (200, False)

    with serving(home, config=MANAGED) as office:
        url = f"{managed.url}/.well-known/jwks.json"
        office.spl("instance", "register", "gateway", "--as", "gateway", "--account", "local", "--jwks-url", url)
        managed.spl("instance", "update", made["id"], "--push-url", office.url)

        def delivered() -> bool:
            return bool(outbox(managed, "retry", "--sink", "audit-thread")["records_behind"] == 0)

        wait_for(delivered)
        here = json.loads(managed.spl("thread", "records", "th_audit_api_usage", "--account", "acme"))
        there = json.loads(office.spl("thread", "records", "th_audit_api_usage"))
        assert [(each["id"], each["body"]) for each in there] == [(each["id"], each["body"]) for each in here]
        assert len(there) == 3
        assert outbox(managed)["last_error"] is None
        assert httpx2.get(f"{managed.url}/readyz").json()["checks"]["sinks"] is True


def test_a_sink_that_is_not_there_is_named_with_those_that_are(managed: ServedGateway) -> None:
    for arguments in (("outbox", "--sink", "audit-threat"), ("outbox", "retry", "--sink", "audit-threat")):
        done = subprocess.run(
            [SPL, *arguments, "--home", str(managed.home)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert re.search(r"There is no such sink; there are .*audit-thread", done.stderr)
