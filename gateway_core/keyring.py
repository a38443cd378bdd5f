"""The home's secrets: made on first use, kept in files that only their owner reads."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from functools import cached_property

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from gateway_core.errors import ConfigError
from gateway_core.files import write_atomic
from gateway_core.home import Home
from gateway_core.key_text import is_key_text, new_key_text


class Keyring:
    """Pepper, signing key and operator's credential of one home. Reads or makes each when it is first asked for."""

    def __init__(self, home: Home) -> None:
        self._directory = home.path

    @cached_property
    def pepper(self) -> bytes:
        """32 bytes that every stored digest depends on, so that a stolen store alone verifies nothing."""
        pepper = self._read_or_make("pepper", lambda: secrets.token_bytes(32))
        if len(pepper) != 32:
            raise self._damaged("pepper", "it must be 32 bytes")
        return pepper

    @cached_property
    def signing_key(self) -> Ed25519PrivateKey:
        """What this instance signs bearers and record heads with."""
        pem = self._read_or_make("signing.key", _new_signing_key)
        try:
            key = load_pem_private_key(pem, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise self._damaged("signing.key", "it must be an unencrypted Ed25519 key in PEM") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise self._damaged("signing.key", "it must be an Ed25519 key")
        return key

    @cached_property
    def operator_key(self) -> str:
        """The operator's credential, a bearer like a user key."""
        text = self._read_or_make("operator.key", lambda: new_key_text().encode() + b"\n").decode("ascii", "replace")
        text = text.strip()
        if not is_key_text(text):
            raise self._damaged("operator.key", "its checksum is wrong")
        return text

    @cached_property
    def fingerprint(self) -> bytes:
        """Tells whether a store belongs to this keyring, and nothing about the pepper."""
        return self.digest("fingerprint")

    def digest(self, secret: str) -> bytes:
        """The keyed hash under which a secret is stored: HMAC-SHA256 with the pepper."""
        return hmac.digest(self.pepper, secret.encode(), hashlib.sha256)

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose alone: a key that no other purpose has, and that the pepper cannot be told from."""
        return HKDF(SHA256(), 32, salt=None, info=purpose.encode()).derive(self.pepper)

    def _read_or_make(self, name: str, make: Callable[[], bytes]) -> bytes:
        path = self._directory / name
        try:
            return path.read_bytes()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ConfigError(f"cannot be read: {(error.strerror or '').lower()}", where=str(path)) from None
        data = make()
        try:
            write_atomic(path, data)
        except OSError as error:
            raise ConfigError(f"cannot be written: {(error.strerror or '').lower()}", where=str(path)) from None
        return data

    def _damaged(self, name: str, why: str) -> ConfigError:
        return ConfigError(f"is damaged ({why}); restore it from a backup", where=str(self._directory / name))


def _new_signing_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
