"""The first page: what needs attention, what is left, and what today was like."""

from datetime import date, timedelta
from typing import Any

import msgspec
from starlette.responses import Response

from gateway_core.store_ports import MonthTotals, UsageRow
from gateway_core.types import Account, Key, Subscription
from spl_console.page import Page, Visit
from spl_console.render import plural, thousandths
from spl_console.times import day_of
from spl_console.whose import cap_of

_DAYS = 14
_SOON_MS = 7 * 86_400_000
_NEARLY = 800
"""Thousandths of a cap from which on it is worth a word."""
_LOOKED = 1000
"""Keys that are looked at."""
_NAMED = 3
"""Keys that soon expire, by their names; of others only how many."""


class Concern(msgspec.Struct, frozen=True):
    """One thing that needs attention, and where to see to it."""

    kind: str
    text: str
    path: str
    act: str


async def show(visit: Visit) -> Response:
    """What a key may see of its account: for an owner's all of it."""
    directory = visit.services.store.directory
    account = await directory.account(visit.principal.account_id)
    if account is None or not visit.may("owner"):
        return visit.render("overview_key.html", principal=visit.principal, account=account)
    found = await _month(visit, account)
    if visit.may("operator"):
        found["concerns"] = [*await of_operation(visit), *found["concerns"]]
    return visit.render("overview.html", account=account, **found, **await _days(visit, account))


async def of_operation(visit: Visit) -> list[Concern]:
    """What of the gateway itself an operator should see to."""
    found = []
    for route in (await visit.ask("GET", "/v1/admin/providers"))["data"]:
        if route["state"] != "closed":
            said = f"{route['provider']} does not serve {route['model']}: {route['last_failure'] or 'it failed'}."
            found.append(Concern("bad", said, "/providers", "Providers"))
    for sink in (await visit.ask("GET", "/v1/admin/outbox"))["data"]:
        if sink["accounts_failing"]:
            waiting = plural(sink["records_behind"], "record waits", "records wait")
            said = f"{waiting} for {sink['sink']}: {sink['last_error']}."
            found.append(Concern("warn", said, "/outbox", "Outbox"))
    plugins = (await visit.ask("GET", "/v1/admin/plugins"))["data"]
    found += [
        Concern("bad", f"The plugin {plugin['name']} could not be loaded.", "/plugins", "Plugins")
        for plugin in plugins
        if plugin["state"] == "failed"
    ]
    return found


async def _month(visit: Visit, account: Account) -> dict[str, Any]:
    store = visit.services.store
    today = day_of(visit.now_ms)
    totals = await store.ledger.month(account.id, today[:7])
    subscription = account.subscription
    keys = await store.directory.keys(account.id, limit=_LOOKED + 1)
    alive = [key for key in keys if key.revoked_at is None and not (key.expires_at and key.expires_at <= visit.now_ms)]
    cap = cap_of(account)
    spent = totals.settled + totals.held
    return {
        "totals": totals,
        "month": today[:7],
        "subscription": subscription,
        "cap": cap,
        "alive": len(alive),
        "more_keys": len(keys) > _LOOKED,
        "concerns": [
            *_of_subscription(subscription),
            *_of_money(totals, cap, spent),
            *_of_keys(alive, visit.now_ms),
        ],
    }


async def _days(visit: Visit, account: Account) -> dict[str, Any]:
    """The last fortnight by day, and today."""
    today = date.fromisoformat(day_of(visit.now_ms))
    first = today - timedelta(days=_DAYS - 1)
    rows = await visit.services.store.reports.totals(account.id, first.isoformat(), today.isoformat(), ("day",))
    found: dict[str, UsageRow] = {row.day: row for row in rows}
    days = [(first + timedelta(days=each)).isoformat() for each in range(_DAYS)]
    return {
        "today": found.get(today.isoformat()),
        "days": [(each, found[each].charge if each in found else 0) for each in days],
        "calls": sum(row.calls for row in rows),
    }


def _of_subscription(subscription: Subscription | None) -> list[Concern]:
    if subscription is None or subscription.status == "active":
        return []
    said = "is suspended: calls that it pays for are refused" if subscription.status == "suspended" else "is cancelled"
    return [Concern("bad", f"Your subscription to {subscription.plan} {said}.", "/subscription", "Subscription")]


def _of_money(totals: MonthTotals, cap: int | None, spent: int) -> list[Concern]:
    if cap is not None and spent >= cap:
        return [Concern("bad", "This month's cap is reached: calls are refused.", "/subscription", "See the month")]
    if cap is not None and thousandths(spent, cap) >= _NEARLY:
        share = thousandths(spent, cap) // 10
        return [Concern("warn", f"{share} % of this month's cap is spent.", "/subscription", "See the month")]
    if totals.credit_granted and totals.credit_used >= totals.credit_granted:
        said = "This month's credit is used up; further calls are charged as overage."
        return [Concern("warn", said, "/subscription", "See the month")]
    return []


def _of_keys(alive: list[Key], now_ms: int) -> list[Concern]:
    if not alive:
        return [Concern("plain", "There is no key that works yet.", "/keys#mint", "Mint the first one")]
    ending = [key for key in alive if key.expires_at is not None and key.expires_at - now_ms < _SOON_MS]
    said = [f"The key {key.name} expires within a week." for key in ending[:_NAMED]]
    if len(ending) > _NAMED:
        more = plural(len(ending) - _NAMED, "more key expires", "more keys expire")
        said.append(f"{more} within a week.")
    return [Concern("warn", each, "/keys", "API keys") for each in said]


PAGES = (Page("GET", "", "inference", show, "What needs attention, what is left, and today."),)
