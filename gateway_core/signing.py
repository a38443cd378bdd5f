"""What this instance signs with: its keys, their rotation without a refused bearer, and the bearers it mints.

The first key's thumbprint is the instance's id, for good. A new key is published before it signs, so that whoever
fetches the keys knows it in time, and an old one stays published until everything that it signed has run out.
"""

from typing import TYPE_CHECKING

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway_core import heads, jwt
from gateway_core.errors import ConfigError, Conflict
from gateway_core.files import write_atomic
from gateway_core.heads import SignedHead
from gateway_core.home import Home
from gateway_core.ids import new_id
from gateway_core.keyring import Keyring
from gateway_core.ports import Clock, KeySource

if TYPE_CHECKING:
    from gateway_core.eddsa import Key

OVERLAP_MS = 2 * 3_600_000
"""How long a key stays published after its successor began to sign: twice the longest life of a bearer."""
USUAL_LIFE = 600
"""Seconds that a bearer lives unless asked otherwise."""
RENEWED_BEFORE_MS = 120_000
"""A bearer that is used again and again is made anew when less than this is left of it."""


class SigningKey(msgspec.Struct, frozen=True):
    """One of the instance's keys: since when it signs and until when it is published, in milliseconds."""

    kid: str
    key: "Key"
    since: int = 0
    #: None: until another takes its place.
    until: int | None = None


class _Kept(msgspec.Struct, frozen=True):
    """One rotated key as the file has it."""

    pem: str
    since: int
    until: int | None


class _File(msgspec.Struct, frozen=True):
    """What `signing.json` holds: when the first key ends, which has a file of its own, and those that came after."""

    first_until: int | None = None
    keys: tuple[_Kept, ...] = ()


class Signer:
    """The signing keys of one home. Whoever changes them holds the home's lock."""

    def __init__(self, keyring: Keyring, home: Home, clock: Clock) -> None:
        self._keyring = keyring
        self._path = home.path / "signing.json"
        self._clock = clock
        self._known: list[SigningKey] | None = None

    @property
    def instance_id(self) -> str:
        """This instance's id: what its bearers have as issuer."""
        return f"inst_{self._keys()[0].kid}"

    def current(self) -> SigningKey:
        """The key that signs now."""
        now = self._clock.now_ms()
        return [key for key in self._keys() if key.since <= now][-1]

    def published(self) -> list[SigningKey]:
        """The keys that bearers of this instance may be signed with, now or soon."""
        now = self._clock.now_ms()
        return [key for key in self._keys() if key.until is None or key.until > now]

    def jwks(self) -> dict[str, object]:
        """The published keys as a JWK Set, with the id of the instance that they are of."""
        return {"keys": [jwt.public_jwk(key.key) for key in self.published()], "issuer": self.instance_id}

    def rotate(self, after_ms: int) -> SigningKey:
        """A new key, published at once; it signs when `after_ms` are over. Raises Conflict while one is waiting."""
        now = self._clock.now_ms()
        first, *others = self._keys()
        last = others[-1] if others else first
        if last.since > now:
            raise Conflict("A new key is published already and will sign soon: wait until it does.")
        begins = now + after_ms
        ended = msgspec.structs.replace(last, until=begins + OVERLAP_MS)
        first, others = (ended, []) if last is first else (first, [*others[:-1], ended])
        kept = [key for key in others if key.until is None or key.until > now]
        made = SigningKey("", jwt.new_key(), begins)
        rows = tuple(_Kept(each.key.as_pem(private=True).decode(), each.since, each.until) for each in [*kept, made])
        write_atomic(self._path, msgspec.json.encode(_File(first.until, rows)))
        self._known = None
        return self._keys()[-1]

    def mint(self, purpose: jwt.Purpose, audience: str, scope: str, seconds: int = USUAL_LIFE) -> str:
        """A bearer of this instance for `audience`, which lives an hour at most."""
        return jwt.sign(
            self.current().key,
            issuer=self.instance_id,
            purpose=purpose,
            audience=audience.rstrip("/"),
            scope=scope,
            jti=new_id("jti_"),
            now_ms=self._clock.now_ms(),
            seconds=seconds,
        )

    def sign_head(self, account_id: str, sequence: int, hash_: str) -> tuple[str, dict[str, str]]:
        """Where an account's chain ends, as a signed token, and the public key that verifies it."""
        key = self.current().key
        head = SignedHead(self.instance_id, account_id, sequence, hash_, self._clock.now_ms() // 1000)
        return heads.sign(key, head), jwt.public_jwk(key)

    def source(self, purpose: jwt.Purpose, audience: str, scope: str) -> KeySource:
        """Bearers for one audience: each call gives one that is good for minutes at least."""
        minted, signed_with, good_until = "", "", 0

        def fresh() -> str:
            nonlocal minted, signed_with, good_until
            now, kid = self._clock.now_ms(), self.current().kid
            lasts = good_until - USUAL_LIFE * 1000 <= now < good_until - RENEWED_BEFORE_MS
            if not lasts or kid != signed_with:
                minted, signed_with = self.mint(purpose, audience, scope), kid
                good_until = now + USUAL_LIFE * 1000
            return minted

        return fresh

    def _keys(self) -> list[SigningKey]:
        """The first, and those that are kept, in the order in which they sign."""
        if self._known is None:
            pem = self._keyring.signing_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            rotated = self._rotated()
            rows = [_Kept(pem.decode(), 0, rotated.first_until), *rotated.keys]
            try:
                keys = [(jwt.read_private_key(row.pem), row) for row in rows]
            except ValueError as error:
                raise self._damaged(str(error)) from None
            self._known = [SigningKey(key.thumbprint(), key, row.since, row.until) for key, row in keys]
        return self._known

    def _rotated(self) -> _File:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_File)
        except FileNotFoundError:
            return _File()
        except msgspec.MsgspecError:
            raise self._damaged("it must be what `spl instance rotate-key` wrote") from None
        except OSError as error:
            raise ConfigError(f"cannot be read: {(error.strerror or '').lower()}", where=str(self._path)) from None

    def _damaged(self, why: str) -> ConfigError:
        return ConfigError(f"is damaged ({why}); restore it from a backup", where=str(self._path))
