"""What providers must be told again in a later call, and no standard client gives back: signed thinking, thought
signatures. Kept by the account and a key such as a tool call's id, for hours; sealed in the store, bounded everywhere.

In front of the store is a small memory of this process, so that the loop of one tool call after another reads no disk.
Several nodes may share a store: what one of them does not know it reads there.
"""

import hashlib
import hmac
import logging
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway_core.config import MemoryConfig
from gateway_core.errors import StoreError
from gateway_core.keyring import Keyring
from gateway_core.ports import Clock
from gateway_core.store_ports import MemoryBounds, MemoryEntry, Store

log = logging.getLogger(__name__)

MOST_KEYS = 1000
"""Keys that one call recalls, the last ones: a conversation's beginning needs nothing of this."""
MOST_RECALLED = 8 * 1024 * 1024
"""Bytes that one call recalls from the store: more than any model's context holds."""

_NONCE = 12
_HOUR_MS = 3_600_000
_ROW = 256
"""Bytes that an entry costs besides its own, in this process as on disk."""


class MemorySeal:
    """Seals entries with keys that come from the home's secrets, each for this one purpose."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    @cached_property
    def _digests(self) -> bytes:
        return self._keyring.derive("memory: digests")

    @cached_property
    def _cipher(self) -> AESGCM:
        return AESGCM(self._keyring.derive("memory: entries"))

    def digest(self, account_id: str, key: str) -> bytes:
        """What stands for a key of an account."""
        return hmac.digest(self._digests, f"{account_id}\0{key}".encode(errors="surrogatepass"), hashlib.sha256)

    def seal(self, account_id: str, digest: bytes, expires_at: int, value: bytes) -> MemoryEntry:
        """The entry, bound to its account, its key and its end."""
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._cipher.encrypt(nonce, value, _bound_to(account_id, digest, expires_at))
        return MemoryEntry(digest, expires_at, nonce + sealed)

    def open(self, account_id: str, entry: MemoryEntry) -> bytes | None:
        """What was kept; None where it was not sealed for that place here."""
        nonce, sealed = entry.sealed[:_NONCE], entry.sealed[_NONCE:]
        try:
            return self._cipher.decrypt(nonce, sealed, _bound_to(account_id, entry.key, entry.expires_at))
        except (InvalidTag, ValueError):
            log.warning("%s: an entry of the memory cannot be opened: it was changed, or sealed elsewhere", account_id)
            return None


class ProviderMemory:
    """`ports.Memory`: the same for all providers of one gateway."""

    def __init__(self, store: Store, seal: MemorySeal, config: MemoryConfig, clock: Clock) -> None:
        self._store = store
        self._seal = seal
        self._config = config
        self._bounds = MemoryBounds(config.max_entries, config.max_bytes, config.max_total_bytes)
        self._clock = clock
        self._recent = Recent(config.cache_bytes)

    async def keep(self, account_id: str, entries: Mapping[str, bytes]) -> None:
        """Keeps those that are not too large. Where the store cannot be written they are known in this process only:
        an entry that is lost is no error. For nobody nothing is kept: it would be everybody's."""
        if not account_id:
            return
        expires_at = self._clock.now_ms() + round(self._config.hours * _HOUR_MS)
        sealed: list[MemoryEntry] = []
        for key, value in entries.items():
            digest = self._seal.digest(account_id, key)
            if len(value) > self._config.max_entry_bytes:
                log.warning("%s: an entry of %d bytes is too large for the memory", account_id, len(value))
                self._recent.forget(digest)
                continue
            self._recent.put(digest, value, expires_at)
            sealed.append(self._seal.seal(account_id, digest, expires_at, value))
        if not sealed:
            return
        try:
            await self._store.memories.keep(account_id, sealed, self._bounds)
        except StoreError as error:
            log.warning("the memory is not on disk: %s", error)

    async def recall(self, account_id: str, keys: Sequence[str]) -> dict[str, bytes]:
        """Those that are kept: from this process, else from the store."""
        if not account_id:
            return {}
        now = self._clock.now_ms()
        names = {self._seal.digest(account_id, key): key for key in keys[-MOST_KEYS:]}
        found: dict[str, bytes] = {}
        missing: list[bytes] = []
        for digest, key in names.items():
            value = self._recent.get(digest, now)
            if value is None:
                missing.append(digest)
            else:
                found[key] = value
        for entry in await self._stored(account_id, missing, now):
            value = self._seal.open(account_id, entry)
            if value is not None:
                self._recent.put(entry.key, value, entry.expires_at)
                found[names[entry.key]] = value
        return found

    async def _stored(self, account_id: str, digests: Sequence[bytes], now: int) -> Iterable[MemoryEntry]:
        if not digests:
            return ()
        try:
            return await self._store.memories.recall(account_id, digests, now, MOST_RECALLED)
        except StoreError as error:
            log.warning("the memory cannot be read: %s", error)
            return ()


class Recent:
    """The entries used last, by digest, within a number of bytes."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._size = 0
        self._entries: OrderedDict[bytes, tuple[bytes, int]] = OrderedDict()

    def put(self, digest: bytes, value: bytes, expires_at: int) -> None:
        """Replaces it; what was used least lately gives way."""
        self.forget(digest)
        self._entries[digest] = (value, expires_at)
        self._size += len(value) + _ROW
        while self._size > self._most:
            self.forget(next(iter(self._entries)))

    def get(self, digest: bytes, now: int) -> bytes | None:
        """Its value until it ends."""
        value, expires_at = self._entries.get(digest, (b"", 0))
        if expires_at <= now:
            self.forget(digest)
            return None
        self._entries.move_to_end(digest)
        return value

    def forget(self, digest: bytes) -> None:
        """Removes it where it is there."""
        if digest in self._entries:
            self._size -= len(self._entries.pop(digest)[0]) + _ROW


def _bound_to(account_id: str, digest: bytes, expires_at: int) -> bytes:
    return f"{account_id}\0{digest.hex()}\0{expires_at}".encode()
