"""/v1/invoices: what an account owes for a month."""

from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from gateway_core.billing import invoice_of, invoiced_months
from gateway_core.clock import month_of
from gateway_core.edge import answers
from gateway_core.edge.bodies import checked_query, month_name, page_size
from gateway_core.edge.host import Host
from gateway_core.edge.names import account_for
from gateway_core.edge.queries import AccountPageQuery, AccountQuery
from gateway_core.errors import NotFound
from gateway_core.invoice import InvoiceDocument, InvoiceSums, document, totals
from gateway_core.invoice_page import page
from gateway_core.ports import Endpoint, Shape
from gateway_core.types import Account, Principal

PATH = "/v1/invoices"

_PAGE_HEADERS = {
    "cache-control": "no-store",
    "vary": "accept",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
}


class InvoiceRow(InvoiceSums):
    """One month in the list of invoices."""

    month: str
    object: Literal["invoice"]
    status: Literal["open", "final"]


class InvoiceEndpoints:
    """Handlers for invoices. An owner sees its own account's, an operator any account's."""

    def __init__(self, host: Host) -> None:
        self._services = host.services

    def endpoints(self) -> list[Endpoint]:
        """All of them."""
        return [
            Endpoint(
                "GET",
                PATH,
                "owner",
                self.index,
                "The account's months and what is due for each.",
                Shape(answer=answers.Page[InvoiceRow], query=AccountPageQuery, errors=(NotFound,)),
            ),
            Endpoint(
                "GET",
                PATH + "/{month}",
                "owner",
                self.show,
                "One month's invoice: JSON, or HTML where accepted.",
                Shape(answer=InvoiceDocument, query=AccountQuery, also=("text/html",)),
            ),
        ]

    async def index(self, request: Request, principal: Principal | None) -> Response:
        """Months from the one that goes on back to the one in which the account was created."""
        query = checked_query(request, AccountPageQuery)
        size = page_size(query)
        account = await account_for(self._services.store.directory, principal, query.get("account"))
        now = self._services.clock.now_ms()
        months = invoiced_months(account, now)
        if "after" in query:
            after = month_name(query["after"], "after")
            months = [month for month in months if month < after]
        rows: list[InvoiceRow] = []
        for month in months[: size + 1]:
            made = await invoice_of(self._services.store, account, month, now)
            rows.append({"month": month, "object": "invoice", "status": made.status, **totals(made)})
        return answers.page(rows, size, lambda row: row["month"])

    async def show(self, request: Request, principal: Principal | None) -> Response:
        """Lines and sums. A month before the account, or one that has not begun, has no invoice."""
        query = checked_query(request, AccountQuery)
        month = month_name(request.path_params["month"])
        account = await account_for(self._services.store.directory, principal, query.get("account"))
        now = self._services.clock.now_ms()
        _check_month(month, account, now)
        made = document(await invoice_of(self._services.store, account, month, now))
        if _wants_page(request.headers.get("accept", "")):
            return Response(page(made), headers=_PAGE_HEADERS, media_type="text/html")
        return answers.json(made, headers={"vary": "accept"})


def _check_month(month: str, account: Account, now: int) -> None:
    first, last = month_of(account.created_at), month_of(now)
    if month < first:
        raise NotFound(f"There is no invoice of {month}: the account was created in {first}.")
    if month > last:
        raise NotFound(f"There is no invoice of {month} yet: it is {last}.")


def _wants_page(accept: str) -> bool:
    """Whether HTML is preferred to JSON. Only what names it gets it: */* is a program's."""
    weights = {"text/html": 0.0, "application/json": 0.0}
    for part in accept.lower().split(","):
        kind, *parameters = [each.strip() for each in part.split(";")]
        if kind in weights:
            weights[kind] = max([_weight(each) for each in parameters if each.startswith("q=")], default=1.0)
    return weights["text/html"] > 0 and weights["text/html"] >= weights["application/json"]


def _weight(parameter: str) -> float:
    try:
        return min(1.0, max(0.0, float(parameter.removeprefix("q="))))
    except ValueError:
        return 0.0
