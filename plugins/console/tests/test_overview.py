"""What the first page says needs attention, and what it counts."""

import re
from typing import Any

import msgspec
import pytest
from spl_console.pages.overview import of_operation

from gateway_core.money import parse_usd
from gateway_core.testing.calls import hold, settlement


async def test_an_empty_account_is_told_what_to_do_first(bench: Any) -> None:
    await bench.operate("POST", "/v1/admin/accounts", {"name": "new"})
    body = {"name": "only", "account": "new", "scopes": ["owner"], "expires": "3d"}
    bench.keys["new"] = (await bench.operate("POST", "/v1/keys", body))["secret"]
    page = await (await bench.signed_in("new")).get("")
    assert "No call yet" in page.text
    assert "The key only expires within a week." in page.text


async def test_today_is_counted_from_the_rollups(bench: Any) -> None:
    visitor = await bench.signed_in("owner")
    await visitor.get("/playground")
    answer = await visitor.post("/playground", model="gpt-4o", message="Write 100 words about ledgers.")
    assert answer.status_code == 200
    page = await visitor.get("")
    assert "No call yet" not in page.text
    assert "<dd>100</dd>" in page.text
    assert "$0.0010" in page.text


@pytest.mark.parametrize(
    ("spent", "said"),
    [("0.5", None), ("0.8", "80 % of this month"), ("1", "cap is reached")],
)
async def test_a_cap_that_is_near_is_said(bench: Any, spent: str, said: str | None) -> None:
    await bench.operate("PATCH", "/v1/admin/accounts/acme", {"cap_usd": "1"})
    account = await bench.operate("GET", "/v1/admin/accounts/acme")
    store, now = bench.gateway.services.store, bench.clock.now_ms()
    month = (await bench.operate("GET", "/v1/usage"))["from"][:7]
    held = hold("req_1", parse_usd("2"), account_id=account["id"], started_at=now, month=month)
    await store.ledger.hold(held)
    store.ledger.open(held)
    await store.ledger.settle(settlement(held, parse_usd(spent)))
    page = await (await bench.signed_in("owner")).get("")
    assert ("of this month" in page.text or "cap is reached" in page.text) is (said is not None)
    assert said is None or said in page.text


@pytest.mark.parametrize(("own", "plan", "left"), [("1", True, "1.00"), ("500", True, "200.00"), ("1", False, "1.00")])
async def test_the_cap_that_is_shown_is_the_one_that_binds(bench: Any, own: str, plan: bool, left: str) -> None:
    """Of the account's and its subscription's the tighter; the plan `pro` has one of 200."""
    await bench.operate("PATCH", "/v1/admin/accounts/acme", {"cap_usd": own})
    if plan:
        await bench.operate("POST", "/v1/admin/subscriptions", {"account": "acme", "plan": "pro"})
    owner = await bench.signed_in("owner")
    for path in ("", "/subscription"):
        text = re.sub(r"<[^>]+>|\s+", " ", (await owner.get(path)).text)
        assert re.search(rf"Until the cap +\${left} +of +\${left} ", text), text


async def test_many_keys_that_expire_are_few_lines(bench: Any) -> None:
    for number in range(9):
        await bench.operate("POST", "/v1/keys", {"name": f"k{number}", "account": "acme", "expires": "3d"})
    page = (await (await bench.signed_in("owner")).get("")).text
    assert page.count("expires within a week.") == 3
    assert "6 more keys expire within a week." in page


class Asked:
    """A visit whose API says what a test wants it to: a route and a sink that fail are hard to come by in a second."""

    def __init__(self, **data: Any) -> None:
        self._data = data

    async def ask(self, _method: str, path: str) -> Any:
        """What is said of that part."""
        return {"data": self._data.get(path.rpartition("/")[2], [])}


async def test_operators_see_what_fails() -> None:
    visit: Any = Asked(
        providers=[
            {"provider": "openai", "model": "gpt-4o", "state": "open", "last_failure": "it timed out"},
            {"provider": "demo", "model": "demo", "state": "closed", "last_failure": None},
        ],
        outbox=[
            {"sink": "audit-thread", "accounts_failing": 1, "records_behind": 1200, "last_error": "refused"},
            {"sink": "audit-jsonl", "accounts_failing": 0, "records_behind": 3, "last_error": None},
        ],
        plugins=[{"name": "broken", "state": "failed"}, {"name": "tiers", "state": "on"}],
    )
    said = [msgspec.to_builtins(each)["text"] for each in await of_operation(visit)]
    assert said == [
        "openai does not serve gpt-4o: it timed out.",
        "1,200 records wait for audit-thread: refused.",
        "The plugin broken could not be loaded.",
    ]


async def test_an_operators_overview_is_made_of_the_real_answers(bench: Any) -> None:
    page = await (await bench.signed_in("operator")).get("")
    assert page.status_code == 200
    assert "does not serve" not in page.text
