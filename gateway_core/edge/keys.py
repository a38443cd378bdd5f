"""/v1/keys: an account's keys, listed, minted, rotated and revoked by its owner."""

from typing import Any, Literal, TypedDict

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway_core.bearers import mint, with_implied
from gateway_core.clock import iso
from gateway_core.config_decode import nearest
from gateway_core.edge import answers
from gateway_core.edge.bodies import amount, checked_query, decoded, instant, name_of, page_size
from gateway_core.edge.host import Host
from gateway_core.edge.names import account_for, find_account
from gateway_core.edge.queries import AccountPageQuery
from gateway_core.errors import Conflict, InsufficientScope, InvalidRequest, NotFound
from gateway_core.money import usd
from gateway_core.ports import Endpoint, Shape
from gateway_core.types import Account, Key, Principal, Scope

OVERLAP_SECONDS = 86_400
"""How long a rotated key still works unless the request says otherwise."""

MAX_OVERLAP_SECONDS = 30 * 86_400


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a minting. `expires` is a span such as "30d", or a date or time."""

    name: str
    account: str | None = None
    cap_usd: str | None = None
    expires: str | None = None
    scopes: tuple[Scope, ...] | None = None
    models: tuple[str, ...] | None = None


class KeyRotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a rotation: how long the old key still works."""

    overlap_seconds: int | None = None


class ShownKey(TypedDict):
    """A key as it is shown: never its secret. `hint` is what a person recognises it by."""

    id: str
    object: Literal["key"]
    name: str
    hint: str
    account: str
    scopes: tuple[Scope, ...]
    models: tuple[str, ...] | None
    cap_usd: str | None
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class MintedKey(ShownKey):
    """A new key. Its secret is shown this once."""

    secret: str


class Replaced(TypedDict):
    """The key that runs out."""

    id: str
    expires_at: str


class RotatedKey(MintedKey):
    """A new key, and the one that it takes the place of."""

    replaces: Replaced


class KeyEndpoints:
    """Handlers for keys. An owner sees its own account's, an operator any account's."""

    def __init__(self, host: Host) -> None:
        self._services = host.services

    def endpoints(self) -> list[Endpoint]:
        """All of them."""
        return [
            Endpoint(
                "GET",
                "/v1/keys",
                "owner",
                self.index,
                "Keys of the account, never their secrets.",
                Shape(answer=answers.Page[ShownKey], query=AccountPageQuery, errors=(NotFound,)),
            ),
            Endpoint(
                "POST",
                "/v1/keys",
                "owner",
                self.mint,
                "Mints a key; its secret is in this answer only.",
                Shape(body=NewKey, answer=MintedKey, statuses=(201,), errors=(NotFound,)),
            ),
            Endpoint(
                "POST",
                "/v1/keys/{id}/rotate",
                "owner",
                self.rotate,
                "A new key like the old, which then runs out.",
                Shape(body=KeyRotation, answer=RotatedKey, statuses=(201,), errors=(Conflict,)),
            ),
            Endpoint(
                "DELETE",
                "/v1/keys/{id}",
                "owner",
                self.revoke,
                "Revokes a key, at once and for good.",
                Shape(answer=ShownKey, errors=(Conflict,)),
            ),
        ]

    async def index(self, request: Request, principal: Principal | None) -> Response:
        """Keys in the order in which they were minted; revoked ones too."""
        query = checked_query(request, AccountPageQuery)
        account = await self._account(_caller(principal), query.get("account"))
        size = page_size(query)
        keys = await self._services.store.directory.keys(account.id, after=query.get("after", ""), limit=size + 1)
        return answers.page([described(key, account) for key in keys], size, lambda row: row["id"])

    async def mint(self, request: Request, principal: Principal | None) -> Response:
        """A new key, which can do no more than the one that asks for it."""
        caller = _caller(principal)
        body = await decoded(request, NewKey)
        account = await self._account(caller, body.account)
        now = self._services.clock.now_ms()
        scopes = with_implied(body.scopes or ("inference",))
        if not scopes <= caller.scopes and caller.kind != "operator":
            raise InsufficientScope("A key cannot mint one with scopes that it does not have itself.")
        key, secret = mint(
            account.id,
            name_of(body.name),
            now_ms=now,
            scopes=scopes,
            models=self._models(caller, body.models),
            cap=_tighter(caller.cap, amount(body.cap_usd, "cap_usd")),
            expires_at=_tighter(caller.expires_at, _expiry(body.expires, now)),
        )
        await self._add(key, secret, caller)
        minted: MintedKey = {**described(key, account), "secret": secret}
        return answers.json(minted, 201)

    async def rotate(self, request: Request, principal: Principal | None) -> Response:
        """A key like the old one; the old one works on for the overlap."""
        caller = _caller(principal)
        body = await decoded(request, KeyRotation)
        overlap = OVERLAP_SECONDS if body.overlap_seconds is None else body.overlap_seconds
        if not 0 <= overlap <= MAX_OVERLAP_SECONDS:
            raise InvalidRequest(f"'overlap_seconds' must be 0 to {MAX_OVERLAP_SECONDS}.", param="overlap_seconds")
        old, account = await self._key(request, caller)
        now = self._services.clock.now_ms()
        if old.revoked_at is not None:
            raise Conflict(f"The key {old.id} was revoked at {iso(old.revoked_at)}: mint a new one instead.")
        if old.expires_at is not None and old.expires_at <= now:
            raise Conflict(f"The key {old.id} expired at {iso(old.expires_at)}: mint a new one instead.")
        if not with_implied(old.scopes) <= caller.scopes and caller.kind != "operator":
            raise InsufficientScope("A key cannot rotate one with scopes that it does not have itself.")
        key, secret = mint(
            account.id,
            old.name,
            now_ms=now,
            scopes=old.scopes,
            models=_narrower(caller.models, old.models),
            cap=_tighter(caller.cap, old.cap),
            expires_at=_tighter(caller.expires_at, old.expires_at),
        )
        await self._add(key, secret, caller)
        ends = _tighter(old.expires_at, now + overlap * 1000)
        await self._services.store.directory.expire_key(old.id, ends or now, caller.bearer_id)
        replaced: Replaced = {"id": old.id, "expires_at": iso(ends or now)}
        rotated: RotatedKey = {**described(key, account), "secret": secret, "replaces": replaced}
        return answers.json(rotated, 201)

    async def revoke(self, request: Request, principal: Principal | None) -> Response:
        """Ends a key. One that was revoked before stays as it is, and the answer says so."""
        caller = _caller(principal)
        key, account = await self._key(request, caller)
        if key.revoked_at is not None:
            raise Conflict(f"The key {key.id} was revoked already, at {iso(key.revoked_at)}.")
        now = self._services.clock.now_ms()
        await self._services.store.directory.revoke_key(key.id, now, caller.bearer_id)
        return answers.json(described(msgspec.structs.replace(key, revoked_at=now), account))

    async def _add(self, key: Key, secret: str, caller: Principal) -> None:
        digest = self._services.keyring.digest(secret)
        await self._services.store.directory.add_key(key, digest, caller.bearer_id)

    async def _account(self, caller: Principal, name: str | None) -> Account:
        return await account_for(self._services.store.directory, caller, name)

    async def _key(self, request: Request, caller: Principal) -> tuple[Key, Account]:
        """The key that the path names; for an owner, another account's does not exist."""
        key = await self._services.store.directory.key(request.path_params["id"])
        if key is None or (key.account_id != caller.account_id and "operator" not in caller.scopes):
            raise NotFound("There is no such key.")
        return key, await find_account(self._services.store.directory, key.account_id)

    def _models(self, caller: Principal, wanted: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for model in wanted or ():
            if model not in self._services.config.models:
                hint = nearest(model, self._services.config.models)
                raise InvalidRequest(f"There is no model of that name{hint}", param="models")
            if caller.models is not None and model not in caller.models:
                raise InsufficientScope("A key cannot mint one for models that it may not use itself.")
        if wanted is not None and not wanted:
            raise InvalidRequest("'models' names none: leave it out to allow all.", param="models")
        return _narrower(caller.models, wanted)


def described(key: Key, account: Account) -> ShownKey:
    """A key as it is shown: never its secret."""
    return {
        "id": key.id,
        "object": "key",
        "name": key.name,
        "hint": key.hint,
        "account": account.name,
        "scopes": key.scopes,
        "models": key.models,
        "cap_usd": None if key.cap is None else usd(key.cap),
        "created_at": iso(key.created_at),
        "expires_at": _iso(key.expires_at),
        "revoked_at": _iso(key.revoked_at),
        "last_used_at": _iso(key.last_used_at),
    }


def _caller(principal: Principal | None) -> Principal:
    if principal is None:  # the gate let somebody in whom it did not name
        raise InsufficientScope("This needs a key.")
    return principal


def _expiry(text: str | None, now: int) -> int | None:
    if text is None:
        return None
    at = instant(text, now, "expires")
    if at <= now:
        raise InvalidRequest("Invalid value for 'expires': it is in the past.", param="expires")
    return at


def _tighter(bound: Any, wanted: Any) -> Any:
    """The smaller of two limits, where None is no limit."""
    return wanted if bound is None else bound if wanted is None else min(bound, wanted)


def _narrower(bound: frozenset[str] | None, wanted: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if bound is None:
        return wanted
    return tuple(sorted(bound if wanted is None else bound.intersection(wanted)))


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso(at_ms)
