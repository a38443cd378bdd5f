"""The pages of an account's money and of operators, in both themes and on a phone, as test_console_looks does."""

import json
import re
from typing import Any

import httpx2

#: Page → its address, each with rows in it.
MONEY = {
    "usage": "/usage",
    "usage-none": "/usage?from=2020-01-01&to=2020-01-31",
    "calls": "/usage/records",
    "calls-none": "/usage/records?outcome=failed&from=2020-01-01&to=2020-01-02",
    "record": "/usage/records/1",
    "subscription": "/subscription",
}
OPERATORS = {
    "accounts": "/accounts",
    "accounts-none": "/accounts?q=nobody-of-that-name",
    "account": "/accounts/acme",
    "account-suspend": "/accounts/acme/suspend",
    "account-start-plan": "/accounts/local/start-plan?plan=pro",
    "subscription-none": "/subscription",
    "providers": "/providers",
    "limits": "/limits",
    "errors": "/errors",
    "outbox": "/outbox",
    "plugins": "/plugins",
    "log": "/log",
}


def test_pages_of_money(window: Any, console: Any, right: Any, shot: Any) -> None:
    name, page = window
    console.sign_in(page, console.owner)
    for title, path in MONEY.items():
        page.goto(console.url + path)
        if title == "usage":
            page.locator(".uplot").first.wait_for()
        shot(page, f"{title}-{name}")
        right(page)
    page.goto(console.url + "/subscription")
    page.get_by_role("link", name=re.compile(r"\d{4}-\d\d")).first.click()
    page.get_by_role("heading", name="Invoice").wait_for()
    shot(page, f"invoice-{name}")
    right(page)


def test_pages_of_operators(window: Any, console: Any, right: Any, shot: Any) -> None:
    name, page = window
    refused = {"authorization": "Bearer sk-nobody"}
    for _ in range(3):
        assert httpx2.post(f"{console.served.url}/v1/chat/completions", headers=refused).status_code == 401
    limits = json.dumps({"limits": {"gpt-4o": {"rpm": 30, "tpm": 100_000}}})
    operator = {"authorization": f"Bearer {console.served.operator_key}", "content-type": "application/json"}
    changed = httpx2.patch(f"{console.served.url}/v1/admin/accounts/acme", headers=operator, content=limits)
    assert changed.status_code == 200, changed.text
    console.call("gpt-4o")
    console.sign_in(page)
    for title, path in OPERATORS.items():
        page.goto(console.url + path)
        shot(page, f"operators-{title}-{name}")
        right(page)
