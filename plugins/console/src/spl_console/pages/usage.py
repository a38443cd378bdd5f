"""Usage: what was spent and on what, by day, model and key, from the daily rollups alone."""

from collections.abc import Collection
from functools import partial

from starlette.responses import Response

from gateway_core.errors import InvalidRequest
from gateway_core.store_ports import UsageRow
from spl_console.page import Page, Visit
from spl_console.times import day_of, days_before, days_between
from spl_console.whose import account_of, key_names, named

_SPANS = {"7": "7 days", "30": "30 days", "90": "90 days"}
_SHOWN = 50
"""Rows of a table by model or key: those that cost most."""


async def show(visit: Visit) -> Response:
    """The days that the query names, else the last thirty."""
    account = await account_of(visit)
    error = None
    try:
        span, days = _span(visit)
    except InvalidRequest as found:
        error, span, days = found, "30", _last(visit, 30)
    since, until = days[0], days[-1]
    totals = partial(visit.services.store.reports.totals, account.id, since, until)
    by_day = {row.day: row for row in await totals(("day",))}
    models, keys = _dearest(await totals(("model",))), _dearest(await totals(("key",)))
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
        total=_sum(by_day.values()),
        days=[(day, by_day.get(day)) for day in days],
        models=models,
        keys=keys,
        names=await key_names(visit, {row.bearer_id for row in keys[:_SHOWN]}),
        most=_SHOWN,
    )


def _span(visit: Visit) -> tuple[str, list[str]]:
    """Which of the spans it is, "" for days of one's own, and its days. Raises InvalidRequest."""
    since, until = visit.query("from"), visit.query("to")
    if since or until:
        return "", days_between(since or until, until or day_of(visit.now_ms))
    chosen = visit.query("days") or "30"
    if chosen not in _SPANS:
        raise InvalidRequest("Choose how many days.", param="days")
    return chosen, _last(visit, int(chosen))


def _last(visit: Visit, count: int) -> list[str]:
    today = day_of(visit.now_ms)
    return days_between(days_before(today, count - 1), today)


def _dearest(rows: list[UsageRow]) -> list[UsageRow]:
    return sorted(rows, key=lambda row: (-row.charge, -row.calls, row.model, row.bearer_id))


def _sum(rows: Collection[UsageRow]) -> dict[str, int]:
    return {
        "calls": sum(row.calls for row in rows),
        "input": sum(row.usage.input for row in rows),
        "output": sum(row.usage.output for row in rows),
        "charge": sum(row.charge for row in rows),
        "credit": sum(row.credit_used for row in rows),
        "overage": sum(row.overage for row in rows),
    }


PAGES = (Page("GET", "/usage", "owner", show, "Spend and tokens by day, model and key."),)
