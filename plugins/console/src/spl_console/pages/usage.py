"""Usage: what was spent and on what, by day, model and key, from the daily rollups alone."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from starlette.responses import Response

from gateway_core.errors import InvalidRequest
from gateway_core.store_ports import UsageRow
from spl_console.page import Page, Visit
from spl_console.times import day_of, days_before, days_between
from spl_console.whose import account_of, key_names, named

_SPANS = {"7": "7 days", "30": "30 days", "90": "90 days"}
_SHOWN = 50
"""Rows of a table by model or key: those that cost most."""


class Total(msgspec.Struct):
    """What calls of one day, model or key came to."""

    name: str
    calls: int = 0
    input: int = 0
    output: int = 0
    charge: int = 0
    credit: int = 0
    overage: int = 0

    def add(self, row: UsageRow) -> None:
        """Counts a rollup in."""
        self.calls += row.calls
        self.input += row.usage.input
        self.output += row.usage.output
        self.charge += row.charge
        self.credit += row.credit_used
        self.overage += row.overage


async def show(visit: Visit) -> Response:
    """The days that the query names, else the last thirty."""
    account = await account_of(visit)
    error = None
    span, since, until = "30", *_last(visit, 30)
    try:
        span, since, until = _span(visit)
        days = days_between(since, until)
    except InvalidRequest as found:
        error, days = found, days_between(since, until)
    rows = await visit.services.store.reports.totals(account.id, since, until, ("day", "key", "model"))
    by_day = _totals(rows, lambda row: row.day)
    models, keys = _dearest(rows, lambda row: row.model), _dearest(rows, lambda row: row.bearer_id)
    total = Total("")
    for row in rows:
        total.add(row)
    return visit.render(
        "usage.html",
        200 if error is None else error.status,
        account=account,
        owner=named(visit, account),
        error=error,
        span=span,
        spans=_SPANS,
        since=since,
        until=until,
        total=total,
        days=[by_day.get(day, Total(day)) for day in days],
        models=models,
        keys=keys,
        names=await key_names(visit, {each.name for each in keys[:_SHOWN]}),
        most=_SHOWN,
    )


def _span(visit: Visit) -> tuple[str, str, str]:
    """Which of the spans it is, "" for days of one's own; the first day and the last."""
    since, until = visit.query("from"), visit.query("to")
    if since or until:
        today = day_of(visit.now_ms)
        return "", since or until, until or today
    chosen = visit.query("days") or "30"
    if chosen not in _SPANS:
        raise InvalidRequest("Choose how many days.", param="days")
    return chosen, *_last(visit, int(chosen))


def _last(visit: Visit, count: int) -> tuple[str, str]:
    today = day_of(visit.now_ms)
    return days_before(today, count - 1), today


def _totals(rows: Iterable[UsageRow], name: Callable[[UsageRow], str]) -> dict[str, Total]:
    found: dict[str, Total] = {}
    for row in rows:
        of = name(row)
        if of not in found:
            found[of] = Total(of)
        found[of].add(row)
    return found


def _dearest(rows: Iterable[UsageRow], name: Callable[[UsageRow], str]) -> list[Total]:
    found: list[Any] = list(_totals(rows, name).values())
    return sorted(found, key=lambda each: (-each.charge, -each.calls, each.name))


PAGES = (Page("GET", "/usage", "owner", show, "Spend and tokens by day, model and key."),)
