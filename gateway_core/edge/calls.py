"""/v1/requests/{id}: the record of one call, after the fact."""

import re
from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway_core.audit import CallRecord, record_body
from gateway_core.edge import answers
from gateway_core.edge.host import Host
from gateway_core.errors import NotFound
from gateway_core.ports import Endpoint, Shape
from gateway_core.store_ports import CallRow
from gateway_core.types import Principal

_REQUEST_ID = re.compile(r"req_[0-9A-HJKMNP-TV-Z]{26}")


class ShownCall(CallRecord):
    """A call that has ended, as it is on record."""

    id: str
    object: Literal["request"]


class CallEndpoints:
    """Handlers for calls that have ended."""

    def __init__(self, host: Host) -> None:
        self._store = host.services.store

    def endpoints(self) -> list[Endpoint]:
        """All of them."""
        return [
            Endpoint(
                "GET",
                "/v1/requests/{id}",
                "inference",
                self.show,
                "What one call of this account cost and delivered.",
                Shape(answer=ShownCall),
            )
        ]

    async def show(self, request: Request, principal: Principal | None) -> Response:
        """The audit record's body. Another account's call does not exist; nor does one that has not ended."""
        identifier = request.path_params["id"]
        row = await self._store.ledger.find(identifier) if _REQUEST_ID.fullmatch(identifier) else None
        if row is None or principal is None or not _made_by(row, principal):
            raise NotFound("This account has no request of that id that has ended.")
        body = msgspec.json.decode(record_body(row.settlement, row.settled.credit_used, row.settled.overage))
        return answers.json({"id": identifier, "object": "request", **body})


def _made_by(row: CallRow, principal: Principal) -> bool:
    hold = row.settlement.hold
    if hold.account_id != principal.account_id:
        return False
    # All anonymous callers are on one account: there the bearer, their address, tells them apart.
    return principal.kind != "anonymous" or hold.bearer_id == principal.bearer_id
