"""Plans, subscriptions, adjustments, usage and invoices against the real program, over HTTP and by `spl`."""

import csv
import io
import json
import os
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from gateway_core.testing.api_caller import ApiCaller
from gateway_core.testing.server import SPL, ServedGateway, serving

pytestmark = pytest.mark.usefixtures("within_a_day")

CONFIG = """
include = ["shipped:self-host.toml"]
[bearers]
user_key = "paid"
[models.demo]
price = { input = "2.50", cached_input = "1.25", output = "10.00" }
[plans.pro]
fee_usd = "20"
credit_usd = "0.001"
cap_usd = "200"
instance_fee_usd = "5.50"
limits.demo = { rpm = 600, tpm = 100000 }
[plans.basic]
fee_usd = "4.99"
"""


class Caller(ApiCaller):
    """One bearer's client, who calls models, too."""

    def chat(self, words: int = 50) -> httpx2.Response:
        body = {"model": "demo", "messages": [{"role": "user", "content": f"{words} words"}]}
        return self.request("POST", "/v1/chat/completions", json=body)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedGateway]:
    """A managed gateway with two plans."""
    with serving(tmp_path_factory.mktemp("billing") / "home", config=CONFIG) as running:
        yield running


@pytest.fixture(scope="module")
def operator(served: ServedGateway) -> Iterator[Caller]:
    """The operator."""
    with httpx2.Client(base_url=served.url) as http:
        yield Caller(http, served.operator_key)


@pytest.fixture
def account(operator: Caller, request: pytest.FixtureRequest) -> str:
    """A new account's name."""
    name = request.node.name
    operator.ok("POST", "/v1/admin/accounts", {"name": name}, 201)
    return str(name)


@pytest.fixture
def owner(operator: Caller, account: str) -> Caller:
    """An owner of that account."""
    return operator.other(operator.mint(account=account, scopes=["owner"]))


def month() -> str:
    return datetime.now(UTC).strftime("%Y-%m")


def start(operator: Caller, account: str, plan: str = "pro") -> Any:
    return operator.ok("POST", "/v1/admin/subscriptions", {"account": account, "plan": plan}, 201)


def change(operator: Caller, account: str, action: str, status: int = 200) -> Any:
    return operator.ok("POST", f"/v1/admin/subscriptions/{account}/{action}", {}, status)


def adjust(operator: Caller, account: str, amount: str, kind: str = "refund", status: int = 201, **fields: Any) -> Any:
    body = {"account": account, "kind": kind, "amount_usd": amount, "why": "late answers", **fields}
    return operator.ok("POST", "/v1/admin/adjustments", body, status)


def log_of(operator: Caller, subject: str) -> list[str]:
    rows = operator.ok("GET", "/v1/admin/log?limit=1000")["data"]
    return [row["action"] for row in rows if row["subject"] == subject][::-1]


# ---------------------------------------------------------------- plans and subscriptions


def test_plans_are_listed_as_they_are_configured(operator: Caller) -> None:
    assert operator.ok("GET", "/v1/admin/plans")["data"] == [
        {
            "name": "pro",
            "object": "plan",
            "fee_usd": "20",
            "credit_usd": "0.001",
            "cap_usd": "200",
            "instance_fee_usd": "5.5",
            "limits": {"demo": {"rpm": 600, "tpm": 100000}},
        },
        {
            "name": "basic",
            "object": "plan",
            "fee_usd": "4.99",
            "credit_usd": "0",
            "cap_usd": None,
            "instance_fee_usd": "0",
            "limits": {},
        },
    ]


def test_a_subscription_has_a_life_and_calls_follow_it(operator: Caller, owner: Caller, account: str) -> None:
    assert owner.chat().json()["error"]["code"] == "subscription_required"
    started = start(operator, account)
    assert (started["plan"], started["status"], started["credit_usd"], started["ends_at"]) == (
        "pro", "active", "0.001", None,
    )  # fmt: skip
    assert owner.chat().status_code == 200
    for action, status, code in (
        ("suspend", "suspended", 402),
        ("resume", "active", 200),
        ("cancel", "cancelled", 402),
    ):
        assert change(operator, account, action)["status"] == status
        assert owner.chat().status_code == code
        operator.refused(409, "conflict", "POST", f"/v1/admin/subscriptions/{account}/{action}", {})
    again = change(operator, account, "reactivate", 201)
    assert (again["plan"], again["status"]) == ("pro", "active")
    assert again["id"] != started["id"]
    assert owner.chat().status_code == 200
    shown = operator.ok("GET", f"/v1/admin/subscriptions/{account}")
    assert [each["id"] for each in shown["earlier"]] == [started["id"]]
    assert [line["status"] for line in shown["history"]] == ["active", "suspended", "active", "cancelled", "active"]
    listed = operator.ok("GET", f"/v1/admin/accounts/{account}")
    assert (listed["plan"], listed["subscription"]) == ("pro", "active")


def test_coming_back_mints_no_second_credit_and_no_second_fee(operator: Caller, owner: Caller, account: str) -> None:
    start(operator, account)
    while Decimal((invoice := owner.ok("GET", f"/v1/invoices/{month()}"))["overage_usd"]) == 0:
        assert owner.chat().status_code == 200
    change(operator, account, "cancel")
    change(operator, account, "reactivate", 201)
    change(operator, account, "cancel")
    start(operator, account, "basic")
    assert owner.chat().status_code == 200
    later = owner.ok("GET", f"/v1/invoices/{month()}")
    assert (later["credit_granted_usd"], later["credit_used_usd"]) == ("0.001", "0.001")
    assert Decimal(later["overage_usd"]) > Decimal(invoice["overage_usd"])
    assert [(line["subject"], line["amount_usd"]) for line in later["fixed_lines"]] == [
        ("pro", "20"),
        ("basic", "4.99"),
    ]


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "said"),
    [
        ("", {"account": "{account}", "plan": "por"}, 400, "invalid_request", 'did you mean "pro"'),
        ("", {"account": "{account}", "plan": "x"}, 400, "invalid_request", "known: basic, pro"),
        ("", {"account": "{account}"}, 400, "invalid_request", "plan"),
        ("", {"account": "nobody", "plan": "pro"}, 404, "not_found", "no such account"),
        ("/{account}/cancel", {}, 404, "not_found", "never had a subscription"),
        ("/{account}/reactivate", {}, 404, "not_found", "never had a subscription"),
        ("/nobody/cancel", {}, 404, "not_found", "no such account"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    operator: Caller, path: str, body: dict[str, str], status: int, code: str, said: str
) -> None:
    name = "refusals"
    if not any(row["name"] == name for row in operator.ok("GET", "/v1/admin/accounts?limit=1000")["data"]):
        operator.ok("POST", "/v1/admin/accounts", {"name": name}, 201)
    body = {field: value.format(account=name) for field, value in body.items()}
    error = operator.refused(status, code, "POST", "/v1/admin/subscriptions" + path.format(account=name), body)
    assert said in error["message"]
    operator.refused(404, "not_found", "GET", f"/v1/admin/subscriptions/{name}")
    assert operator.ok("GET", f"/v1/admin/accounts/{name}")["subscription"] is None


# ---------------------------------------------------------------- adjustments


def test_a_refund_is_on_the_invoice_in_the_thread_and_in_the_log(operator: Caller, owner: Caller, account: str) -> None:
    start(operator, account)
    call = owner.chat()
    cost = owner.ok("GET", f"/v1/requests/{call.headers['x-request-id']}")["cost_usd"]
    before = owner.ok("GET", f"/v1/invoices/{month()}")
    made = adjust(operator, account, cost, request_id=call.headers["x-request-id"])
    assert (made["amount_usd"], made["kind"], made["month"], made["who"]) == (
        f"-{cost}", "refund", month(), "key_operator",
    )  # fmt: skip
    error = operator.refused(
        409,
        "conflict",
        "POST",
        "/v1/admin/adjustments",
        {
            "account": account,
            "kind": "refund",
            "amount_usd": "0.000000000001",
            "why": "again",
            "request_id": call.headers["x-request-id"],
        },
    )
    assert "left" in error["message"]
    adjust(operator, account, cost, "reversal", adjustment_id=made["id"])
    adjust(operator, account, "1.25", "credit_note")
    after = owner.ok("GET", f"/v1/invoices/{month()}")
    assert [line["amount_usd"] for line in after["adjustments"]] == [f"-{cost}", cost, "-1.25"]
    assert Decimal(after["total_usd"]) == Decimal(before["total_usd"]) - Decimal("1.25")
    assert after["inference_lines"] == before["inference_lines"]
    thread = owner.ok("GET", "/v1/threads/th_audit_adjustments/records")["data"]
    assert [(row["body"]["kind"], row["body"]["amount_usd"]) for row in thread] == [
        ("refund", f"-{cost}"),
        ("reversal", cost),
        ("credit_note", "-1.25"),
    ]
    assert len(owner.ok("GET", "/v1/threads/th_audit_api_usage/records")["data"]) == 1
    listed = operator.ok("GET", f"/v1/admin/adjustments?account={account}&limit=2")
    assert [row["kind"] for row in listed["data"]] == ["refund", "reversal"]
    rest = operator.ok("GET", f"/v1/admin/adjustments?account={account}&after={listed['next_after']}")
    assert [row["kind"] for row in rest["data"]] == ["credit_note"]


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"amount_usd": "-1"}, 400, "amount_usd"),
        ({"amount_usd": "0"}, 400, "amount_usd"),
        ({"amount_usd": "NaN"}, 400, "amount_usd"),
        ({"amount_usd": "1e3"}, 400, "amount_usd"),
        ({"amount_usd": "0.0000000000001"}, 400, "amount_usd"),
        ({"amount_usd": "1000000.01"}, 400, "amount_usd"),
        ({"amount_usd": 1.25}, 400, "amount_usd"),
        ({"kind": "gift"}, 400, "kind"),
        ({"why": " "}, 400, "why"),
        ({"month": "2026-13"}, 400, "month"),
        ({"month": "0000-01"}, 400, "month"),
        ({"month": "november"}, 400, "month"),
        ({"month": "2020-01"}, 404, "month"),
        ({"month": "9998-01"}, 409, "month"),
        ({"request_id": "req_00000000000000000000000000"}, 404, "request_id"),
        ({"kind": "reversal"}, 400, "adjustment_id"),
        ({"kind": "reversal", "request_id": "req_1"}, 400, "request_id"),
        ({"adjustment_id": "adj_1"}, 400, "adjustment_id"),
        ({"kind": "reversal", "adjustment_id": "adj_1"}, 404, "adjustment_id"),
        ({"account": "nobody"}, 404, "account"),
        ({"reason": "x"}, 400, "reason"),
    ],
)
def test_a_bad_adjustment_is_refused_and_changes_nothing(
    operator: Caller, change: dict[str, Any], status: int, param: str | None
) -> None:
    body = {"account": "local", "kind": "refund", "amount_usd": "1", "why": "late", **change}
    answer = operator.request("POST", "/v1/admin/adjustments", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text
    assert operator.ok("GET", "/v1/admin/adjustments?account=local")["data"] == []


# ---------------------------------------------------------------- usage and invoices


def test_usage_is_summed_by_what_is_asked_for(operator: Caller, owner: Caller, account: str) -> None:
    start(operator, account)
    other = operator.ok("POST", "/v1/keys", {"name": "other", "account": account}, 201)
    for caller in (owner, owner, Caller(owner.http, other["secret"])):
        assert caller.chat().status_code == 200
    whole = owner.ok("GET", "/v1/usage")
    assert whole["group_by"] == ["day", "model", "key"]
    assert sorted(row["calls"] for row in whole["data"]) == [1, 2]
    assert whole["total"]["calls"] == 3
    assert Decimal(whole["total"]["cost_usd"]) == sum(Decimal(row["cost_usd"]) for row in whole["data"])
    (model,) = owner.ok("GET", f"/v1/usage?month={month()}&group_by=model")["data"]
    assert {"model": "demo", **whole["total"]} == model
    assert owner.ok("GET", "/v1/usage?from=2026-01-01&to=2026-01-31")["data"] == []
    assert "owed_usd" not in whole["total"]
    house = operator.ok("GET", f"/v1/admin/usage?account={account}&group_by=account,model")
    assert (house["data"][0]["charged_usd"], house["data"][0]["lost_usd"]) == (whole["total"]["cost_usd"], "0")
    everyone = operator.ok("GET", "/v1/admin/usage?group_by=account")
    assert everyone["total"]["calls"] == sum(row["calls"] for row in everyone["data"]) >= 3


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("group_by=provider", "group_by"),
        ("group_by=day,day", "group_by"),
        ("group_by=account", "group_by"),
        ("from=2026-11-31", "from"),
        ("from=2026-W01-1", "from"),
        ("from=2026-11-02&to=2026-11-01", "from"),
        ("from=2025-01-01&to=2026-11-01", "from"),
        ("month=2026-00", "month"),
        ("month=2026-11&from=2026-11-01", "month"),
        ("since=2026-11-01", "since"),
    ],
)
def test_a_bad_question_names_its_parameter(operator: Caller, query: str, param: str) -> None:
    answer = operator.request("GET", f"/v1/usage?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_list_of_invoices_that_goes_on_nowhere_names_its_parameter(operator: Caller) -> None:
    answer = operator.request("GET", "/v1/invoices?after=x")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "after")


def test_an_invoice_adds_up_in_every_form(served: ServedGateway, operator: Caller, owner: Caller, account: str) -> None:
    start(operator, account)
    operator.ok("POST", "/v1/admin/provisioned-instances", {"name": "hosted", "account": account}, 201)
    for _ in range(3):
        assert owner.chat(words=200).status_code == 200
    adjust(operator, account, "0.333")
    found = owner.ok("GET", f"/v1/invoices/{month()}")
    assert (found["status"], found["account"], found["currency"]) == ("open", account, "USD")
    assert [(line["kind"], line["amount_usd"]) for line in found["fixed_lines"]] == [
        ("plan", "20"),
        ("instance", "5.5"),
    ]
    (line,) = found["inference_lines"]
    costs = [row["body"]["cost_usd"] for row in owner.ok("GET", "/v1/threads/th_audit_api_usage/records")["data"]]
    assert Decimal(line["amount_usd"]) == sum(map(Decimal, costs)) == Decimal(found["inference_usd"])
    assert (line["model"], line["calls"]) == ("demo", 3)
    total = Decimal("25.5") + Decimal(found["overage_usd"]) - Decimal("0.333")
    assert Decimal(found["total_usd"]) == total
    assert found["amount_due_cents"] == str(round(total * 100))

    shown = operator.ok("GET", f"/v1/invoices/{month()}?account={account}")
    assert shown == found == json.loads(served.spl("invoice", "--account", account, "-o", "json"))
    rows = list(csv.DictReader(io.StringIO(served.spl("invoice", "--account", account, "-o", "csv"))))
    assert sum(Decimal(row["amount_usd"]) for row in rows) == total
    table = served.spl("invoice", "--account", account, "-o", "table")
    assert re.search(rf"^TOTAL USD +{re.escape(found['total_usd'])}$", table, re.MULTILINE)
    (listed,) = owner.ok("GET", "/v1/invoices")["data"]
    assert (listed["month"], listed["total_usd"]) == (month(), found["total_usd"])
    assert month() in served.spl("invoice", "--list", "--account", account, "-o", "table")


def test_an_invoice_is_a_page_for_who_asks_for_one(operator: Caller, owner: Caller, served: ServedGateway) -> None:
    path = f"/v1/invoices/{month()}"
    page = owner.request("GET", path, headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.headers["vary"] == "accept"
    assert "Amount due" in page.text
    for accept in (
        "*/*",
        "application/json",
        "application/json, text/html;q=0.5",
        "text/html;q=0",
        "text/html;q=x",
        "",
    ):
        answer = owner.request("GET", path, headers={"accept": accept})
        assert answer.headers["content-type"] == "application/json", accept
    printed = served.spl("invoice", "-o", "html")
    assert printed.startswith("<!doctype html>")
    assert printed.rstrip().endswith("</html>")


@pytest.mark.parametrize(
    ("name", "status"),
    [("2026-13", 400), ("november", 400), ("2026-1", 400), ("9999-12", 400), ("2020-01", 404), ("9998-12", 404)],
)
def test_a_month_without_an_invoice_is_refused(operator: Caller, name: str, status: int) -> None:
    answer = operator.request("GET", f"/v1/invoices/{name}")
    assert answer.status_code == status
    assert "2026-11" in answer.text or month() in answer.text


# ---------------------------------------------------------------- who may, and who did


def test_an_application_key_learns_nothing_and_changes_nothing(operator: Caller, owner: Caller, account: str) -> None:
    minted = operator.ok("POST", "/v1/keys", {"name": "app", "account": account}, 201)
    app = Caller(owner.http, minted["secret"])
    for path in ("/v1/usage", "/v1/invoices", f"/v1/invoices/{month()}"):
        app.refused(403, "insufficient_scope", "GET", path)
        owner.refused(403, "insufficient_scope", "GET", f"{path}?account=local")
    for method, path in (
        ("GET", "/v1/admin/plans"),
        ("GET", "/v1/admin/usage"),
        ("GET", "/v1/admin/adjustments"),
        ("POST", "/v1/admin/adjustments"),
        ("POST", "/v1/admin/subscriptions"),
        ("GET", f"/v1/admin/subscriptions/{account}"),
        ("POST", f"/v1/admin/subscriptions/{account}/start"),
    ):
        for caller in (app, owner):
            expected = (404, "not_found") if path.endswith("/start") else (403, "insufficient_scope")
            caller.refused(*expected, method, path, {} if method == "POST" else None)


def test_the_log_has_who_created_minted_granted_suspended_and_adjusted(
    operator: Caller, owner: Caller, account: str
) -> None:
    start(operator, account)
    for action, status in (("suspend", 200), ("resume", 200), ("cancel", 200), ("reactivate", 201)):
        change(operator, account, action, status)
    refund = adjust(operator, account, "1")
    adjust(operator, account, "1", "credit_note")
    adjust(operator, account, "1", "reversal", adjustment_id=refund["id"])
    for suspended in (True, False):
        operator.ok("PATCH", f"/v1/admin/accounts/{account}", {"suspended": suspended})
    operator.ok("PATCH", f"/v1/admin/accounts/{account}", {"cap_usd": "5"})
    account_id = operator.ok("GET", f"/v1/admin/accounts/{account}")["id"]
    assert log_of(operator, account_id) == [
        "account.create",
        "subscription.start",
        "credit.grant",
        "subscription.suspend",
        "subscription.resume",
        "subscription.cancel",
        "subscription.reactivate",
        "adjustment.refund",
        "adjustment.credit_note",
        "adjustment.reversal",
        "account.suspend",
        "account.resume",
        "account.update",
    ]
    key = operator.ok("GET", f"/v1/keys?account={account}")["data"][0]["id"]
    rotated = operator.ok("POST", f"/v1/keys/{key}/rotate", {}, 201)["id"]
    operator.ok("DELETE", f"/v1/keys/{rotated}")
    assert log_of(operator, key) == ["key.mint", "key.expire"]
    assert log_of(operator, rotated) == ["key.mint", "key.revoke"]
    entries = operator.ok("GET", "/v1/admin/log?limit=1000")["data"]
    mine = [entry for entry in entries if entry["subject"] in (account_id, key, rotated)]
    assert {entry["actor"] for entry in mine} == {"key_operator"}
    (grant,) = [entry for entry in mine if entry["action"] == "credit.grant"]
    assert grant["detail"] == {"month": month(), "credit_usd": "0.001"}


# ---------------------------------------------------------------- the command line


def test_a_subscription_by_command(served: ServedGateway, operator: Caller, account: str) -> None:
    assert "pro" in served.spl("plan", "list", "-o", "table")
    started = json.loads(served.spl("subscription", "start", account, "--plan", "pro", "-o", "json"))
    assert started["status"] == "active"
    for action, status in (("suspend", "suspended"), ("resume", "active"), ("cancel", "cancelled")):
        assert json.loads(served.spl("subscription", action, account, "-o", "json"))["status"] == status
    assert json.loads(served.spl("subscription", "reactivate", account, "-o", "json"))["status"] == "active"
    shown = served.spl("subscription", "show", account, "-o", "table")
    assert shown.count("key_operator") == 5
    adjusted = served.spl("adjust", account, "--kind", "refund", "--usd", "1.25", "--why", "late", "-o", "json")
    assert json.loads(adjusted)["amount_usd"] == "-1.25"
    assert served.spl("usage", "--account", account, "-o", "table").strip() == "no calls"
    assert "CHARGED USD" in served.spl("usage", "--house", "--by", "day", "-o", "table")
    assert json.loads(served.spl("reconcile", "-o", "json")) == []


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["subscription", "start", "local", "--plan", "por"], 1, 'did you mean "pro"'),
        (["subscription", "cancel", "local"], 1, "never had a subscription"),
        (["adjust", "local", "--kind", "refund", "--usd", "-1", "--why", "x"], 2, "not an amount"),
        (["adjust", "local", "--kind", "refund", "--usd", "NaN", "--why", "x"], 2, "not an amount"),
        (["adjust", "local", "--kind", "refund", "--usd", "0.0000000000001", "--why", "x"], 2, "not an amount"),
        (["adjust", "local", "--kind", "refund", "--usd", "1", "--why", "x", "--month", "2026-13"], 2, "not a month"),
        (["invoice", "2026-13"], 2, "not a month"),
        (["invoice", "2020-01"], 1, "no invoice of 2020-01"),
        (["invoice", "--list", "2026-11"], 2, "--list is all months"),
        (["usage", "--by", "provider"], 1, "nothing to group by"),
    ],
)
def test_a_bad_command_is_one_line_and_a_status(
    served: ServedGateway, arguments: list[str], status: int, said: str
) -> None:
    env = {**os.environ, "SPL_HOME": str(served.home)}
    done = subprocess.run([str(SPL), *arguments], env=env, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
