"""What a provider must be told again, through the whole gateway: kept before its key goes out, found after kill -9."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway_core.testing.gemini_fixture import GeminiHandle
from gateway_core.testing.server import PATIENCE, ServedGateway, serving

CONFIG = """
[providers.google]
plugin = "provider-gemini"
base_url = "{base_url}"
api_key = "env:GEMINI_API_KEY"

[models.thinker]
routes = [{{ provider = "google", model = "gemini-3.8-flash" }}]
price = {{ input = "1", output = "2" }}
"""
WEATHER = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
QUESTION = {"role": "user", "content": "Is it raining in Oslo?"}


def ask(gateway: ServedGateway, key: str, *messages: Any, stream: bool) -> dict[str, Any]:
    """One call as a standard client makes it; the answer's message, of standard fields alone."""
    body = {
        "model": "thinker",
        "messages": messages,
        "tools": [{"type": "function", "function": WEATHER}],
        "stream": stream,
    }
    headers = {"authorization": f"Bearer {key}"}
    answer = httpx2.post(f"{gateway.base_url}/chat/completions", json=body, headers=headers, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    if not stream:
        return standard(answer.json()["choices"][0]["message"])
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: {")]
    deltas = [choice["delta"] for event in events for choice in json.loads(event)["choices"]]
    calls = [call for delta in deltas for call in delta.get("tool_calls") or ()]
    return standard({"content": None, "tool_calls": calls})


def standard(message: dict[str, Any]) -> dict[str, Any]:
    calls = [{name: call[name] for name in ("id", "type", "function")} for call in message.get("tool_calls") or ()]
    return {"role": "assistant", "content": message["content"], "tool_calls": calls}


def told(upstream: GeminiHandle) -> list[str]:
    """The signatures in what the provider was sent last."""
    contents = upstream.log()[-1]["body"]["contents"]
    return [part["thoughtSignature"] for each in contents for part in each["parts"] if "thoughtSignature" in part]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_signature_comes_back_after_kill_9(gemini_upstream: GeminiHandle, tmp_path: Path, stream: bool) -> None:
    config = CONFIG.format(base_url=gemini_upstream.base_url)
    env = {"GEMINI_API_KEY": gemini_upstream.key}
    gemini_upstream.script("gemini-3.8-flash", calls=[[{"name": "weather", "args": {"city": "Oslo"}}]], signed=True)
    with serving(tmp_path / "home", config=config, env=env) as gateway:
        key = gateway.key
        called = ask(gateway, key, QUESTION, stream=stream)
        gateway.process.kill()
        gateway.process.wait(PATIENCE)
    (call,) = called["tool_calls"]
    result = {"role": "tool", "tool_call_id": call["id"], "content": "It is."}
    gemini_upstream.reset()
    with serving(tmp_path / "home", config=config, env=env) as gateway:
        ask(gateway, key, QUESTION, called, result, stream=stream)
        (signature,) = told(gemini_upstream)
        assert "skip" not in signature
        # Another account that knows the id is told nothing of it: the provider gets a stand-in.
        gateway.spl("account", "create", "other")
        minted = json.loads(gateway.spl("keys", "mint", "--account", "other", "--name", "k", "-o", "json"))
        ask(gateway, minted["secret"], QUESTION, called, result, stream=stream)
        assert signature not in told(gemini_upstream)
    with sqlite3.connect(tmp_path / "home" / "store.sqlite3") as db:
        rows = db.execute("SELECT account_id, key, sealed FROM memories").fetchall()
    db.close()
    assert len(rows) >= 1
    assert not any(signature.encode() in sealed or call["id"].encode() in key for _, key, sealed in rows)
