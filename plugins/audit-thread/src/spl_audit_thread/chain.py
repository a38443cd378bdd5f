"""An account's chain over HTTP: its signed head, and its records as the bytes that their hashes are made of."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypedDict

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway_core.errors import NotFound
from gateway_core.ports import Endpoint, Shape
from gateway_core.services import Services
from gateway_core.types import Principal, Record
from spl_audit_thread.query import AccountParameter, AccountPlace, checked, record_query

AccountOf = Callable[[str | None, Principal | None], Awaitable[str]]


class Head(TypedDict):
    """Where an account's chain ends, what retention has removed of it, and the same signed, with the public key."""

    object: Literal["head"]
    account: str
    sequence: int
    hash: str
    pruned_sequence: int
    pruned_hash: str
    signed: str
    key: dict[str, Any]


class ChainedRecord(TypedDict):
    """A record as it is hashed: its body in base64, exactly the bytes that are stored."""

    object: Literal["chained_record"]
    sequence: int
    id: str
    thread: str
    body: bytes
    hash: str


class ChainPage(TypedDict):
    """Records in order. `next_after` is the next page's `after`; null on the last."""

    object: Literal["list"]
    data: list[ChainedRecord]
    has_more: bool
    next_after: int | None


class Chains:
    """Handlers for whoever checks a chain. `account_of` says whose it is, and who may see it."""

    def __init__(self, services: Services, account_of: AccountOf) -> None:
        self._services = services
        self._account_of = account_of

    def endpoints(self) -> list[Endpoint]:
        """Both of them."""
        return [
            Endpoint(
                "GET",
                "/v1/audit/head",
                "owner",
                self.head,
                "Where an account's chain ends, signed.",
                Shape(answer=Head, query=AccountParameter, errors=(NotFound,)),
            ),
            Endpoint(
                "GET",
                "/v1/audit/chain",
                "owner",
                self.chain,
                "An account's records as they are hashed.",
                Shape(answer=ChainPage, query=AccountPlace, errors=(NotFound,)),
            ),
        ]

    async def head(self, request: Request, principal: Principal | None) -> Response:
        """The chain's last record and hash, and what retention has removed; signed by this instance."""
        parameters = checked(request.query_params.multi_items(), AccountParameter)
        account_id = await self._account_of(parameters.get("account"), principal)
        ends = await self._services.store.records.ends(account_id)
        signed, key = self._services.signer.sign_head(account_id, ends.sequence, ends.hash)
        shown: Head = {
            "object": "head",
            "account": account_id,
            "sequence": ends.sequence,
            "hash": ends.hash,
            "pruned_sequence": ends.pruned_sequence,
            "pruned_hash": ends.pruned_hash,
            "signed": signed,
            "key": key,
        }
        return _json(shown)

    async def chain(self, request: Request, principal: Principal | None) -> Response:
        """A page of all threads of the account, bodies in base64: exactly the bytes that are stored."""
        parameters = checked(request.query_params.multi_items(), AccountPlace)
        account_id = await self._account_of(parameters.get("account"), principal)
        query = record_query(parameters, account_id, None)
        records = await self._services.store.records.read(msgspec.structs.replace(query, limit=query.limit + 1))
        shown, more = records[: query.limit], len(records) > query.limit
        page: ChainPage = {
            "object": "list",
            "data": [_link(record) for record in shown],
            "has_more": more,
            "next_after": shown[-1].sequence if more else None,
        }
        return _json(page)


def _link(record: Record) -> ChainedRecord:
    return {
        "object": "chained_record",
        "sequence": record.sequence,
        "id": record.id,
        "thread": record.thread,
        "body": bytes(record.body),  # JSON has it in base64
        "hash": record.hash,
    }


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), 200, {"cache-control": "no-store"}, media_type="application/json")
