"""/v1/admin/accounts: who is billed and limited."""

import asyncio
from collections.abc import Mapping
from typing import Any, Literal, TypedDict

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from gateway_core.clock import iso
from gateway_core.config_decode import nearest
from gateway_core.edge import answers
from gateway_core.edge.access import actor_of
from gateway_core.edge.bodies import amount, checked_query, decoded, name_of, page_size
from gateway_core.edge.host import Host
from gateway_core.edge.names import ACCOUNT_ID, find_account
from gateway_core.edge.queries import PageQuery
from gateway_core.errors import Conflict, InvalidRequest
from gateway_core.ids import new_id
from gateway_core.money import Units, usd
from gateway_core.ports import Endpoint, Shape
from gateway_core.store_ports import Directory
from gateway_core.types import Account, Principal, SubscriptionStatus

_MAX_LIMIT = 1_000_000_000


class NewAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a creation. Amounts in USD as text."""

    name: str
    credit_usd: str | None = None
    cap_usd: str | None = None


class ModelLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of one model: what is absent stays, null takes one away."""

    rpm: int | UnsetType | None = UNSET
    tpm: int | UnsetType | None = UNSET


class AccountChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a change: what is absent stays. `limits` names models; null takes a model's limits away."""

    suspended: bool | UnsetType = UNSET
    credit_usd: str | UnsetType = UNSET
    cap_usd: str | UnsetType | None = UNSET
    limits: Mapping[str, ModelLimits | None] | UnsetType = UNSET


class ShownAccount(TypedDict):
    """An account. Limits are by model: `rpm`, `tpm`."""

    id: str
    object: Literal["account"]
    name: str
    credit_usd: str
    cap_usd: str | None
    suspended: bool
    plan: str | None
    subscription: SubscriptionStatus | None
    limits: Mapping[str, Mapping[str, int]]
    created_at: str


class AccountEndpoints:
    """Handlers for accounts; a path names one by name or id."""

    def __init__(self, host: Host) -> None:
        self._services = host.services
        # A change is read, made and written as one: of two at once the later would undo the earlier.
        self._changing = asyncio.Lock()

    @property
    def _directory(self) -> Directory:
        return self._services.store.directory

    def endpoints(self) -> list[Endpoint]:
        """All of them."""
        path = "/v1/admin/accounts"
        return [
            Endpoint(
                "GET",
                path,
                "operator",
                self.index,
                "All accounts.",
                Shape(answer=answers.Page[ShownAccount], query=PageQuery),
            ),
            Endpoint(
                "POST",
                path,
                "operator",
                self.create,
                "Creates an account.",
                Shape(body=NewAccount, answer=ShownAccount, statuses=(201,), errors=(Conflict,)),
            ),
            Endpoint(
                "GET",
                path + "/{name}",
                "operator",
                self.show,
                "One account, by name or id.",
                Shape(answer=ShownAccount),
            ),
            Endpoint(
                "PATCH",
                path + "/{name}",
                "operator",
                self.change,
                "Suspends, resumes, caps or limits an account.",
                Shape(body=AccountChange, answer=ShownAccount),
            ),
        ]

    async def index(self, request: Request, _principal: Principal | None) -> Response:
        """Accounts in the order in which they were created."""
        query = checked_query(request, PageQuery)
        size = page_size(query)
        accounts = await self._directory.accounts(after=query.get("after", ""), limit=size + 1)
        return answers.page([described(account) for account in accounts], size, lambda row: row["id"])

    async def create(self, request: Request, principal: Principal | None) -> Response:
        """A new account. Raises Conflict where there is one of that name."""
        body = await decoded(request, NewAccount)
        account = Account(
            id=new_id(ACCOUNT_ID),
            name=_account_name(body.name),
            created_at=self._services.clock.now_ms(),
            cap=amount(body.cap_usd, "cap_usd"),
            monthly_credit=amount(body.credit_usd, "credit_usd") or Units(0),
        )
        await self._directory.create_account(account, actor_of(principal))
        return answers.json(described(account), 201)

    async def show(self, request: Request, _principal: Principal | None) -> Response:
        """One account."""
        return answers.json(described(await find_account(self._directory, request.path_params["name"])))

    async def change(self, request: Request, principal: Principal | None) -> Response:
        """What the body names is changed, and nothing else; in force for the next call."""
        body = await decoded(request, AccountChange)
        async with self._changing:
            account = await find_account(self._directory, request.path_params["name"])
            changed = self._changed(account, body)
            if changed != account:
                await self._directory.update_account(changed, actor_of(principal), _action(account, changed))
        return answers.json(described(changed))

    def _changed(self, account: Account, body: AccountChange) -> Account:
        changes: dict[str, Any] = {}
        if body.suspended is not UNSET:
            changes["suspended"] = body.suspended
        if body.credit_usd is not UNSET:
            changes["monthly_credit"] = amount(body.credit_usd, "credit_usd")
        if body.cap_usd is not UNSET:
            changes["cap"] = amount(body.cap_usd, "cap_usd")
        if body.limits is not UNSET:
            changes["limits"] = self._limits(account, body.limits)
        if not changes:
            raise InvalidRequest("Nothing to change: name at least one field.")
        return msgspec.structs.replace(account, **changes)

    def _limits(self, account: Account, given: Mapping[str, ModelLimits | None]) -> dict[str, dict[str, int]]:
        limits: dict[str, dict[str, int]] = {model: dict(each) for model, each in account.limits.items()}
        known = self._services.config.models
        for model, each in given.items():
            if model not in known and model not in limits:
                raise InvalidRequest(f"There is no model of that name{nearest(model, known)}", param="limits")
            limits[model] = {} if each is None else _merged(model, limits.get(model, {}), each)
        return {model: own for model, own in limits.items() if own}


def described(account: Account) -> ShownAccount:
    """An account as it is shown."""
    return {
        "id": account.id,
        "object": "account",
        "name": account.name,
        "credit_usd": usd(account.monthly_credit),
        "cap_usd": None if account.cap is None else usd(account.cap),
        "suspended": account.suspended,
        "plan": None if account.subscription is None else account.subscription.plan,
        "subscription": None if account.subscription is None else account.subscription.status,
        "limits": account.limits,
        "created_at": iso(account.created_at),
    }


def _merged(model: str, own: Mapping[str, int], given: ModelLimits) -> dict[str, int]:
    merged = dict(own)
    for unit, number in (("rpm", given.rpm), ("tpm", given.tpm)):
        if number is None:
            merged.pop(unit, None)
        elif number is not UNSET:
            if not 1 <= number <= _MAX_LIMIT:
                param = f"limits.{model}.{unit}"
                raise InvalidRequest(f"'{param}' must be a whole number from 1 to {_MAX_LIMIT}.", param=param)
            merged[unit] = number
    return merged


def _account_name(text: str) -> str:
    name = name_of(text)
    if name.startswith(ACCOUNT_ID):
        raise InvalidRequest(f"A name cannot begin with '{ACCOUNT_ID}': ids do.", param="name")
    if "/" in name or name in (".", ".."):
        raise InvalidRequest("A name cannot have a slash, nor be dots alone: paths name accounts by it.", param="name")
    return name


def _action(before: Account, after: Account) -> str:
    if before.suspended == after.suspended:
        return "account.update"
    return "account.suspend" if after.suspended else "account.resume"
