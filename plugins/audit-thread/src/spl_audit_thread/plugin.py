"""The plugin: two endpoints, and the sink that says a record is home."""

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway_core.errors import InsufficientScope, InvalidRequest, NotFound
from gateway_core.hookspecs import API, hookimpl
from gateway_core.ports import Endpoint
from gateway_core.services import Services
from gateway_core.types import Account, Principal, Record
from spl_audit_thread.query import checked, record_query

_THREAD = re.compile(r"th_[a-z0-9_]{1,60}", re.ASCII)
_RECORD_ID = re.compile(r"[A-Za-z0-9_\-]{1,80}", re.ASCII)
_MAX_BODY = 64 * 1024
_PATH = "/v1/threads/{thread}/records"


class SentRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a POST: a record that was made elsewhere. Its body is kept as the bytes that came."""

    id: str
    body: msgspec.Raw


class Plugin:
    """Serves the threads of the gateway's own store."""

    API = API

    @hookimpl
    def register_routes(self, services: Services) -> list[Endpoint]:
        """Reading for owners, writing for gateways."""
        threads = _Threads(services)
        return [
            Endpoint("GET", _PATH, "owner", threads.read, "A thread's records in order, a page at a time."),
            Endpoint("POST", _PATH, "records:write", threads.write, "Stores a record that another gateway made."),
        ]

    @hookimpl
    async def emit_audit(self, record: Record) -> None:
        """Takes every record at once: its settlement wrote it into its account's thread, which is kept here."""


class _Threads:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def read(self, request: Request, principal: Principal | None) -> Response:
        """A page of records."""
        parameters = checked(request.query_params.multi_items())
        account_id = await self._account_id(parameters.get("account"), principal)
        query = record_query(parameters, account_id, _thread(request))
        size = query.limit
        records = await self._services.store.records.read(msgspec.structs.replace(query, limit=size + 1))
        shown, more = records[:size], len(records) > size
        return _json(
            {
                "object": "list",
                "data": [_described(record) for record in shown],
                "has_more": more,
                "next_after": shown[-1].sequence if more else None,
            }
        )

    async def write(self, request: Request, principal: Principal | None) -> Response:
        """Stores a record once: 201 for a new one, 200 for one that is there already."""
        thread = _thread(request)
        sent = _decoded(await request.body())
        if principal is None:
            raise InsufficientScope("This needs a bearer with the scope `records:write`.")
        records = self._services.store.records
        last, _ = await records.head(principal.account_id)
        record = await records.append(principal.account_id, thread, sent.id, bytes(sent.body), principal.bearer_id)
        return _json(_described(record), 201 if record.sequence > last else 200)

    async def _account_id(self, name: str | None, principal: Principal | None) -> str:
        if principal is None:
            raise InsufficientScope("This needs a key with the scope `owner`.")
        if name is None or name == principal.account_id:
            return principal.account_id
        directory = self._services.store.directory
        if "operator" not in principal.scopes:
            own = await directory.account(principal.account_id)
            if own is None or own.name != name:
                raise InsufficientScope("Another account's records need a key with the scope `operator`.")
            return own.id
        account: Account | None = await directory.account_named(name) or await directory.account(name)
        if account is None:
            raise NotFound("There is no such account.")
        return account.id


def _thread(request: Request) -> str:
    thread: str = request.path_params["thread"]
    if not _THREAD.fullmatch(thread):
        raise InvalidRequest("A thread is called `th_` and up to 60 of a to z, 0 to 9 and _.", param="thread")
    return thread


def _decoded(body: bytes) -> SentRecord:
    try:
        sent = msgspec.json.decode(body, type=SentRecord)
        content = msgspec.json.decode(sent.body)
        msgspec.json.encode(content)  # raises for text that is no Unicode
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise InvalidRequest('A record is sent as {"id": "…", "body": {…}} and nothing else.') from None
    if not _RECORD_ID.fullmatch(sent.id):
        raise InvalidRequest("Invalid value for 'id': 1 to 80 of A to Z, a to z, 0 to 9, _ and -.", param="id")
    if not isinstance(content, dict):
        raise InvalidRequest("A record's body must be a JSON object.", param="body")
    if len(bytes(sent.body)) > _MAX_BODY:
        raise InvalidRequest(f"A record's body must be at most {_MAX_BODY} bytes.", param="body")
    return sent


def _described(record: Record) -> dict[str, Any]:
    at = datetime.fromtimestamp(record.created_at / 1000, UTC)
    return {
        "id": record.id,
        "object": "record",
        "thread": record.thread,
        "sequence": record.sequence,
        "created_at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "hash": record.hash,
        "body": record.body,
    }


def _json(value: Any, status: int = 200) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")
