"""/v1/admin/adjustments: refunds, credit notes and their reversals."""

from typing import Literal, TypedDict

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway_core.clock import iso, month_of
from gateway_core.edge import answers
from gateway_core.edge.access import actor_of
from gateway_core.edge.bodies import amount, checked_query, decoded, month_name, name_of, page_size
from gateway_core.edge.host import Host
from gateway_core.edge.names import find_account
from gateway_core.edge.queries import AccountPageQuery
from gateway_core.errors import Conflict, InvalidRequest, NotFound
from gateway_core.ids import new_id
from gateway_core.money import Units, usd
from gateway_core.ports import Endpoint, Shape
from gateway_core.types import Adjustment, AdjustmentKind, Principal

PATH = "/v1/admin/adjustments"


class NewAdjustment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an adjustment. `amount_usd` is above 0: its kind says which way it goes."""

    account: str
    kind: AdjustmentKind
    amount_usd: str
    why: str
    #: The call that is refunded.
    request_id: str | None = None
    #: The adjustment that is reversed.
    adjustment_id: str | None = None
    #: Only the month that goes on can be adjusted; naming it makes sure that it is the one that is meant.
    month: str | None = None


class ShownAdjustment(TypedDict):
    """An adjustment. `amount_usd` is what it adds to what is due."""

    id: str
    object: Literal["adjustment"]
    account_id: str
    month: str
    kind: AdjustmentKind
    amount_usd: str
    why: str
    who: str
    refers_to: str | None
    at: str


class AdjustmentEndpoints:
    """Handlers for adjustments."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._services = host.services

    def endpoints(self) -> list[Endpoint]:
        """All of them."""
        return [
            Endpoint(
                "GET",
                PATH,
                "operator",
                self.index,
                "Adjustments of one account or of all.",
                Shape(answer=answers.Page[ShownAdjustment], query=AccountPageQuery, errors=(NotFound,)),
            ),
            Endpoint(
                "POST",
                PATH,
                "operator",
                self.add,
                "Refunds, credits, or takes one of these back.",
                Shape(body=NewAdjustment, answer=ShownAdjustment, statuses=(201,), errors=(NotFound, Conflict)),
            ),
        ]

    async def index(self, request: Request, _principal: Principal | None) -> Response:
        """Adjustments in the order in which they were made."""
        query = checked_query(request, AccountPageQuery)
        size = page_size(query)
        directory, store = self._services.store.directory, self._services.store
        account_id = None
        if "account" in query:
            account_id = (await find_account(directory, query["account"], "account")).id
        rows = await store.adjustments.page(account_id, after=query.get("after", ""), limit=size + 1)
        return answers.page([described(row) for row in rows], size, lambda row: row["id"])

    async def add(self, request: Request, principal: Principal | None) -> Response:
        """Adds one; nothing that was settled changes."""
        body = await decoded(request, NewAdjustment)
        now = self._services.clock.now_ms()
        units, why = _positive(body.amount_usd), name_of(body.why, "why")
        refers_to = _reference(body)
        month = month_of(now) if body.month is None else month_name(body.month)
        account = await find_account(self._services.store.directory, body.account, "account")
        added = await self._services.store.adjustments.add(
            Adjustment(
                id=new_id("adj_"),
                account_id=account.id,
                month=month,
                kind=body.kind,
                amount=units if body.kind == "reversal" else Units(-units),
                why=why,
                who=actor_of(principal),
                at=now,
                refers_to=refers_to,
            )
        )
        self._host.outbox.note(account.id, added.sequence)
        return answers.json(described(added), 201)


def described(adjustment: Adjustment) -> ShownAdjustment:
    """An adjustment as it is shown; its amount is what it adds to what is due."""
    return {
        "id": adjustment.id,
        "object": "adjustment",
        "account_id": adjustment.account_id,
        "month": adjustment.month,
        "kind": adjustment.kind,
        "amount_usd": usd(adjustment.amount),
        "why": adjustment.why,
        "who": adjustment.who,
        "refers_to": adjustment.refers_to,
        "at": iso(adjustment.at),
    }


def _positive(text: str) -> Units:
    units = amount(text, "amount_usd")
    if not units:
        raise InvalidRequest("'amount_usd' must be above 0: the kind says which way it goes.", param="amount_usd")
    return units


def _reference(body: NewAdjustment) -> str | None:
    """What it refers to. Raises InvalidRequest where that does not go with its kind."""
    if body.kind == "reversal":
        if body.request_id is not None:
            raise InvalidRequest("A reversal names the 'adjustment_id' that it takes back.", param="request_id")
        if body.adjustment_id is None:
            raise InvalidRequest("Missing required parameter: 'adjustment_id'.", param="adjustment_id")
        return body.adjustment_id
    if body.adjustment_id is not None:
        raise InvalidRequest("Only a reversal names an adjustment.", param="adjustment_id")
    return body.request_id
