"""Signed heads: where a chain ends, said by the instance that keeps it. Who holds one can prove what there was."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from gateway_core import jwt
from gateway_core.errors import GatewayError

if TYPE_CHECKING:
    from gateway_core.eddsa import Key

TYPE = "head+jwt"
"""A `typ` of its own: a head is good for nothing that a bearer is good for."""


class SignedHead(msgspec.Struct, frozen=True):
    """What a signed head says: `issuer` had `account`'s chain ending in `sequence` with `hash` (hex) at `issued_at`."""

    issuer: str
    account: str
    sequence: int
    hash: str
    #: Seconds since the epoch.
    issued_at: int


def sign(key: "Key", head: SignedHead) -> str:
    """The head as a signed token."""
    from gateway_core import eddsa

    claims = {
        "iss": head.issuer,
        "account": head.account,
        "sequence": head.sequence,
        "hash": head.hash,
        "iat": head.issued_at,
    }
    return eddsa.sign({"typ": TYPE, "kid": key.thumbprint()}, msgspec.json.encode(claims), key)


def key_id(token: str) -> str | None:
    """The id of the key that a head says it is signed with. Raises ValueError where it is none."""
    return jwt.key_id(_read(token))


def verify(token: str, keys: "Mapping[str, Key]") -> SignedHead:
    """What the head says. Raises ValueError unless one of the keys signed it."""
    unverified = _read(token)
    try:
        jwt.verify_signature(unverified, keys)
    except GatewayError:
        raise ValueError("its signature does not verify") from None
    claims = unverified.claims
    try:
        return msgspec.convert(
            {**claims, "issuer": unverified.issuer, "issued_at": claims.get("iat")}, SignedHead, strict=True
        )
    except msgspec.ValidationError:
        raise ValueError("it is no signed head") from None


def _read(token: str) -> jwt.Unverified:
    try:
        unverified = jwt.read(token)
    except GatewayError:
        raise ValueError("it is no signed head") from None
    if unverified.header.get("typ") != TYPE:
        raise ValueError("it is no signed head")
    return unverified
