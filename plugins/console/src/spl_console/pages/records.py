"""The records of calls: searched, a page at a time, and as a file."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response, StreamingResponse

from gateway_core.errors import GatewayError, InvalidRequest, NotFound
from gateway_core.store_ports import RecordSearch
from gateway_core.types import Account, Record
from spl_console.calls import KINDS, OUTCOMES, STATES, body_of, rows_of
from spl_console.page import Page, Visit
from spl_console.times import begins, ends
from spl_console.whose import account_of, key_names, named

_KEYS = 200
"""Keys that the filter offers; others are chosen from a page that names them."""
_CHUNK = 500
"""Records of a file that are in memory at a time."""
_AT_ONCE = 2
"""Parts of files that are made at a time."""
_FIELDS = ("from", "to", "model", "key", "outcome", "state", "order")

_COLUMNS = [
    "served_at",
    "request_id",
    "model",
    "tier",
    "key_id",
    "endpoint",
    "outcome",
    "stream_state",
    "error_code",
    "tokens_input",
    "tokens_cached",
    "tokens_cache_write",
    "tokens_output",
    "tokens_reasoning",
    "estimated",
    "cost_usd",
    "credit_used_usd",
    "overage_usd",
    "latency_ms",
    "ttft_ms",
    "price_id",
]


class Records:
    """Its pages, and how many parts of files are made at a time."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(_AT_ONCE)

    def pages(self) -> tuple[Page, ...]:
        """All of them."""
        return (
            Page("GET", "/usage/records", "owner", self.index, "Records of calls, searched."),
            Page("GET", "/usage/records.csv", "owner", self.file, "The same as a file."),
            Page("GET", "/usage/calls/{id}", "owner", self.call, "The record of one call, by its request id."),
        )

    async def index(self, visit: Visit) -> Response:
        """One page of what is looked for."""
        account = await account_of(visit)
        asked = {name: visit.query(name) for name in _FIELDS}
        error: GatewayError | None = None
        search = RecordSearch(account.id)
        try:
            wanted = visit.query("request")
            if wanted:
                return await self._call(visit, account, wanted)
            search = _search(visit, account)
        except (InvalidRequest, NotFound) as refusal:
            error = refusal
        found = await visit.services.store.records.search(search)
        rows = rows_of(found.records)
        owner = named(visit, account)
        return visit.render(
            "records.html",
            200 if error is None else error.status,
            account=account,
            owner=owner,
            error=error,
            asked=asked,
            filtered=any(asked[name] for name in _FIELDS if name != "order"),
            rows=rows,
            names=await key_names(visit, {body.key_id for _, body, _ in rows if body.key_id}),
            keys=await visit.services.store.directory.keys(account.id, limit=_KEYS),
            models=sorted(visit.services.models),
            outcomes=OUTCOMES,
            kinds=KINDS,
            states=STATES,
            full=len(rows) == search.limit,
            first=search.beyond is None,
            older="" if found.following is None else _address(asked, owner, beyond=str(found.following)),
            newest=_address(asked, owner),
            reached=await self._reached(visit, account, found.following),
        )

    async def call(self, visit: Visit) -> Response:
        """To the record of the call with that request id."""
        return await self._call(visit, await account_of(visit), visit.request.path_params["id"])

    async def file(self, visit: Visit) -> Response:
        """All that is looked for, as CSV, written while it is read."""
        account = await account_of(visit)
        search = msgspec.structs.replace(_search(visit, account), limit=_CHUNK, beyond=None)
        name = "".join(each if each.isascii() and each.isalnum() else "-" for each in account.name)[:50]
        headers = {
            "content-disposition": f'attachment; filename="calls-{name}.csv"',
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
        }
        return StreamingResponse(self._lines(visit, search), 200, headers, media_type="text/csv; charset=utf-8")

    async def _lines(self, visit: Visit, search: RecordSearch) -> AsyncIterator[str]:
        """The file in parts. It ends where the key does not work any more. A turn ends with its part, so that a browser
        which reads slowly holds up nobody."""
        yield ",".join(_COLUMNS) + "\r\n"
        while True:
            await visit.services.inside.identify(visit.request.scope, visit.bearer)
            async with self._turns:
                found = await visit.services.store.records.search(search)
                part = _csv(found.records)
            if part:
                yield part
            if found.following is None:
                return
            search = msgspec.structs.replace(search, beyond=found.following)

    async def _call(self, visit: Visit, account: Account, request_id: str) -> Response:
        row = await visit.services.store.ledger.find(request_id)
        if row is None or row.settlement.hold.account_id != account.id or not row.settled.sequence:
            raise NotFound("This account has no call of that request id that has ended. An id begins with req_.")
        owner = named(visit, account)
        return visit.redirect(f"/usage/records/{row.settled.sequence}" + (f"?{owner}" if owner else ""))

    async def _reached(self, visit: Visit, account: Account, sequence: int | None) -> Record | None:
        """The record that the search has got to."""
        if sequence is None:
            return None
        return await record_at(visit, account, sequence)


async def record_at(visit: Visit, account: Account, sequence: int) -> Record | None:
    """The account's record of that sequence."""
    found = await visit.services.store.records.search(
        RecordSearch(account.id, beyond=sequence - 1, oldest_first=True, limit=1)
    )
    return found.records[0] if found.records else None


def _search(visit: Visit, account: Account) -> RecordSearch:
    since, until, beyond = visit.query("from"), visit.query("to"), visit.query("beyond")
    if since and until and since > until:
        raise InvalidRequest("The first day must not be after the last.", param="from")
    if beyond and not (beyond.isascii() and beyond.isdigit() and len(beyond) < 18):
        raise InvalidRequest("This page's address is wrong: begin again.")
    outcome, state = visit.query("outcome"), visit.query("state")
    if outcome and outcome not in OUTCOMES:
        raise InvalidRequest("There is no such outcome.", param="outcome")
    if state and state not in STATES:
        raise InvalidRequest("There is no such end of a stream.", param="state")
    return RecordSearch(
        account.id,
        beyond=int(beyond) if beyond else None,
        oldest_first=visit.query("order") == "oldest",
        since=begins(since) if since else None,
        until=ends(until) if until else None,
        model=visit.query("model") or None,
        key=visit.query("key") or None,
        outcome=outcome or None,
        stream_state=state or None,
    )


def _address(asked: dict[str, str], owner: str, **more: str) -> str:
    text = urlencode({name: value for name, value in {**asked, **more}.items() if value})
    return "?" + "&".join(part for part in (text, owner) if part)


def _csv(records: list[Record]) -> str:
    file = io.StringIO()
    writer = csv.writer(file)
    for record in records:
        said = {**msgspec.structs.asdict(body_of(record)), "served_at": _served(record)}
        writer.writerow([safe(said[column]) for column in _COLUMNS])
    return file.getvalue()


def _served(record: Record) -> str:
    moment = datetime.fromtimestamp(record.created_at / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def safe(value: Any) -> str:
    """A cell that no spreadsheet takes for a formula: what begins like one begins with an apostrophe."""
    if value is None:
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return "'" + text if text[:1] in {"=", "+", "-", "@", "\t", "\r", "\n"} else text
