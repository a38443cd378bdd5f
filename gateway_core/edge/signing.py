"""What this instance signs with: its published keys, their rotation, and bearers of its own for elsewhere."""

from typing import Any, Literal, TypedDict

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway_core import jwt
from gateway_core.clock import iso
from gateway_core.config import Table
from gateway_core.config_checks import OWN_BEARERS, is_http_url
from gateway_core.edge import answers
from gateway_core.edge.access import actor_of
from gateway_core.edge.bodies import decoded
from gateway_core.edge.host import Host
from gateway_core.errors import Conflict, InvalidRequest
from gateway_core.ports import Endpoint, Shape
from gateway_core.signing import USUAL_LIFE, SigningKey
from gateway_core.store_ports import LogEntry
from gateway_core.types import Principal

PUBLISHED_BEFORE = 120
"""Seconds that a new key is published before it signs: longer than anybody waits before he fetches a set again."""
_LONGEST_WAIT = 7 * 86_400
_CACHED = "public, max-age=30"


class SigningRotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a rotation: seconds until the new key signs."""

    after_seconds: int = PUBLISHED_BEFORE


class Minting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a minting: for which gateway, for how long, to do what."""

    audience: str
    ttl_seconds: int = USUAL_LIFE
    purpose: jwt.Purpose = "inference"


class KeySet(TypedDict):
    """A JWK Set (RFC 7517), and whose it is."""

    keys: list[dict[str, Any]]
    issuer: str


class ShownSigningKey(TypedDict):
    """A key that is published: since when it signs, and until when it is."""

    kid: str
    signs: bool
    since: str | None
    until: str | None
    jwk: dict[str, Any]


class SigningKeys(TypedDict):
    """This instance's id, the gateways that know it by that, and its keys."""

    object: Literal["signing_keys"]
    instance: str
    gateways: list[Any]
    keys: list[ShownSigningKey]


class ShownToken(TypedDict):
    """A bearer of this instance's, in this answer only."""

    object: Literal["token"]
    token: str
    issuer: str
    audience: str
    scope: str
    jti: str
    expires_at: str


class SigningEndpoints:
    """Handlers for the instance's own keys and bearers."""

    def __init__(self, host: Host) -> None:
        self._services = host.services

    def endpoints(self) -> list[Endpoint]:
        """All of them."""
        keys = "/v1/admin/signing-keys"
        return [
            Endpoint(
                "GET",
                "/.well-known/jwks.json",
                "public",
                self.jwks,
                "The public keys of this instance's bearers.",
                Shape(answer=KeySet),
            ),
            Endpoint(
                "GET",
                keys,
                "operator",
                self.index,
                "This instance's id, and the keys that it signs with.",
                Shape(answer=SigningKeys),
            ),
            Endpoint(
                "POST",
                keys,
                "operator",
                self.rotate,
                "A new signing key; the old one overlaps.",
                Shape(body=SigningRotation, answer=SigningKeys, statuses=(201,), errors=(Conflict,)),
            ),
            Endpoint(
                "POST",
                "/v1/admin/tokens",
                "operator",
                self.mint,
                "A bearer of this instance for another gateway.",
                Shape(body=Minting, answer=ShownToken, statuses=(201,)),
            ),
        ]

    async def jwks(self, _request: Request, _principal: Principal | None) -> Response:
        """A JWK Set. It is public, so it may be kept for a moment."""
        return answers.json(self._services.signer.jwks(), headers={"cache-control": _CACHED})

    async def index(self, _request: Request, _principal: Principal | None) -> Response:
        """The id, which others register, and each published key with its times."""
        return answers.json(self._described())

    async def rotate(self, request: Request, principal: Principal | None) -> Response:
        """A new key: published now, signing after a while."""
        body = await decoded(request, SigningRotation)
        if not 0 <= body.after_seconds <= _LONGEST_WAIT:
            raise InvalidRequest(f"'after_seconds' must be 0 to {_LONGEST_WAIT}.", param="after_seconds")
        key = self._services.signer.rotate(body.after_seconds * 1000)
        await self._log(principal, "signing_key.rotate", key.kid, {"since": key.since})
        return answers.json(self._described(), 201)

    async def mint(self, request: Request, principal: Principal | None) -> Response:
        """A bearer of this instance's, in this answer only."""
        body = await decoded(request, Minting)
        if not is_http_url(body.audience):
            raise InvalidRequest("'audience' must be the address of the gateway that it is for.", param="audience")
        if not 1 <= body.ttl_seconds <= jwt.LONGEST_LIFE:
            raise InvalidRequest(f"'ttl_seconds' must be 1 to {jwt.LONGEST_LIFE}.", param="ttl_seconds")
        audience = body.audience.rstrip("/").removesuffix("/v1")
        scope = "inference" if body.purpose == "inference" else "records:read"
        token = self._services.signer.mint(body.purpose, audience, scope, body.ttl_seconds)
        claims = jwt.read(token).claims
        shown: ShownToken = {
            "object": "token",
            "token": token,
            "issuer": claims["iss"],
            "audience": claims["aud"],
            "scope": claims["scope"],
            "jti": claims["jti"],
            "expires_at": iso(claims["exp"] * 1000),
        }
        detail = {"audience": shown["audience"], "scope": shown["scope"], "expires_at": shown["expires_at"]}
        await self._log(principal, "token.mint", shown["jti"], detail)
        return answers.json(shown, 201)

    async def _log(self, principal: Principal | None, action: str, subject: str, detail: dict[str, Any]) -> None:
        entry = LogEntry(self._services.clock.now_ms(), actor_of(principal), action, subject, detail)
        await self._services.store.directory.log(entry)

    def _described(self) -> SigningKeys:
        signer = self._services.signer
        current = signer.current().kid
        providers = self._services.config.providers.values()
        return {
            "object": "signing_keys",
            "instance": signer.instance_id,
            "gateways": [_audience(table) for table in providers if table.get("api_key") == OWN_BEARERS],
            "keys": [_key(key, current) for key in signer.published()],
        }


def _audience(provider: Table) -> Any:
    """The address that a gateway knows itself by."""
    return provider.get("audience", provider.get("base_url"))


def _key(key: SigningKey, current: str) -> ShownSigningKey:
    return {
        "kid": key.kid,
        "signs": key.kid == current,
        "since": None if key.since == 0 else iso(key.since),
        "until": None if key.until is None else iso(key.until),
        "jwk": jwt.public_jwk(key.key),
    }
