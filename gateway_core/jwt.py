"""Bearers that are JWTs: Ed25519 and nothing else, read strictly, verified only with keys that were registered.

A token names its issuer, and nothing else in it decides where a key comes from: `kid` is looked up among the issuer's
keys, and what could name an address (`jku`, `x5u`, …) makes it malformed. The header's `typ` is the purpose, so that
what was signed for one purpose is good for no other.
"""

import base64
import binascii
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import msgspec

from gateway_core.errors import InvalidBearer, InvalidJwtSignature

if TYPE_CHECKING:
    from gateway_core.eddsa import Key

Purpose = Literal["inference", "records"]
"""inference: calls to models; records: reading or writing audit records."""

LONGEST_LIFE = 3600
"""Seconds that a token may live."""
SKEW = 60
"""Seconds that two clocks may differ."""
MOST_KEYS = 16

_ALGORITHM = "EdDSA"
_CURVE = "Ed25519"
_TYPES: Mapping[Purpose, str] = {"inference": "inference+jwt", "records": "records+jwt"}
_PURPOSES: Mapping[str, Purpose] = {typ: purpose for purpose, typ in _TYPES.items()}
_HEADER = frozenset({"alg", "typ", "kid"})
_INSTANCE = re.compile(r"inst_[A-Za-z0-9_-]{43}", re.ASCII)
_JTI = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
_KID = re.compile(r"[\x21-\x7e]{1,256}", re.ASCII)
_PEM = "-----BEGIN "


class Unverified(msgspec.Struct, frozen=True):
    """What a token says, before anything of it is believed."""

    token: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    #: An instance id by its form.
    issuer: str


class Claims(msgspec.Struct, frozen=True):
    """What a verified token says."""

    issuer: str
    purpose: Purpose
    scopes: frozenset[str]
    jti: str | None
    #: Milliseconds; until then it is accepted, skew included.
    expires_at: int


# ---------------------------------------------------------------- read


def looks_like_jwt(bearer: str) -> bool:
    """Whether a bearer has a JWT's form: three parts, of which the first begins a JSON object."""
    return bearer.startswith("eyJ") and bearer.count(".") == 2


def is_instance_id(text: str) -> bool:
    """Whether a text has the form of an instance's id."""
    return _INSTANCE.fullmatch(text) is not None


def is_jti(text: str) -> bool:
    """Whether a text can be a token's own id."""
    return _JTI.fullmatch(text) is not None


def read(token: str) -> Unverified:
    """Takes a token apart. Raises InvalidBearer for one that is malformed, ambiguous, or names no instance."""
    try:
        header, claims = (_object(_decoded(part)) for part in token.split(".")[:2])
    except (ValueError, TypeError, RecursionError):
        raise InvalidBearer from None
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or not is_instance_id(issuer):
        raise InvalidBearer
    return Unverified(token, header, claims, issuer)


def _decoded(part: str) -> bytes:
    """One part's bytes. Raises ValueError where it is not the one way to write them."""
    try:
        data = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != part:
        raise ValueError("not base64url as it is written")
    return data


def _object(data: bytes) -> dict[str, Any]:
    value = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError("a name is there twice")
        found[name] = value
    return found


def _no_constant(_text: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


# ---------------------------------------------------------------- verify


def key_id(unverified: Unverified) -> str | None:
    """The key that a token says it was signed with, to be looked up among its issuer's; None where it says none."""
    kid = unverified.header.get("kid")
    return kid if isinstance(kid, str) else None


def verify_signature(unverified: Unverified, keys: "Mapping[str, Key]") -> None:
    """Raises InvalidJwtSignature unless one of the issuer's keys signed it, by the only algorithm there is."""
    header = unverified.header
    if header.get("alg") != _ALGORITHM or not header.keys() <= _HEADER:
        raise InvalidJwtSignature
    if "kid" in header:
        named = keys.get(key_id(unverified) or "")
        candidates = [] if named is None else [named]
    else:
        candidates = list(keys.values())
    from gateway_core import eddsa  # loads the library: only where there is a token

    if not any(eddsa.signed_by(unverified.token, key) for key in candidates):
        raise InvalidJwtSignature


def check_claims(unverified: Unverified, audiences: Collection[str], now_ms: int) -> Claims:
    """What a token whose signature verified is good for now. Raises InvalidBearer where that is nothing.

    `audiences` is what this instance answers to, addresses without a slash at the end.
    """
    claims = unverified.claims
    purpose = _PURPOSES.get(str(unverified.header.get("typ")))
    audience, scope, jti = claims.get("aud"), claims.get("scope"), claims.get("jti")
    if (
        purpose is None
        or claims.get("sub") != unverified.issuer
        or not isinstance(audience, str)
        or audience.rstrip("/") not in audiences
        or not isinstance(scope, str)
        or not (jti is None or (isinstance(jti, str) and is_jti(jti)))
    ):
        raise InvalidBearer
    return Claims(unverified.issuer, purpose, frozenset(scope.split()), jti, _end(claims, now_ms))


def _end(claims: Mapping[str, Any], now_ms: int) -> int:
    """When it ends. Raises InvalidBearer where it has ended, has not begun, or would live too long."""
    now = now_ms / 1000
    expires, issued, begins = claims.get("exp"), claims.get("iat"), claims.get("nbf")
    for instant in (expires, issued, begins):
        if instant is not None and (type(instant) is not int or not 0 <= instant < 1 << 40):
            raise InvalidBearer
    if expires is None or not now - SKEW < expires <= now + LONGEST_LIFE + SKEW:
        raise InvalidBearer
    if issued is not None and (issued > now + SKEW or expires - issued > LONGEST_LIFE):
        raise InvalidBearer
    if begins is not None and begins > now + SKEW:
        raise InvalidBearer
    return int((expires + SKEW) * 1000)


# ---------------------------------------------------------------- sign


def sign(
    key: "Key", *, issuer: str, purpose: Purpose, audience: str, scope: str, jti: str, now_ms: int, seconds: int
) -> str:
    """A token of an instance about itself."""
    now = now_ms // 1000
    claims = {
        "iss": issuer,
        "sub": issuer,
        "aud": audience,
        "scope": scope,
        "iat": now,
        "exp": now + min(seconds, LONGEST_LIFE),
        "jti": jti,
    }
    from gateway_core import eddsa  # loads the library: only where there is a token

    return eddsa.sign({"typ": _TYPES[purpose], "kid": key.thumbprint()}, msgspec.json.encode(claims), key)


# ---------------------------------------------------------------- keys


def instance_id(key: "Key") -> str:
    """The id of an instance whose first key this is: `inst_` and the thumbprint of RFC 7638."""
    return f"inst_{key.thumbprint()}"


def new_key() -> "Key":
    """A new private key."""
    from gateway_core import eddsa  # loads the library: only where there is a key

    return eddsa.generate()


def read_private_key(pem: str) -> "Key":
    """A private key from PEM. Raises ValueError."""
    from gateway_core import eddsa  # loads the library: only where there is a key

    try:
        key = eddsa.import_pem(pem)
    except ValueError:
        key = None
    if key is None or not key.is_private:
        raise ValueError("it must be an unencrypted Ed25519 key in PEM")
    return key


def public_jwk(key: "Key") -> dict[str, str]:
    """A key as others may see it."""
    shown = key.as_dict(private=False)
    return {"kty": "OKP", "crv": _CURVE, "x": str(shown["x"]), "kid": key.thumbprint(), "use": "sig", "alg": _ALGORITHM}


def read_key_set(text: str) -> "dict[str, Key]":
    """The Ed25519 keys of a JWK Set, of one JWK, or of one PEM: key id → key.

    Raises ValueError, which says what is wrong, for anything else and for private keys. Keys of other kinds in a set
    are passed over.
    """
    if text.lstrip().startswith(_PEM):
        return _of_pem(text)
    try:
        value = _object(text.encode())
    except (ValueError, TypeError, RecursionError):
        raise ValueError("it must be a public key in PEM, a JWK or a JWK Set") from None
    entries = value.get("keys", [value])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("its `keys` must be a list of keys")
    if len(entries) > MOST_KEYS:
        raise ValueError(f"it has more than {MOST_KEYS} keys")
    found: dict[str, Key] = {}
    for entry in entries:
        if "d" in entry:
            raise ValueError("it holds a private key: keep that to yourself, and give the public one")
        if entry.get("kty") == "OKP" and entry.get("crv") == _CURVE and entry.get("use", "sig") == "sig":
            key = _of_jwk(entry)
            kid = entry.get("kid", key.thumbprint())
            if not isinstance(kid, str) or not _KID.fullmatch(kid) or kid in found:
                raise ValueError("each key needs a `kid` of its own, a text of at most 256 characters")
            found[kid] = key
    if not found:
        raise ValueError("it has no Ed25519 key")
    return found


def issuer_of(text: str) -> str | None:
    """The instance that a JWK Set says its keys are of, as ours say; None where it says nothing."""
    try:
        issuer = _object(text.encode()).get("issuer")
    except (ValueError, TypeError, RecursionError):
        return None
    return issuer if isinstance(issuer, str) and is_instance_id(issuer) else None


def key_set_text(keys: "Mapping[str, Key]") -> str:
    """Keys as the text of a JWK Set, the same for the same keys."""
    entries = [{**public_jwk(key), "kid": kid} for kid, key in keys.items()]
    return json.dumps({"keys": entries}, separators=(",", ":"), sort_keys=True)


def _of_pem(text: str) -> "dict[str, Key]":
    if "PRIVATE KEY" in text:
        raise ValueError("it is a private key: keep that to yourself, and give the public one")
    from gateway_core import eddsa  # loads the library: only where there is a key

    try:
        key = eddsa.import_pem(text.strip())
    except ValueError:
        raise ValueError("it must be an Ed25519 public key in PEM") from None
    return {key.thumbprint(): key}


def _of_jwk(entry: Mapping[str, Any]) -> "Key":
    from gateway_core import eddsa  # loads the library: only where there is a key

    try:
        return eddsa.import_jwk(entry.get("x"))
    except ValueError:
        raise ValueError("it has an Ed25519 key that is none") from None
