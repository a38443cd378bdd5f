"""Both shipped profiles as their callers see them, tier by tier: by curl, and by the OpenAI SDK."""

import json
import os
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from gateway_core.config_file import shipped_folder
from gateway_core.testing.profiles import MESSAGES, Curled, Vendors, curl, environment, managed, mint, subscriber
from gateway_core.testing.server import SPL, ServedGateway, serving

pytestmark = pytest.mark.usefixtures("within_a_day")

PUBLISHED = {
    "claude-haiku-4-5": ("1.30", "6.50", "1.3", "6.5", ["paid", "self-host"]),
    "claude-sonnet-4-6": ("3.90", "19.50", "3.9", "19.5", ["paid", "self-host"]),
    "gpt-4o": ("3.25", "13.00", "3.25", "13", ["paid", "self-host"]),
    "gemini-flash-1.5": ("0.10", "0.39", "0.0975", "0.39", ["anonymous", "paid", "self-host"]),
    "gemini-pro": ("1.63", "6.50", "1.625", "6.5", ["paid", "self-host"]),
}
TEAM_LIMITS = {
    "synaptiq-2": (60, 100_000),
    "synaptiq-2-mini": (120, 150_000),
    "synaptiq-2-quantum": (30, 80_000),
    "synaptiq-2-math": (40, 90_000),
}


@pytest.fixture(scope="module")
def syncropic(vendors_process: Vendors, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedGateway]:
    """The managed gateway, its providers played by the strict upstreams."""
    home = tmp_path_factory.mktemp("syncropic") / "home"
    with serving(home, config=managed(vendors_process), env=environment(vendors_process)) as gateway:
        subscriber(gateway, "acme")
        yield gateway


@pytest.fixture(scope="module")
def synaptiq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedGateway]:
    """The gateway with limits per team, as it is shipped."""
    home = tmp_path_factory.mktemp("synaptiq") / "home"
    with serving(home, arguments=["--config", str(shipped_folder() / "synaptiq.toml")]) as gateway:
        yield gateway


def chat(served: ServedGateway, model: str, bearer: str | None, **fields: Any) -> Curled:
    body = {"model": model, "messages": MESSAGES, "max_tokens": 1500, **fields}
    return curl(f"{served.base_url}/chat/completions", bearer=bearer, body=body)


# ---------------------------------------------------------------- syncropic


@pytest.mark.parametrize("name", ["syncropic", "synaptiq", "self-host"])
def test_every_shipped_profile_is_a_good_configuration(name: str, syncropic: ServedGateway) -> None:
    file = shipped_folder() / f"{name}.toml"
    assert f"{file}: good" in syncropic.spl("config", "check", str(file))


def test_the_live_list_has_the_published_prices(syncropic: ServedGateway) -> None:
    answer = curl(f"{syncropic.base_url}/capabilities")
    listed = {each["model"]: each for each in json.loads(answer.text)["data"]}
    assert {
        name: (
            each["price"]["input"],
            each["price"]["output"],
            each["price"]["exact"]["input"],
            each["price"]["exact"]["output"],
            each["tiers"],
        )
        for name, each in listed.items()
    } == PUBLISHED
    # No bearer: the anonymous tier's one model, with what is left of its minute and its day.
    assert [name for name, each in listed.items() if each["available"]] == ["gemini-flash-1.5"]
    assert listed["gemini-flash-1.5"]["requests_per_minute"]["limit"] == 5
    assert listed["gemini-flash-1.5"]["requests_per_day"]["limit"] == 100


def test_the_quick_start_on_the_paid_tier(syncropic: ServedGateway, vendors: Vendors) -> None:
    key = mint(syncropic, "acme")
    vendors.anthropic.script("claude-haiku-4-5", usage={"input_tokens": 12, "output_tokens": 7})
    answer = chat(syncropic, "claude-haiku-4-5", key)
    assert answer.status == 200
    assert answer.headers["x-syncropic-tier"] == "paid"
    assert answer.headers["x-syncropic-request-id"].startswith("req_")
    # 12 × $1.30 + 7 × $6.50 per 1M tokens.
    assert Decimal(answer.headers["x-syncropic-cost-cents"]) == Decimal("0.00611")
    assert answer.headers["x-ratelimit-limit-requests"] == "60"
    body = json.loads(answer.text)
    assert (body["object"], body["model"], body["usage"]["total_tokens"]) == (
        "chat.completion",
        "claude-haiku-4-5",
        19,
    )
    sent = vendors.anthropic.log()[0]["body"]
    assert "store" not in sent
    assert (sent["max_tokens"], sent["messages"][0]["content"][0]["text"]) == (1500, MESSAGES[0]["content"])


def test_the_first_start_prints_what_its_key_needs_and_a_call_that_works(vendors: Vendors, tmp_path: Path) -> None:
    with serving(tmp_path / "home", config=managed(vendors), env=environment(vendors)) as gateway:
        assert gateway.key
        subscribe, call = gateway.output().rpartition("Try it:\n")[2].strip().splitlines()
        assert subscribe == f"spl --home {gateway.home} subscription start local --plan starter"
        assert f"more: spl --home {gateway.home} keys mint --name NAME)" in gateway.output()
        env = {**os.environ, "PATH": f"{SPL.parent}:{os.environ['PATH']}"}
        subprocess.run(["sh", "-c", subscribe], capture_output=True, check=True, env=env)
        done = subprocess.run(["sh", "-c", call], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["choices"][0]["message"]["content"]


@pytest.mark.parametrize("model", list(PUBLISHED))
def test_the_sdk_on_the_paid_tier(syncropic: ServedGateway, model: str) -> None:
    account = f"sdk-{model.replace('.', '-')}"
    subscriber(syncropic, account)
    with OpenAI(base_url=syncropic.base_url, api_key=mint(syncropic, account)) as client:
        assert client.chat.completions.create(model=model, messages=MESSAGES).choices[0].message.content
        stream = client.chat.completions.create(model=model, messages=MESSAGES, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        assert {each.id for each in client.models.list()} == set(PUBLISHED)


def test_each_provider_is_asked_in_its_own_language(syncropic: ServedGateway, vendors: Vendors) -> None:
    """And OpenAI alone is told that nothing is to be stored: the others have no such field."""
    key = mint(syncropic, "acme")
    for model in ("gpt-4o", "claude-sonnet-4-6", "gemini-pro"):
        assert chat(syncropic, model, key, temperature=0.5).status == 200
    (openai,), (anthropic,), (gemini,) = (each.log() for each in (vendors.openai, vendors.anthropic, vendors.gemini))
    assert (openai["body"]["store"], openai["body"]["model"]) == (False, "gpt-4o")
    assert (anthropic["path"], anthropic["body"]["model"]) == ("/v1/messages", "claude-sonnet-4-6")
    assert gemini["path"].endswith("/models/gemini-1.5-pro:generateContent")
    assert gemini["body"]["generationConfig"]["temperature"] == anthropic["body"]["temperature"] == 0.5
    assert "store" not in {**anthropic["body"], **gemini["body"]}


def test_without_a_subscription_there_is_nothing_but_402(syncropic: ServedGateway, vendors: Vendors) -> None:
    subscriber(syncropic, "unsubscribed", plan=None)
    key = mint(syncropic, "unsubscribed")
    for stream in (False, True):
        answer = chat(syncropic, "gpt-4o", key, stream=stream)
        assert (answer.status, answer.error["code"], answer.error["kind"]) == (402, "subscription_required", "billing")
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-syncropic-tier"] == "paid"
    syncropic.spl("subscription", "start", "unsubscribed", "--plan", "pro")
    assert chat(syncropic, "gpt-4o", key).status == 200
    syncropic.spl("subscription", "cancel", "unsubscribed")
    assert chat(syncropic, "gpt-4o", key).error["code"] == "subscription_required"
    assert len(vendors.log()) == 1


def test_the_61st_call_of_a_minute_whichever_key_makes_it(syncropic: ServedGateway, vendors: Vendors) -> None:
    subscriber(syncropic, "busy")
    keys = [mint(syncropic, "busy"), mint(syncropic, "busy")]
    with OpenAI(base_url=syncropic.base_url, api_key=keys[0]) as client:
        for _ in range(60):
            client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    refused = chat(syncropic, "gpt-4o", keys[1], stream=True)
    wait = int(refused.headers["retry-after"])
    assert (refused.status, refused.error["code"], refused.error["kind"]) == (429, "rate_limited", "usage")
    assert refused.error["message"] == f"60 requests per minute on paid tier; retry in {wait}s"
    assert refused.error["retry_after_seconds"] == wait
    assert refused.error["request_id"] == refused.headers["x-request-id"]
    assert 1 <= wait <= 60
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert len(vendors.log()) == 60


def test_the_self_host_tier_is_the_same_account_minute_and_credit(
    syncropic: ServedGateway, vendors: Vendors, tmp_path: Path
) -> None:
    subscriber(syncropic, "office")
    with serving(tmp_path / "office") as office:
        jwks = tmp_path / "office.jwks.json"
        jwks.write_text(office.spl("instance", "self", "--key"))
        syncropic.spl("instance", "register", "office", "--account", "office", "--key", str(jwks))
        bearer = office.spl("token", "mint", "--aud", "https://api.syncropic.com").strip()
    answer = chat(syncropic, "gpt-4o", bearer)
    assert (answer.status, answer.headers["x-syncropic-tier"]) == (200, "self-host")
    assert answer.headers["x-ratelimit-remaining-requests"] == "59"
    other = chat(syncropic, "gpt-4o", mint(syncropic, "office"))
    assert (other.headers["x-syncropic-tier"], other.headers["x-ratelimit-remaining-requests"]) == ("paid", "58")
    syncropic.spl("subscription", "suspend", "office")
    refused = chat(syncropic, "gpt-4o", bearer)
    assert (refused.status, refused.error["code"]) == (402, "subscription_required")
    assert len(vendors.log()) == 2


# ---------------------------------------------------------------- anonymous


def test_the_anonymous_tier(vendors: Vendors, tmp_path: Path) -> None:
    with serving(tmp_path / "home", config=managed(vendors), env=environment(vendors)) as gateway:
        outside = chat(gateway, "gpt-4o", None)
        assert (outside.status, outside.error["code"]) == (402, "subscription_required")
        assert outside.error["message"] == "The model `gpt-4o` is not part of the anonymous tier."
        # No refusal has counted: five are served, one of them a stream.
        for number in range(5):
            answer = chat(gateway, "gemini-flash-1.5", None, stream=number == 0)
            assert (answer.status, answer.headers["x-syncropic-tier"]) == (200, "anonymous")
            assert answer.headers["x-ratelimit-remaining-requests"] == str(4 - number)
        listed = json.loads(curl(f"{gateway.base_url}/capabilities").text)["data"]
        (live,) = [each for each in listed if each["available"]]
        assert (live["requests_per_minute"]["remaining"], live["requests_per_day"]["remaining"]) == (0, 95)
        refused = chat(gateway, "gemini-flash-1.5", None)
        wait = refused.headers["retry-after"]
        assert refused.status == 429
        assert refused.error["message"] == f"5 requests per minute on anonymous tier; retry in {wait}s"
        assert "x-should-retry" not in refused.headers
        assert chat(gateway, "gemini-flash-1.5", "sk-wrong").status == 401
    assert len(vendors.log()) == 5


def test_an_anonymous_day_is_a_hundred_messages(vendors: Vendors, tmp_path: Path) -> None:
    config = managed(vendors, "[tiers.anonymous]\nrequests_per_minute = 1000\n")
    body = {"model": "gemini-flash-1.5", "messages": MESSAGES}
    with (
        serving(tmp_path / "home", config=config, env=environment(vendors)) as gateway,
        httpx2.Client(base_url=gateway.base_url) as client,
    ):
        for _ in range(100):
            assert client.post("/chat/completions", json=body).status_code == 200
        refused = chat(gateway, "gemini-flash-1.5", None)
    wait = refused.headers["retry-after"]
    assert (refused.status, refused.headers["x-should-retry"]) == (429, "false")
    assert refused.error["message"] == f"100 messages per day on anonymous tier; retry in {wait}s"
    assert 1 <= int(wait) <= 86_400
    assert len(vendors.log()) == 100


def test_all_anonymous_callers_together_have_a_budget(vendors: Vendors, tmp_path: Path) -> None:
    # A call here may cost 100 tokens of output at $0.39 per 1M and its input, and costs that much.
    config = managed(vendors, '[tiers.anonymous]\nrequests_per_minute = 1000\nbudget_usd_per_day = "0.0001"\n')
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 100, "totalTokenCount": 110}
    vendors.gemini.script("gemini-1.5-flash", usage=usage)
    with serving(tmp_path / "home", config=config, env=environment(vendors)) as gateway:
        served = 0
        while (answer := chat(gateway, "gemini-flash-1.5", None, max_tokens=100)).status == 200:
            served += 1
        assert (answer.status, answer.error["code"]) == (402, "quota_exceeded")
        assert "The anonymous tier's daily budget would be passed" in answer.error["message"]
        assert "left today (UTC)" in answer.error["message"]
        # $0.000039975 a call: two fit into $0.0001, a third would pass it.
        assert served == len(vendors.log()) == 2
        subscriber(gateway, "paying")
        assert chat(gateway, "gemini-flash-1.5", mint(gateway, "paying")).status == 200


# ---------------------------------------------------------------- synaptiq


def test_the_published_limits_of_teams(synaptiq: ServedGateway) -> None:
    listed = json.loads(curl(f"{synaptiq.base_url}/capabilities", bearer=synaptiq.key).text)["data"]
    assert {
        each["model"]: (each["requests_per_minute"]["limit"], each["tokens_per_minute"]["limit"]) for each in listed
    } == TEAM_LIMITS
    assert {each["price"]["price_id"] for each in listed} == {"free"}


@pytest.mark.parametrize(("model", "rpm"), [(name, rpm) for name, (rpm, _) in TEAM_LIMITS.items()])
def test_a_teams_minute_by_model(synaptiq: ServedGateway, model: str, rpm: int) -> None:
    key = mint(synaptiq, "local")
    with OpenAI(base_url=synaptiq.base_url, api_key=key, max_retries=0) as client:
        for number in range(rpm):
            raw = client.chat.completions.with_raw_response.create(model=model, messages=MESSAGES, max_tokens=50)
            assert raw.headers["x-ratelimit-remaining-requests"] == str(rpm - 1 - number)
    refused = chat(synaptiq, model, synaptiq.key)
    assert refused.status == 429
    assert refused.error == {
        "message": f"Rate limit exceeded: {rpm} requests per minute. Please try again later.",
        "type": "rate_limit_error",
        "param": None,
        "code": "rate_limit_exceeded",
    }
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-synaptiq-tier"] == "team"


def test_a_teams_tokens_by_model(synaptiq: ServedGateway) -> None:
    subscriber(synaptiq, "readers", plan=None)
    key = mint(synaptiq, "readers")
    answer = chat(synaptiq, "synaptiq-2", key, max_tokens=60_000)
    assert answer.headers["x-ratelimit-limit-tokens"] == "100000"
    # Reserved is the output limit, too; the answer was short, so nearly all of it is given back.
    assert int(answer.headers["x-ratelimit-remaining-tokens"]) < 40_000
    left = chat(synaptiq, "synaptiq-2", key, max_tokens=90_000)
    assert left.status == 200
    refused = chat(synaptiq, "synaptiq-2", key, max_tokens=100_000)
    assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
    synaptiq.spl("account", "limits", "readers", "--model", "synaptiq-2", "--tpm", "1000000")
    assert chat(synaptiq, "synaptiq-2", key, max_tokens=100_000).status == 200


def test_the_operator_calls_models_there_too(synaptiq: ServedGateway) -> None:
    assert synaptiq.spl("chat", "synaptiq-2", "Hello").strip()


def test_nobody_is_anonymous_where_no_such_tier_is(synaptiq: ServedGateway) -> None:
    refused = chat(synaptiq, "synaptiq-2", None)
    assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")
