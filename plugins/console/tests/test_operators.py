"""What operators do and watch: accounts and their subscriptions, and the state of things."""

import re
from typing import Any

import pytest

from gateway_core.errors import RateLimited
from gateway_core.types import Window


def facts(page: str) -> str:
    """A page's text without its tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


async def test_an_account_is_created_limited_and_capped(bench: Any) -> None:
    operator = await bench.signed_in("operator")
    made = await operator.post("/accounts", name="newcomer", credit="5", cap="$50")
    path = made.headers["location"].removeprefix("/console")
    assert (await operator.post(path, cap="", credit="")).status_code == 303
    account = await bench.operate("GET", "/v1/admin/accounts/newcomer")
    assert (account["cap_usd"], account["credit_usd"]) == (None, "0")
    assert (await operator.post(path, form="limits", model="gpt-4o", rpm="30", tpm="1,000")).status_code == 303
    assert (await operator.post(path, form="limits", model="demo", rpm="7")).status_code == 303
    account = await bench.operate("GET", "/v1/admin/accounts/newcomer")
    assert account["limits"] == {"gpt-4o": {"rpm": 30, "tpm": 1000}, "demo": {"rpm": 7}}
    assert (await operator.post(path, form="limits", model="gpt-4o")).status_code == 303
    assert (await bench.operate("GET", "/v1/admin/accounts/newcomer"))["limits"] == {"demo": {"rpm": 7}}
    for wrong in (
        {"cap": "much"},
        {"form": "limits", "model": "gpt-4o", "rpm": "-1"},
        {"form": "limits", "model": "gpt-4o", "rpm": "0"},
        {"form": "limits", "model": ""},
        {"form": "limits", "model": "no-such-model", "rpm": "3"},
    ):
        answer = await operator.post(path, **wrong)
        assert (answer.status_code, 'role="alert"' in answer.text) == (400, True), wrong
    again = await operator.post("/accounts", name="newcomer")
    assert (again.status_code, 'value="newcomer"' in again.text) == (409, True)
    assert (await operator.get("/accounts?q=NEWCOM")).text.count("newcomer</a>") == 1
    assert "Nobody of that name" in (await operator.get("/accounts?q=%25")).text


async def test_what_ends_something_is_asked_first(bench: Any) -> None:
    operator, owner = await bench.signed_in("operator"), await bench.signed_in("owner")
    asked = facts((await operator.get("/accounts/acme/suspend")).text)
    assert "Suspend acme?" in asked
    assert (await owner.get("/usage")).status_code == 200
    assert (await operator.post("/accounts/acme/suspend")).status_code == 303
    assert "suspended" in facts((await operator.get("/accounts/acme")).text)
    assert (await owner.get("/usage")).status_code == 403
    assert (await operator.post("/accounts/acme/resume")).status_code == 303
    assert (await bench.operate("GET", "/v1/admin/accounts/acme"))["suspended"] is False


async def test_a_subscription_begins_pauses_and_ends(bench: Any) -> None:
    operator = await bench.signed_in("operator")
    assert "Plan pro" in facts((await operator.get("/accounts/acme/start-plan?plan=pro")).text)
    for act, status in (
        ("start-plan", "active"),
        ("suspend-plan", "suspended"),
        ("resume-plan", "active"),
        ("cancel-plan", "cancelled"),
        ("reactivate-plan", "active"),
    ):
        assert (await operator.get(f"/accounts/acme/{act}")).status_code == 200
        assert (await operator.post(f"/accounts/acme/{act}", plan="pro")).status_code == 303, act
        assert (await bench.operate("GET", "/v1/admin/subscriptions/acme"))["status"] == status
        page = facts((await operator.get("/accounts/acme")).text)
        assert f"pro {status}" in page
        theirs = facts((await (await bench.signed_in("owner")).get("/subscription")).text)
        assert f"pro {status}" in theirs
    twice = await operator.post("/accounts/acme/start-plan", plan="pro")
    assert twice.status_code == 409
    assert (await operator.post("/accounts/acme/start-plan", plan="none")).status_code in {400, 404}
    assert (await operator.get("/accounts/acme/explode")).status_code == 404
    assert (await operator.get("/accounts/nobody")).status_code == 404
    log = facts((await operator.get("/log")).text)
    for what in ("subscription.start", "subscription.cancel", "subscription.reactivate", "credit.grant"):
        assert what in log


async def test_an_account_without_a_subscription_is_told_what_to_do(bench: Any) -> None:
    page = facts((await (await bench.signed_in("owner")).get("/subscription")).text)
    assert "No subscription" in page
    assert "spl subscription start acme --plan pro" in page
    assert "on the account's page" not in page


# ---------------------------------------------------------------- the state of things


async def test_errors_are_seen_by_code_and_never_by_what_was_asked(bench: Any) -> None:
    operator, stranger = await bench.signed_in("operator"), bench.visitor("192.0.2.77")
    assert "No error since the start" in (await operator.get("/errors")).text
    secret = "sk-canary-of-a-key"
    answer = await stranger.http.get("/v1/usage", headers={"authorization": f"Bearer {secret}"})
    other = await stranger.http.get("/v1/nowhere-canary")
    page = (await operator.get("/errors")).text
    for refused in (answer, other):
        assert refused.headers["x-request-id"] in page
    assert "canary" not in page
    now = await operator.script("GET", "/errors/now?code=invalid_bearer")
    assert answer.headers["x-request-id"] in now.text
    assert other.headers["x-request-id"] not in now.text
    assert "2 errors since the start" in now.text
    assert "<html" not in now.text


async def test_the_nearest_limits_name_whose_they_are(bench: Any) -> None:
    operator = await bench.signed_in("operator")
    assert "Nobody is near a limit" in (await operator.get("/limits")).text
    acme = (await bench.operate("GET", "/v1/admin/accounts/acme"))["id"]
    limiter = bench.gateway.services.limiter
    window = Window(f"{acme}:gpt-4o:requests", "requests", 2, tier="team")
    for _ in range(2):
        await limiter.reserve((window,), 0)
    with pytest.raises(RateLimited):
        await limiter.reserve((window,), 0)
    await limiter.reserve((Window("address:abc", "requests", 100),), 0)
    page = facts((await operator.script("GET", "/limits/now")).text)
    assert "1 limit is reached" in page
    assert page.index("acme gpt-4o 2 requests per minute team tier 100.0 %") < page.index("address:abc")


async def test_the_rest_of_the_state(bench: Any) -> None:
    operator = await bench.signed_in("operator")
    assert "gpt-4o" in facts((await operator.get("/providers")).text)
    assert "price-book" in facts((await operator.get("/plugins")).text)
    assert "audit-thread" in facts((await operator.get("/outbox")).text)
    assert (await operator.post("/outbox/retry", sink="audit-thread")).status_code == 303
    assert "audit-thread is asked again now" in facts((await operator.get("/outbox")).text)
    assert (await operator.post("/outbox/retry", sink="nothing")).status_code == 303
    assert "There is no such sink" in facts((await operator.get("/outbox")).text)
    assert "Nothing waits" in facts((await operator.get("/outbox/sinks/audit-thread")).text)
    assert (await operator.get("/outbox/sinks/nothing")).status_code == 404
    assert (await operator.get("/log?after=100000")).status_code == 200
    assert (await operator.get("/log?after=x")).status_code == 400
