"""Subscription: what the plan gives, what is left of it this month, and the months' invoices."""

from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from spl_console.page import Page, Visit
from spl_console.render import places_of
from spl_console.times import day_of
from spl_console.whose import account_of, cap_of, named

_MONTHS = 12


async def show(visit: Visit) -> Response:
    """The plan, this month, and the latest invoices."""
    account = await account_of(visit)
    owner, after = named(visit, account), visit.query("after")
    month = day_of(visit.now_ms)[:7]
    totals = await visit.services.store.ledger.month(account.id, month)
    query = "&".join(part for part in (f"limit={_MONTHS}", owner, f"after={quote(after)}" if after else "") if part)
    months = await visit.ask("GET", f"/v1/invoices?{query}")
    subscription = account.subscription
    active = subscription is not None and subscription.status == "active"
    cap = cap_of(account)
    spent = totals.settled + totals.held
    return visit.render(
        "subscription.html",
        account=account,
        owner=owner,
        subscription=subscription,
        active=active,
        month=month,
        totals=totals,
        credit_left=max(0, totals.credit_granted - totals.credit_used),
        overage=totals.settled - totals.credit_used,
        cap=cap,
        spent=spent,
        cap_left=None if cap is None else max(0, cap - spent),
        months=months["data"],
        following=months["next_after"],
        plans=sorted(visit.services.config.plans),
    )


async def invoice(visit: Visit) -> Response:
    """One month's invoice, as a page that prints well."""
    account = await account_of(visit)
    owner = named(visit, account)
    month = quote(visit.request.path_params["month"], safe="")
    made: dict[str, Any] = await visit.ask("GET", f"/v1/invoices/{month}" + (f"?{owner}" if owner else ""))
    return visit.render("invoice.html", account=account, owner=owner, invoice=made, places=places_of(_amounts(made)))


def _amounts(made: dict[str, Any]) -> list[str]:
    """Every exact amount on an invoice."""
    lines = [*made["fixed_lines"], *made["inference_lines"], *made["adjustments"]]
    sums = ("fixed_usd", "inference_usd", "credit_used_usd", "adjustments_usd", "total_usd")
    return [line["amount_usd"] for line in lines] + [made[name] for name in sums]


PAGES = (
    Page("GET", "/subscription", "owner", show, "The plan, this month, and the invoices."),
    Page("GET", "/subscription/invoices/{month}", "owner", invoice, "A month's invoice, to print."),
)
