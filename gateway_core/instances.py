"""Bearers of other instances: JWTs of registered issuers. The account is the registration's, whatever a claim says."""

from collections.abc import Mapping

from gateway_core import jwt
from gateway_core.errors import AccountSuspended, InvalidBearer
from gateway_core.hookspecs import hookimpl, lasting
from gateway_core.key_sets import KeySets
from gateway_core.services import Services
from gateway_core.types import Credentials, InstanceKind, Principal, Scope

_CACHED_BEARERS = 65_536

_MAY: Mapping[tuple[InstanceKind, jwt.Purpose], frozenset[Scope]] = {
    ("instance", "inference"): frozenset({"inference"}),
    ("self_host", "inference"): frozenset({"inference"}),
    ("instance", "records"): frozenset({"records:read"}),
    ("self_host", "records"): frozenset({"records:read"}),
    ("gateway", "records"): frozenset({"records:write"}),
}
"""The most that a bearer may ask for, by what its issuer is and what it was signed for. None of them mints."""


class _Verified:
    """A bearer that was verified, good until it ends or something changes."""

    __slots__ = ("expires_at", "generation", "principal")

    def __init__(self, principal: Principal, generation: tuple[int, int], expires_at: int) -> None:
        self.principal = principal
        self.generation = generation
        self.expires_at = expires_at


class InstanceBearersPlugin:
    """Authenticates bearers that are JWTs, by the keys of the instance that issued them."""

    API = 1

    def __init__(self) -> None:
        self._cache: dict[bytes, _Verified] = {}
        self._sets: KeySets | None = None

    @hookimpl
    async def startup(self, services: Services) -> None:
        """Takes what it verifies with."""
        self._directory = services.store.directory
        self._instances = services.store.instances
        self._clock = services.clock
        self._site = services.site
        self._signer = services.signer
        self._sets = KeySets(self._instances, services.outside, services.clock)
        for instance in await self._instances.page(limit=1):
            await self._sets.of(instance, None)  # whatever the first bearer would wait for is loaded now

    @hookimpl
    async def shutdown(self) -> None:
        """Ends fetches that run."""
        if self._sets is not None:
            await self._sets.close()

    @hookimpl
    @lasting
    async def authenticate(self, credentials: Credentials) -> Principal | None:
        """The issuer's account and what the bearer may do there. InvalidBearer, InvalidJwtSignature."""
        bearer = credentials.bearer
        if bearer is None or not jwt.looks_like_jwt(bearer):
            return None
        slot = credentials.slot
        now = self._clock.now_ms()
        verified = self._cache.pop(slot, None)
        if verified is None or verified.generation != self._generation() or verified.expires_at <= now:
            verified = await self._verify(bearer, now)
            if len(self._cache) >= _CACHED_BEARERS:
                del self._cache[next(iter(self._cache))]
        self._cache[slot] = verified
        return verified.principal

    def _generation(self) -> tuple[int, int]:
        return self._directory.generation, self._instances.generation

    async def _verify(self, bearer: str, now: int) -> _Verified:
        # Read before the look-up: a change in between makes the answer stale, never too fresh.
        generation = self._generation()
        unverified = jwt.read(bearer)
        instance = await self._instances.find(unverified.issuer)
        if instance is None or instance.revoked_at is not None or self._sets is None:
            raise InvalidBearer
        jwt.verify_signature(unverified, await self._sets.of(instance, jwt.key_id(unverified)))
        claims = jwt.check_claims(unverified, (self._site.url, self._signer.instance_id), now)
        scopes = _scopes(instance.kind, claims)
        if claims.jti is not None and await self._instances.is_revoked(instance.id, claims.jti):
            raise InvalidBearer
        account = await self._directory.account(instance.account_id)
        if account is None:
            raise InvalidBearer
        if account.suspended:
            raise AccountSuspended("This account is suspended; ask its operator.")
        principal = Principal(
            account_id=account.id,
            kind=instance.kind,
            bearer_id=instance.id,
            scopes=scopes,
            cap=instance.cap,
            expires_at=claims.expires_at,
        )
        return _Verified(principal, generation, claims.expires_at)


def _scopes(kind: InstanceKind, claims: jwt.Claims) -> frozenset[Scope]:
    """What the bearer asks for. Raises InvalidBearer where that is nothing, or more than it may have."""
    allowed = _MAY.get((kind, claims.purpose), frozenset())
    if not claims.scopes or not claims.scopes <= allowed:
        raise InvalidBearer
    return frozenset(scope for scope in allowed if scope in claims.scopes)
