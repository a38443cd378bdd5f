"""The one module that imports joserfc: Ed25519 keys, and tokens signed with them by EdDSA and nothing else.

Importing it takes 40 ms, so it is imported where the first key or token is met, and not at the start of a process.
"""

from collections.abc import Mapping
from typing import Any, Literal

from joserfc.errors import JoseError
from joserfc.jwk import OKPKey as Key
from joserfc.jws import JWSRegistry, deserialize_compact, serialize_compact

__all__ = ["ALGORITHM", "CURVE", "Key", "generate", "import_jwk", "import_pem", "sign", "signed_by"]

ALGORITHM = "EdDSA"
CURVE: Literal["Ed25519"] = "Ed25519"


class _OnlyEdDSA(JWSRegistry):
    """The one algorithm, whatever a token says. RFC 9864 renames it, and the library warns of its older name."""

    def get_alg(self, name: str) -> Any:
        if name != ALGORITHM:
            raise JoseError("the algorithm is not EdDSA")
        return self.algorithms[ALGORITHM]


_REGISTRY = _OnlyEdDSA(algorithms=[ALGORITHM])


def signed_by(token: str, key: Key) -> bool:
    """Whether the key signed the token."""
    try:
        deserialize_compact(token, key, registry=_REGISTRY)
    except (JoseError, ValueError):
        return False
    return True


def sign(header: Mapping[str, Any], payload: bytes, key: Key) -> str:
    """A token in its compact form."""
    return serialize_compact({**header, "alg": ALGORITHM}, payload, key, registry=_REGISTRY)


def generate() -> Key:
    """A new private key."""
    return Key.generate_key(CURVE)


def import_pem(text: str) -> Key:
    """A key from PEM. Raises ValueError for anything else, and for keys on other curves."""
    try:
        key = Key.import_key(text)
    except (JoseError, ValueError, TypeError):
        raise ValueError("no key in PEM") from None
    if key.curve_name != CURVE:
        raise ValueError("a key on another curve")
    return key


def import_jwk(x: object) -> Key:
    """A public key from a JWK's `x`. Raises ValueError for anything else."""
    try:
        return Key.import_key({"kty": "OKP", "crv": CURVE, "x": str(x)})
    except (JoseError, ValueError, TypeError):
        raise ValueError("no Ed25519 key") from None
