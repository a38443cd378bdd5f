"""User keys: minting them, and telling by one who calls.

The operator's own credential is written like a user key and verified here, too. It acts on the account `local`, so
a call to a model with it is a call of that account's.
"""

import hmac
from collections.abc import Iterable

from gateway_core.errors import AccountSuspended, ConfigError, Conflict, InvalidBearer
from gateway_core.hookspecs import hookimpl, lasting
from gateway_core.ids import new_id
from gateway_core.key_text import PREFIX, hint, is_key_text, key_id, new_key_text
from gateway_core.money import Units
from gateway_core.ports import Clock
from gateway_core.services import Services
from gateway_core.store_ports import Directory
from gateway_core.types import Account, Credentials, Key, Principal, Scope

LOCAL_ACCOUNT = "local"
"""The account of the instance itself: of its operator, and of the key that the first start prints."""

OPERATOR_BEARER_ID = "key_operator"

_IMPLIED: dict[Scope, frozenset[Scope]] = {
    "inference": frozenset({"inference"}),
    "owner": frozenset({"owner", "inference"}),
    "operator": frozenset({"operator", "owner", "inference"}),
    "records:read": frozenset({"records:read"}),
    "records:write": frozenset({"records:write"}),
}

_CACHED_BEARERS = 65_536
_TOUCH_MS = 60_000


def with_implied(scopes: Iterable[Scope]) -> frozenset[Scope]:
    """The scopes and what they include: an owner may call models, an operator may do what an owner may."""
    return frozenset().union(*(_IMPLIED[scope] for scope in scopes))


def mint(
    account_id: str,
    name: str,
    *,
    now_ms: int,
    scopes: Iterable[Scope] = ("inference",),
    models: Iterable[str] | None = None,
    cap: Units | None = None,
    expires_at: int | None = None,
) -> tuple[Key, str]:
    """A new key and its secret, which exists nowhere else. Store it with `add_key(key, keyring.digest(secret), …)`."""
    secret = new_key_text()
    key = Key(
        id=key_id(secret),
        account_id=account_id,
        name=name,
        scopes=tuple(sorted(with_implied(scopes))),
        created_at=now_ms,
        hint=hint(secret),
        models=None if models is None else tuple(sorted(set(models))),
        cap=cap,
        expires_at=expires_at,
    )
    return key, secret


async def local_account(directory: Directory, now_ms: int) -> Account:
    """The account `local`, made where it is not there yet."""
    account = await directory.account_named(LOCAL_ACCOUNT)
    if account is None:
        try:
            account = Account(id=new_id("acct_"), name=LOCAL_ACCOUNT, created_at=now_ms)
            await directory.create_account(account, "system")
        except Conflict:
            return await local_account(directory, now_ms)
    return account


class _Verified:
    """A bearer that was looked up, good while the directory counts what it counted then."""

    __slots__ = ("expires_at", "generation", "principal", "touched_at")

    def __init__(self, principal: Principal, generation: int) -> None:
        self.principal = principal
        self.generation = generation
        self.expires_at = principal.expires_at if principal.expires_at is not None else 1 << 62
        self.touched_at = 0


class UserKeysPlugin:
    """Authenticates bearers that begin with `sk-`: user keys of this instance's accounts, and the operator's own."""

    API = 1

    def __init__(self) -> None:
        self._cache: dict[bytes, _Verified] = {}

    @hookimpl
    async def startup(self, services: Services) -> None:
        """Takes what it verifies with, and makes sure that the store's keys were made with this home's pepper."""
        self._keyring = services.keyring
        self._directory = services.store.directory
        self._clock: Clock = services.clock
        self._stand_ins = services.stand_ins
        self._operator_digest = services.keyring.digest(services.keyring.operator_key)
        known = await services.store.get_state("keyring")
        if known is None:
            await services.store.put_state("keyring", services.keyring.fingerprint)
        elif known != services.keyring.fingerprint:
            raise ConfigError(
                "is not the one that the keys in this store were made with, so none of them would work; "
                "restore it from the backup that the store came from",
                where=str(services.home / "pepper"),
            )

    @hookimpl
    @lasting
    async def authenticate(self, credentials: Credentials) -> Principal | None:
        """The key's account and scopes. InvalidBearer for one that is malformed, unknown, revoked or expired."""
        bearer = credentials.bearer
        if bearer is None or not bearer.startswith(PREFIX):
            return None
        slot = credentials.slot
        now = self._clock.now_ms()
        verified = self._cache.pop(slot, None)
        if verified is None or verified.generation != self._directory.generation or verified.expires_at <= now:
            verified = await self._verify(bearer, now)
            if len(self._cache) >= _CACHED_BEARERS:
                del self._cache[next(iter(self._cache))]
        self._cache[slot] = verified
        if now - verified.touched_at >= _TOUCH_MS:
            verified.touched_at = now
            self._touch(verified.principal, now)
        return verified.principal

    async def _verify(self, bearer: str, now: int) -> _Verified:
        # Read before the look-up: a change in between makes the answer stale, never too fresh.
        generation = self._directory.generation
        if is_key_text(bearer):
            digest = self._keyring.digest(bearer)
            key = await self._directory.key_by_digest(digest)
            operator = hmac.compare_digest(digest, self._operator_digest)
        elif (bearer_id := self._stand_ins.bearer_id(bearer)) is not None:
            key = await self._directory.key(bearer_id)
            operator = bearer_id == OPERATOR_BEARER_ID
        else:
            raise InvalidBearer
        if operator:
            return _Verified(await self._operator(now), generation)
        if key is None or _is_over(key.revoked_at, now) or _is_over(key.expires_at, now):
            raise InvalidBearer
        account = await self._directory.account(key.account_id)
        if account is None:
            raise InvalidBearer
        if account.suspended:
            raise AccountSuspended("This account is suspended; ask its operator.")
        return _Verified(_principal(key), generation)

    async def _operator(self, now: int) -> Principal:
        account = await local_account(self._directory, now)
        return Principal(
            account_id=account.id,
            kind="operator",
            bearer_id=OPERATOR_BEARER_ID,
            scopes=with_implied(("operator",)),
        )

    def _touch(self, principal: Principal, now: int) -> None:
        if principal.kind == "user_key":
            self._directory.touch_key(principal.bearer_id, now)


def _is_over(instant: int | None, now: int) -> bool:
    return instant is not None and instant <= now


def _principal(key: Key) -> Principal:
    ends = [instant for instant in (key.expires_at, key.revoked_at) if instant is not None]
    return Principal(
        account_id=key.account_id,
        kind="user_key",
        bearer_id=key.id,
        scopes=with_implied(key.scopes),
        models=None if key.models is None else frozenset(key.models),
        cap=key.cap,
        expires_at=min(ends, default=None),
    )
