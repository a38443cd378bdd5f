"""/v1/admin/outbox: how far each sink is behind, on which accounts, and an end to their pauses."""

from typing import Literal, TypedDict

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway_core.clock import iso
from gateway_core.edge import answers
from gateway_core.edge.bodies import checked_query, decoded, page_size
from gateway_core.edge.host import Host
from gateway_core.edge.queries import PageQuery
from gateway_core.errors import NotFound
from gateway_core.ports import Endpoint, Shape, SinkReport
from gateway_core.store_ports import Behind
from gateway_core.types import Principal

PATH = "/v1/admin/outbox"


class OutboxRetry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a retry: which sink; absent: all."""

    sink: str | None = None


class Age(TypedDict):
    """When the oldest record was made that is undelivered, and how long ago: what an alarm goes by."""

    oldest_at: str | None
    oldest_seconds: int


class ShownSink(Age):
    """How far one sink is behind, over all accounts that it wants."""

    object: Literal["sink"]
    sink: str
    accounts_behind: int
    records_behind: int
    accounts_failing: int
    attempts: int
    last_error: str | None
    next_attempt_at: str | None


class SinkAccount(Age):
    """How far a sink is behind on one account."""

    object: Literal["sink_account"]
    account: str
    records_behind: int
    attempts: int
    last_error: str | None
    next_attempt_at: str | None


class OutboxEndpoints:
    """Handlers for the operator."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def endpoints(self) -> list[Endpoint]:
        """All of them."""
        return [
            Endpoint(
                "GET",
                PATH,
                "operator",
                self.index,
                "How far each sink is behind.",
                Shape(answer=answers.Page[ShownSink]),
            ),
            Endpoint(
                "POST",
                f"{PATH}/retry",
                "operator",
                self.retry,
                "Asks sinks again at once.",
                Shape(body=OutboxRetry, answer=answers.Page[ShownSink], errors=(NotFound,)),
            ),
            Endpoint(
                "GET",
                PATH + "/{sink}",
                "operator",
                self.accounts,
                "The accounts that a sink is behind on.",
                Shape(answer=answers.Page[SinkAccount], query=PageQuery),
            ),
        ]

    async def index(self, _request: Request, _principal: Principal | None) -> Response:
        """One row a sink."""
        now = self._host.services.clock.now_ms()
        return answers.listing([_sink(report, now) for report in await self._host.outbox.reports()])

    async def accounts(self, request: Request, _principal: Principal | None) -> Response:
        """A page of accounts, by id."""
        query = checked_query(request, PageQuery)
        size = page_size(query)
        sink = self._known(request.path_params["sink"])
        now = self._host.services.clock.now_ms()
        rows = await self._host.outbox.behind(sink, after=query.get("after", ""), limit=size + 1)
        return answers.page([_account(row, now) for row in rows], size, lambda row: row["account"])

    async def retry(self, request: Request, _principal: Principal | None) -> Response:
        """Ends the pauses; what becomes of it shows in the listing, a moment later."""
        body = await decoded(request, OutboxRetry)
        self._host.outbox.retry(None if body.sink is None else self._known(body.sink))
        return await self.index(request, _principal)

    def _known(self, sink: str) -> str:
        sinks = self._host.outbox.sinks
        if sink not in sinks:
            raise NotFound(f"There is no such sink; there are {', '.join(sinks) or 'none'}.")
        return sink


def _sink(report: SinkReport, now: int) -> ShownSink:
    return {
        "object": "sink",
        "sink": report.sink,
        "accounts_behind": report.accounts_behind,
        "records_behind": report.records_behind,
        **_age(report.oldest_at, now),
        "accounts_failing": report.accounts_failing,
        "attempts": report.attempts,
        "last_error": report.last_error,
        "next_attempt_at": None if report.next_attempt_at is None else iso(report.next_attempt_at),
    }


def _account(row: Behind, now: int) -> SinkAccount:
    failure = row.failure
    return {
        "object": "sink_account",
        "account": row.account_id,
        "records_behind": row.records,
        **_age(row.oldest_at, now),
        "attempts": 0 if failure is None else failure.attempts,
        "last_error": None if failure is None else failure.reason,
        "next_attempt_at": None if failure is None else iso(failure.next_attempt_at),
    }


def _age(oldest_at: int | None, now: int) -> Age:
    if oldest_at is None:
        return {"oldest_at": None, "oldest_seconds": 0}
    return {"oldest_at": iso(oldest_at), "oldest_seconds": max(0, (now - oldest_at) // 1000)}
