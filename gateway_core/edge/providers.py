"""/v1/admin/providers: how each route to a provider stands, by the calls that it served."""

from typing import Literal, TypedDict

from starlette.requests import Request
from starlette.responses import Response

from gateway_core.clock import iso
from gateway_core.edge import answers
from gateway_core.edge.host import Host
from gateway_core.ports import Endpoint, Shape
from gateway_core.route_health import RouteReport
from gateway_core.types import Principal

PATH = "/v1/admin/providers"


class ShownRoute(TypedDict):
    """A route to a provider: whether it is asked, and how it did. Latencies are in milliseconds."""

    object: Literal["route"]
    provider: str
    model: str
    serves: list[str]
    state: str
    retry_in_seconds: float
    attempts: int
    failures: int
    failures_in_a_row: int
    last_failure: str | None
    last_failure_at: str | None
    first_event_p50_ms: int | None
    first_event_p95_ms: int | None
    answer_p50_ms: int | None
    answer_p95_ms: int | None


class ProviderEndpoints:
    """Handlers for the operator."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def endpoints(self) -> list[Endpoint]:
        """All of them."""
        shape = Shape(answer=answers.Page[ShownRoute])
        return [Endpoint("GET", PATH, "operator", self.index, "How each route to a provider stands.", shape)]

    async def index(self, _request: Request, _principal: Principal | None) -> Response:
        """One row a route, in the order of the configuration. Counts are since the start."""
        return answers.listing([_row(report) for report in self._host.health.report()])


def _row(report: RouteReport) -> ShownRoute:
    return {
        "object": "route",
        "provider": report.provider,
        "model": report.model,
        "serves": list(report.serves),
        "state": report.state,
        "retry_in_seconds": report.retry_in,
        "attempts": report.attempts,
        "failures": report.failures,
        "failures_in_a_row": report.failures_in_a_row,
        "last_failure": report.last_failure,
        "last_failure_at": None if report.last_failure_at is None else iso(report.last_failure_at),
        "first_event_p50_ms": report.first_event_p50,
        "first_event_p95_ms": report.first_event_p95,
        "answer_p50_ms": report.answer_p50,
        "answer_p95_ms": report.answer_p95,
    }
