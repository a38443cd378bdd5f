"""The plugin: threads over HTTP, and the sink that takes a record home."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypedDict

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from gateway_core.errors import Conflict, InsufficientScope, InvalidRequest, NotFound
from gateway_core.hookspecs import API, hookimpl
from gateway_core.ports import Endpoint, Shape
from gateway_core.services import Services
from gateway_core.types import Account, Principal, Record
from spl_audit_thread.chain import Chains
from spl_audit_thread.pull import Puller
from spl_audit_thread.query import Parameters, Place, checked, record_query
from spl_audit_thread.remote import Pusher

_THREAD = re.compile(r"th_[a-z0-9_]{1,60}", re.ASCII)
_RECORD_ID = re.compile(r"[A-Za-z0-9_\-]{1,80}", re.ASCII)
_MAX_BODY = 64 * 1024
_MAX_SENT = _MAX_BODY + 1024
"""Bytes of a record that is sent: its body, its id and what stands around them."""
_PATH = "/v1/threads/{thread}/records"


class SentRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a POST: a record that was made elsewhere. Its body is kept as the bytes that came."""

    id: str
    body: msgspec.Raw


class ShownRecord(TypedDict):
    """A record, and its place in the account's chain."""

    id: str
    object: Literal["record"]
    thread: str
    sequence: int
    created_at: str
    hash: str
    body: Any


class RecordPage(TypedDict):
    """Records in order. `next_after` is the next page's `after`; null on the last."""

    object: Literal["list"]
    data: list[ShownRecord]
    has_more: bool
    next_after: int | None


class AuditThreadSettings(msgspec.Struct, frozen=True):
    """`[plugins.audit-thread]`: where to fetch records from that a gateway keeps for this instance."""

    #: The gateway's address. None: nothing is fetched; records come by themselves, or there are none.
    pull_from: str | None = None
    #: The address that the gateway knows itself by, where it is another.
    pull_audience: str | None = None
    #: Whose records they are here.
    pull_account: str = "local"
    #: Seconds between two looks.
    pull_seconds: Annotated[float, Meta(ge=0.05, le=86_400)] = 5.0

    def __post_init__(self) -> None:
        """Refuses an address that is none."""
        for name, url in (("pull_from", self.pull_from), ("pull_audience", self.pull_audience)):
            if url is not None and not re.match(r"https?://[^\s/?#@]+(/[^\s?#]*)?$", url):
                raise ValueError(f'{name}: expected an address such as "https://gateway.example.com"')


class Plugin:
    """Serves the threads of the gateway's own store, and carries records between instances."""

    API = API
    Settings = AuditThreadSettings

    def __init__(self, settings: AuditThreadSettings) -> None:
        self._settings = settings
        self._pusher: Pusher | None = None
        self._puller: Puller | None = None

    @hookimpl
    async def startup(self, services: Services) -> None:
        """Learns where records go, and begins to fetch them where that is configured."""
        self._pusher = Pusher(services)
        settings = self._settings
        if settings.pull_from is not None:
            self._puller = Puller(
                services, settings.pull_from, settings.pull_audience, settings.pull_account, settings.pull_seconds
            )
            await self._puller.start()

    @hookimpl
    async def shutdown(self) -> None:
        """Fetches no more."""
        if self._puller is not None:
            await self._puller.stop()

    @hookimpl
    def register_routes(self, services: Services) -> list[Endpoint]:
        """Reading for owners and for instances, writing for gateways."""
        threads = _Threads(services)
        return [
            Endpoint(
                "GET",
                _PATH,
                "owner",
                threads.read,
                "A thread's records in order, a page at a time.",
                Shape(answer=RecordPage, query=Parameters),
            ),
            Endpoint(
                "POST",
                _PATH,
                "records:write",
                threads.write,
                "Stores a record that another gateway made.",
                Shape(body=SentRecord, answer=ShownRecord, statuses=(201, 200), errors=(Conflict,)),
            ),
            Endpoint(
                "GET",
                "/v1/audit/records",
                "records:read",
                threads.pull,
                "All records of an instance's account, to fetch.",
                Shape(answer=RecordPage, query=Place),
            ),
            *Chains(services, threads.account_id).endpoints(),
        ]

    @hookimpl
    async def emit_audit(self, record: Record) -> None:
        """Takes a record home: it is there already, in its account's thread, unless the account has an instance of
        its own that wants it sent."""
        if self._pusher is not None:
            await self._pusher.push(record)

    @hookimpl
    async def wants_audit(self, account_id: str) -> bool:
        """Only where the account has an instance that wants its records sent: all others are at home here."""
        return self._pusher is not None and await self._pusher.has_home(account_id)


class _Threads:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def read(self, request: Request, principal: Principal | None) -> Response:
        """A page of records."""
        parameters = checked(request.query_params.multi_items())
        account_id = await self.account_id(parameters.get("account"), principal)
        query = record_query(parameters, account_id, _thread(request))
        size = query.limit
        records = await self._services.store.records.read(msgspec.structs.replace(query, limit=size + 1))
        return _page(records, size)

    async def pull(self, request: Request, principal: Principal | None) -> Response:
        """A page of all threads of the account that the instance is registered on."""
        if principal is None:
            raise InsufficientScope("This needs a bearer with the scope `records:read`.")
        parameters = checked(request.query_params.multi_items(), Place)
        query = record_query(parameters, principal.account_id, None)
        size = query.limit
        records = await self._services.store.records.read(msgspec.structs.replace(query, limit=size + 1))
        return _page(records, size)

    async def write(self, request: Request, principal: Principal | None) -> Response:
        """Stores a record once: 201 for a new one, 200 for one that is there already."""
        thread = _thread(request)
        sent = _decoded(await _read(request))
        if principal is None:
            raise InsufficientScope("This needs a bearer with the scope `records:write`.")
        records = self._services.store.records
        last, _ = await records.head(principal.account_id)
        record = await records.append(principal.account_id, thread, sent.id, bytes(sent.body), principal.bearer_id)
        return _json(_described(record), 201 if record.sequence > last else 200)

    async def account_id(self, name: str | None, principal: Principal | None) -> str:
        """Whose records these are: the caller's own, or for an operator those of the account that is named."""
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
            raise NotFound("There is no such account.", param="account")
        return account.id


def _thread(request: Request) -> str:
    thread: str = request.path_params["thread"]
    if not _THREAD.fullmatch(thread):
        raise InvalidRequest("A thread is called `th_` and up to 60 of a to z, 0 to 9 and _.", param="thread")
    return thread


async def _read(request: Request) -> bytes:
    """The request's body, refused at the first byte beyond what a record may have: nothing larger is decoded."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MAX_SENT:
            raise _too_large()
    return bytes(body)


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
        raise _too_large()
    return sent


def _too_large() -> InvalidRequest:
    return InvalidRequest(f"A record's body must be at most {_MAX_BODY} bytes.", param="body")


def _page(records: Sequence[Record], size: int) -> Response:
    shown, more = records[:size], len(records) > size
    return _json(
        {
            "object": "list",
            "data": [_described(record) for record in shown],
            "has_more": more,
            "next_after": shown[-1].sequence if more else None,
        }
    )


def _described(record: Record) -> ShownRecord:
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
