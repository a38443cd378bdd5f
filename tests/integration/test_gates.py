"""Every gate in its order: what is refused where, in whose words, and that nothing was spent on it."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.profiles import MESSAGES, Vendors, environment, managed, mint, subscriber
from gateway_core.testing.server import ServedGateway, serving

# One account for each gate: it fails that gate and all that come after it.
TIGHT = """
[tiers.paid]
requests_per_minute = 2

[plans.tight]
cap_usd = "0.000001"
limits."gpt-4o" = { tpm = 1000 }

[plans.tokens]
limits."gpt-4o" = { tpm = 1000 }
"""


@pytest.fixture(scope="module")
def served(vendors_process: Vendors, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedGateway]:
    """The managed gateway with limits that are soon reached."""
    config = managed(vendors_process, TIGHT)
    home = tmp_path_factory.mktemp("gates") / "home"
    with serving(home, config=config, env=environment(vendors_process)) as gateway:
        yield gateway


def call(served: ServedGateway, key: str, **fields: Any) -> httpx2.Response:
    body = {"model": "gpt-4o", "messages": MESSAGES, "max_tokens": 16, **fields}
    return httpx2.post(
        f"{served.base_url}/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}, timeout=20
    )


def refusal(answer: httpx2.Response) -> tuple[int, str, str | None]:
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


def fill_minute(served: ServedGateway, key: str) -> None:
    for _ in range(2):
        assert call(served, key).status_code == 200


def books(served: ServedGateway) -> Any:
    assert served.spl("reconcile", "-o", "json").strip() == "[]"
    return json.loads(served.spl("thread", "records", "th_audit_api_usage", "-o", "json"))


@pytest.mark.parametrize("stream", [False, True])
def test_the_order_of_the_gates(served: ServedGateway, openai_upstream: UpstreamHandle, stream: bool) -> None:
    """Each call fails several gates; the first of them answers. Mending it brings the next."""
    name = f"order-{stream}"
    subscriber(served, name, plan=None)
    limited = mint(served, name, "--model", "gemini-pro", "--model", "gpt-4o", "--cap-usd", "0.0000001")
    bad: dict[str, Any] = {"model": "nope", "temperature": 17, "stream": stream}
    assert refusal(call(served, "sk-wrong", **bad)) == (401, "invalid_bearer", None)
    assert refusal(call(served, limited, **bad)) == (400, "invalid_request", "temperature")
    assert refusal(call(served, limited, model="nope", stream=stream)) == (404, "model_not_found", "model")
    assert refusal(call(served, limited, model="claude-haiku-4-5", stream=stream)) == (404, "model_not_found", "model")
    assert refusal(call(served, limited, stream=stream)) == (402, "subscription_required", None)
    served.spl("subscription", "start", name, "--plan", "tight")
    # Requests and tokens per minute: the call alone is more than its minute of tokens.
    tokens = call(served, limited, max_tokens=2000, stream=stream)
    assert refusal(tokens) == (429, "rate_limited", None)
    assert tokens.json()["error"]["message"].startswith("1000 tokens per minute on paid tier: this call alone would")
    assert tokens.headers["x-should-retry"] == "false"
    bearer_cap = call(served, limited, stream=stream)
    assert refusal(bearer_cap) == (402, "quota_exceeded", None)
    assert bearer_cap.json()["error"]["message"].startswith("This key's own cap would be passed")
    monthly = call(served, mint(served, name), stream=stream)
    assert refusal(monthly) == (402, "quota_exceeded", None)
    assert monthly.json()["error"]["message"].startswith("The account's monthly cap would be passed")
    # Nothing was taken by any of them, and nothing was asked of an upstream.
    assert monthly.headers["x-ratelimit-remaining-requests"] == "2"
    assert monthly.headers["x-ratelimit-remaining-tokens"] == "1000"
    assert openai_upstream.log() == []
    assert books(served) == []


def test_a_full_minute_answers_before_the_body_is_read(served: ServedGateway, openai_upstream: UpstreamHandle) -> None:
    subscriber(served, "early")
    key = mint(served, "early")
    fill_minute(served, key)
    host, port = served.url.removeprefix("http://").split(":")
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n"
        "content-type: application/json\r\ncontent-length: 1000000\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 429 ")
    assert "2 requests per minute on paid tier; retry in " in answer
    assert answer.lower().count("x-ratelimit-remaining-requests: 0") == 1
    assert len(openai_upstream.log()) == 2


@pytest.mark.usefixtures("openai_upstream")
def test_the_look_takes_nothing(served: ServedGateway) -> None:
    subscriber(served, "looks")
    key = mint(served, "looks")
    for _ in range(5):
        answer = call(served, key, temperature=17)
        assert refusal(answer) == (400, "invalid_request", "temperature")
        assert answer.headers["x-ratelimit-remaining-requests"] == "2"
        assert answer.headers["x-syncropic-tier"] == "paid"
    fill_minute(served, key)
    full = call(served, key, temperature=17)
    assert refusal(full) == (429, "rate_limited", None)


def test_a_minutes_tokens_are_named_and_waited_for(served: ServedGateway, openai_upstream: UpstreamHandle) -> None:
    subscriber(served, "tokens", plan="tokens")
    key = mint(served, "tokens")
    usage = {"prompt_tokens": 600, "completion_tokens": 100, "total_tokens": 700}
    openai_upstream.script("gpt-4o", usage=usage)
    assert call(served, key).status_code == 200
    refused = call(served, key, max_tokens=400)
    wait = refused.headers["retry-after"]
    assert refusal(refused) == (429, "rate_limited", None)
    assert refused.json()["error"]["message"] == f"1000 tokens per minute on paid tier; retry in {wait}s"
    assert 1 <= int(wait) <= 60
    # The six, and once each.
    names = [
        f"x-ratelimit-{what}-{unit}" for what in ("limit", "remaining", "reset") for unit in ("requests", "tokens")
    ]
    shown = {name: refused.headers.get_list(name) for name in names}
    assert all(len(values) == 1 for values in shown.values()), shown
    assert (shown["x-ratelimit-limit-tokens"], shown["x-ratelimit-remaining-tokens"]) == (["1000"], ["300"])
    assert shown["x-ratelimit-remaining-requests"] == ["1"]


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        ({"status": 500, "body": "oops"}, 503, "provider_error"),
        ({"status": 429, "headers": {"retry-after": "7"}, "body": "{}"}, 429, "provider_rate_limited"),
    ],
)
def test_a_provider_that_fails_leaves_the_limits_in_the_answer(
    served: ServedGateway, openai_upstream: UpstreamHandle, script: dict[str, Any], status: int, code: str
) -> None:
    subscriber(served, code.replace("_", "-"))
    key = mint(served, code.replace("_", "-"))
    openai_upstream.script("gpt-4o", **script)
    answer = call(served, key)
    assert refusal(answer)[:2] == (status, code)
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["x-ratelimit-limit-requests"] == "2"
    assert answer.headers["x-ratelimit-remaining-requests"] == "1"


@pytest.mark.usefixtures("openai_upstream")
def test_live_remaining_limits_and_changes_at_once(served: ServedGateway) -> None:
    subscriber(served, "live", plan="tokens")
    key = mint(served, "live")

    def listed() -> Any:
        answer = httpx2.get(f"{served.base_url}/capabilities", headers={"authorization": f"Bearer {key}"})
        return {each["model"]: each for each in answer.json()["data"]}["gpt-4o"]

    assert (listed()["requests_per_minute"]["remaining"], listed()["tokens_per_minute"]["remaining"]) == (2, 1000)
    assert call(served, key).status_code == 200
    after = listed()
    assert after["requests_per_minute"]["remaining"] == 1
    assert after["tokens_per_minute"]["remaining"] < 1000
    served.spl("account", "limits", "live", "--model", "gpt-4o", "--tpm", "5000")
    assert listed()["tokens_per_minute"]["limit"] == 5000
    assert call(served, key, max_tokens=2000).status_code == 200


REMOVED = """
[plugins]
enabled = [{enabled}]
[bearers]
user_key = "self-host"
[providers.demo]
plugin = "provider-demo"
[models.demo]
routes = [{{ provider = "demo", model = "demo" }}]
price = "free"
"""
TIERS = ("tier-anonymous", "tier-paid", "tier-self-host", "tier-team")


@pytest.mark.parametrize("removed", ["tier-anonymous", "tier-paid", "tier-team"])
def test_a_plugin_that_is_removed_takes_its_tier_and_nothing_else(
    removed: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    others = [each for each in TIERS if each != removed]
    enabled = ", ".join(f'"{each}"' for each in [*others, "provider-demo", "price-book", "audit-thread"])
    config = REMOVED.format(enabled=enabled) + "".join(f"[tiers.{each.removeprefix('tier-')}]\n" for each in others)
    with serving(tmp_path_factory.mktemp("removed") / "home", config=config) as gateway:
        listed = json.loads(gateway.spl("plugins", "-o", "json"))
        assert {each["name"]: each["state"] for each in listed}[removed] == "off"
        assert call(gateway, gateway.key, model="demo").status_code == 200
        (model,) = httpx2.get(f"{gateway.base_url}/capabilities").json()["data"]
        assert model["tiers"] == sorted({each.removeprefix("tier-") for each in others} - {"anonymous"})
        named = gateway.home / "named.toml"
        named.write_text(config.replace('user_key = "self-host"', f'user_key = "{removed.removeprefix("tier-")}"'))
        with pytest.raises(AssertionError, match="no plugin that is on provides the tier"):
            gateway.spl("config", "check", str(named))
