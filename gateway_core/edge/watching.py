"""/v1/admin/limits and /v1/admin/errors: what an operator watches. Both are of this process, and of now."""

from typing import Annotated, Literal, TypedDict

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from gateway_core.clock import iso
from gateway_core.edge import answers
from gateway_core.edge.bodies import checked_query, page_size
from gateway_core.edge.host import Host
from gateway_core.edge.queries import DEFAULT_PAGE, MAX_PAGE
from gateway_core.edge.recent_errors import RecentError
from gateway_core.ports import Endpoint, Shape
from gateway_core.types import LimitState, Principal

_Limit = Annotated[int, Meta(ge=1, le=MAX_PAGE, description="Rows at most.")]


class LimitsQuery(msgspec.Struct, frozen=True):
    """How many."""

    limit: _Limit = DEFAULT_PAGE


class ErrorsQuery(msgspec.Struct, frozen=True):
    """How many, and of which code."""

    limit: _Limit = DEFAULT_PAGE
    code: Annotated[str, Meta(description="An error's code; absent: all.")] | UnsetType = UNSET


class ShownWindow(TypedDict):
    """A limit that something has been taken from. `key` is what it is counted under: for an account's limits the
    account's id, the model where it is a model's, and the unit, with colons between."""

    object: Literal["window"]
    key: str
    tier: str
    what: str
    limit: int
    remaining: int
    reset_ms: int


class ShownError(TypedDict):
    """One answer that was an error."""

    object: Literal["error"]
    at: str
    request_id: str
    status: int
    code: str
    kind: str


class ShownErrors(TypedDict):
    """The latest errors, and how many there were of each code since the start."""

    object: Literal["list"]
    data: list[ShownError]
    counts: dict[str, int]


class WatchEndpoints:
    """Handlers for the operator."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def endpoints(self) -> list[Endpoint]:
        """Both."""
        return [
            Endpoint(
                "GET",
                "/v1/admin/limits",
                "operator",
                self.limits,
                "Limits that are nearest to being reached.",
                Shape(answer=answers.Page[ShownWindow], query=LimitsQuery),
            ),
            Endpoint(
                "GET",
                "/v1/admin/errors",
                "operator",
                self.errors,
                "The latest errors, by code.",
                Shape(answer=ShownErrors, query=ErrorsQuery),
            ),
        ]

    async def limits(self, request: Request, _principal: Principal | None) -> Response:
        """Of the windows in this process those first that have the smallest share left."""
        size = page_size(checked_query(request, LimitsQuery))
        return answers.listing([_window(state) for state in await self._host.services.limiter.busiest(size)])

    async def errors(self, request: Request, _principal: Principal | None) -> Response:
        """The newest first. The last of each code are remembered, in memory: a restart forgets them."""
        query = checked_query(request, ErrorsQuery)
        latest = self._host.errors.latest(query.get("code"), page_size(query))
        counts = dict(sorted(self._host.errors.counts.items()))
        return answers.json(ShownErrors(object="list", data=[_error(row) for row in latest], counts=counts))


def _window(state: LimitState) -> ShownWindow:
    window = state.window
    return {
        "object": "window",
        "key": window.key,
        "tier": window.tier,
        "what": window.label,
        "limit": window.limit,
        "remaining": state.remaining,
        "reset_ms": state.reset_ms,
    }


def _error(row: RecentError) -> ShownError:
    return {
        "object": "error",
        "at": iso(row.at),
        "request_id": row.request_id,
        "status": row.status,
        "code": row.code,
        "kind": row.kind,
    }
