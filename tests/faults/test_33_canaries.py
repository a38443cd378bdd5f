"""Fault 33: provider keys, bearers and prompts, planted; absent from every log, error, metric, record and crash."""

import json
import signal
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx2

from gateway_core.testing.line import Line, events, line
from gateway_core.testing.openai_fixture import UpstreamHandle

PROMPT, ANSWER, LEAK = "canary-prompt-5e2a", "canary-answer-91bd", "canary-leaked-by-the-provider"
BEARER = "sk-canary-bearer-0123456789abcdef"
JWT = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJjYW5hcnktc3ViamVjdCJ9."
READ = ("/v1/usage", "/v1/models", "/v1/keys", "/v1/threads/th_audit_api_usage/records", "/v1/capabilities", "/readyz")
OPERATOR = (
    "/metrics",
    "/v1/admin/config",
    "/v1/admin/plugins",
    "/v1/admin/log",
    "/v1/admin/outbox",
    "/v1/admin/providers",
    "/v1/admin/limits",
    "/v1/admin/errors",
)


def trouble(served: Line) -> list[str]:
    """What goes wrong with calls that carry canaries; gives the text of every error."""
    upstream, errors = served.upstream, []
    upstream.reset()
    messages = [{"role": "user", "content": PROMPT}]
    body: dict[str, Any] = {"status": 500, "body": f"{LEAK} {upstream.key} {upstream.base_url} {PROMPT}"}
    refusal = json.dumps({"error": {"message": f"bad key {upstream.key}", "code": "invalid_api_key"}})
    scripts: list[dict[str, Any]] = [
        body,
        {"status": 401, "body": refusal},
        {"status": 404, "body": f"{LEAK} {upstream.base_url}"},
        {"body": f"<html>{LEAK} {PROMPT}", "content_type": "text/html"},
        {"body": json.dumps({"error": {"message": f"{LEAK} {upstream.key}"}})},
        {"events": (f"{LEAK} {PROMPT} nonsense",)},
        {"text": ANSWER * 20, "reset_at": 700},
        {"text": ANSWER * 20, "close_at": 700},
    ]
    for script in scripts:
        for stream in (True,) if "events" in script else (False, True):
            upstream.script("priced", times=1, **script)
            answer = served.call(messages=messages, stream=stream)
            found = events(answer.text)[-1] if answer.status_code == 200 and stream else answer.json()
            assert "error" in found, (script, stream)
            errors.append(json.dumps(found))
    for field in ("max_tokens", "n", "stream", "stop", "tools"):
        wrong: dict[str, Any] = {field: {PROMPT: PROMPT}}
        refused = served.call(messages=messages, **wrong)
        assert refused.status_code == 400, field
        errors.append(refused.text)
    for bearer in (BEARER, JWT, f"{BEARER}-and-more"):
        refused = served.call(bearer, messages=messages)
        assert refused.status_code == 401
        errors.append(refused.text)
    return errors


def test_33_no_secret_and_no_prompt_is_anywhere(tmp_path: Path, openai_upstream: UpstreamHandle) -> None:
    home = tmp_path / "home"
    with line(home, openai_upstream) as served:
        key = served.http.headers["authorization"].removeprefix("Bearer ")
        operator = {"Authorization": f"Bearer {served.gateway.operator_key}"}
        errors = trouble(served)
        told = served.call(messages=[{"role": "user", "content": PROMPT}])
        assert told.status_code == 200
        read = [served.http.get(path).text for path in READ]
        read += [httpx2.get(served.gateway.url + path, headers=operator).text for path in OPERATOR]
        read.append(served.gateway.spl("thread", "records", "th_audit_api_usage", "-o", "json"))
        # A crash in the middle of a stream, with whatever it leaves behind.
        openai_upstream.script("priced", text=ANSWER * 1000, gap_ms=5)
        with (
            suppress(httpx2.TransportError),
            served.http.stream("POST", "/v1/chat/completions", json=served.body(stream=True)) as answer,
        ):
            for _ in answer.iter_bytes():
                served.gateway.process.send_signal(signal.SIGABRT)
        served.gateway.process.wait()
        log = served.gateway.output()
    with line(home, openai_upstream) as again:
        log += again.gateway.output()
    printed = log.replace(f"Key       {key}", "").replace(f"Bearer {key}", "")  # shown once, to its owner
    for canary in (PROMPT, ANSWER, LEAK, BEARER, JWT, openai_upstream.key, key, served_secret(home)):
        assert canary not in printed, "in the log"
        assert all(canary not in text for text in errors), "in an error"
        assert all(canary not in text for text in read), "in what is read over the API"
        assert not in_store(home, canary), "in the store"
    for text in errors:
        assert openai_upstream.base_url not in text


def served_secret(home: Path) -> str:
    """The operator's credential."""
    return (home / "operator.key").read_text().strip()


def in_store(home: Path, canary: str) -> bool:
    """Whether any value of any table has it; deleted pages count, too."""
    with closing(sqlite3.connect(home / "store.sqlite3")) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return any(canary.encode() in path.read_bytes() for path in home.glob("store.sqlite3*"))
