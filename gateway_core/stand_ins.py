"""Bearers that stand for user keys within this process: for who has shown a key before and is remembered by its id.

A stand-in never leaves the process and ends with it. It is worth what its key is worth at that moment: one that was
revoked, has expired or whose account is suspended is refused as the key itself would be.
"""

import hashlib
import hmac
import secrets

from gateway_core.key_text import PREFIX

_HEAD = f"{PREFIX}within-"


class StandIns:
    """One process's stand-ins. Nothing is kept of them but the secret that they are made with."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def bearer(self, bearer_id: str) -> str:
        """The stand-in of a key, by its id: always the same, so that what verifies it verifies once."""
        return f"{_HEAD}{bearer_id}.{self._proof(bearer_id)}"

    def bearer_id(self, bearer: str) -> str | None:
        """The id of the key that a bearer stands for; None where it is no stand-in of this process."""
        if not bearer.startswith(_HEAD):
            return None
        bearer_id, _, proof = bearer.removeprefix(_HEAD).rpartition(".")
        return bearer_id if hmac.compare_digest(proof.encode(), self._proof(bearer_id).encode()) else None

    def _proof(self, bearer_id: str) -> str:
        return hmac.digest(self._secret, bearer_id.encode(), hashlib.sha256).hex()
