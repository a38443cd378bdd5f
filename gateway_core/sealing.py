"""Answers kept for Idempotency-Keys, as they lie on disk: names and bodies as keyed digests, the answer encrypted."""

import hashlib
import hmac
import logging
import secrets
import zlib
from functools import cached_property

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway_core.keyring import Keyring
from gateway_core.store_ports import AnswerPlace

log = logging.getLogger(__name__)

_NONCE = 12
_LEVEL = 1
"""Of compression: a stream's events repeat themselves, so the fastest makes them ten times smaller already."""
_PLAIN, _STREAM = b"p", b"s"


class Answer(msgspec.Struct, frozen=True):
    """A whole answer's body as the client got it: one object, or every event of a stream."""

    body: bytes
    stream: bool


class Seal:
    """Seals answers with keys that come from the home's secrets, each for this one purpose."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    @cached_property
    def _digests(self) -> bytes:
        return self._keyring.derive("idempotency: digests")

    @cached_property
    def _cipher(self) -> AESGCM:
        return AESGCM(self._keyring.derive("idempotency: answers"))

    def key_digest(self, key: str) -> str:
        """What stands for an Idempotency-Key: its text may say something about who chose it."""
        return hmac.digest(self._digests, b"key\0" + key.encode(), hashlib.sha256).hex()

    def body_digest(self, body: bytes) -> bytes:
        """What a key is bound to. Keyed, so that a stolen store does not confirm a guess of what was sent."""
        return hmac.digest(self._digests, b"body\0" + body, hashlib.sha256)

    def seal(self, place: AnswerPlace, answer: Answer) -> bytes:
        """The answer, bound to its place, its call and its account."""
        nonce = secrets.token_bytes(_NONCE)
        clear = (_STREAM if answer.stream else _PLAIN) + zlib.compress(answer.body, _LEVEL)
        return nonce + self._cipher.encrypt(nonce, clear, _bound_to(place))

    def open(self, place: AnswerPlace) -> Answer | None:
        """The answer that is kept in a place; None where there is none, or it was not sealed for that place here."""
        if place.answer is None:
            return None
        nonce, sealed = place.answer[:_NONCE], place.answer[_NONCE:]
        try:
            clear = self._cipher.decrypt(nonce, sealed, _bound_to(place))
        except (InvalidTag, ValueError):
            log.warning("%s: its kept answer cannot be opened: it was changed, or sealed elsewhere", place.request_id)
            return None
        return Answer(zlib.decompress(clear[1:]), stream=clear[:1] == _STREAM)


def _bound_to(place: AnswerPlace) -> bytes:
    return f"{place.scope}\0{place.key}\0{place.account_id}\0{place.request_id}".encode()
