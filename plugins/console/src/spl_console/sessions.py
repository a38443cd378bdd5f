"""Who is signed in. In memory: a restart signs everybody out, a stolen store or backup holds no session.

A session holds the id of the key that was shown and never the key. Whether that key still works is asked with every
request, so that revoking it ends the session.
"""

import hashlib
import secrets
from collections.abc import Callable
from typing import Any

_MOST = 4096
"""Sessions in all; beyond that the one that was used longest ago ends."""
_MOST_OF_ONE = 32
"""Sessions, and links, of one key, so that a key alone cannot end everybody else's."""
_MOST_LINKS = 256
LINK_SECONDS = 300


class Session:
    """One signed-in browser."""

    __slots__ = ("_digest", "bearer_id", "begun", "csrf", "notices", "seen", "shown_once")

    def __init__(self, digest: bytes, bearer_id: str, now: float) -> None:
        self._digest = digest
        self.bearer_id = bearer_id
        #: What every form of this session carries.
        self.csrf = secrets.token_urlsafe(32)
        self.begun = now
        self.seen = now
        #: What the next page says first: kind and text.
        self.notices: list[tuple[str, str]] = []
        #: What the next page may show, and no page after it.
        self.shown_once: dict[str, Any] = {}

    @property
    def digest(self) -> bytes:
        """What it is found by: a hash of its cookie."""
        return self._digest


class Sessions:
    """All of one console's. `now` gives seconds that never go backwards."""

    def __init__(self, now: Callable[[], float], longest: float, idle: float) -> None:
        self._now = now
        self._longest = longest
        self._idle = idle
        #: In the order of their last use.
        self._found: dict[bytes, Session] = {}

    def __len__(self) -> int:
        return len(self._found)

    def begin(self, bearer_id: str) -> tuple[str, Session]:
        """A new session and its cookie, which exists nowhere else."""
        own = [each for each in self._found.values() if each.bearer_id == bearer_id]
        if len(own) >= _MOST_OF_ONE:
            self.end(own[0])
        elif len(self._found) >= _MOST:
            self.end(next(iter(self._found.values())))
        token = secrets.token_urlsafe(32)
        session = Session(_digest(token), bearer_id, self._now())
        self._found[session.digest] = session
        return token, session

    def find(self, token: str) -> Session | None:
        """The session of a cookie, whose idle time begins anew; None where there is none any more."""
        session = self._found.pop(_digest(token), None)
        if session is None:
            return None
        now = self._now()
        if now - session.begun >= self._longest or now - session.seen >= self._idle:
            return None
        session.seen = now
        self._found[session.digest] = session
        return session

    def end(self, session: Session) -> None:
        """Signs out."""
        self._found.pop(session.digest, None)


class Links:
    """Links that sign in once, and soon."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._found: dict[bytes, tuple[str, float]] = {}

    def make(self, bearer_id: str) -> str:
        """A new one, for a bearer that was shown just now."""
        own = [digest for digest, (whose, _) in self._found.items() if whose == bearer_id]
        if len(own) >= _MOST_OF_ONE:
            del self._found[own[0]]
        elif len(self._found) >= _MOST_LINKS:
            del self._found[next(iter(self._found))]
        token = secrets.token_urlsafe(32)
        self._found[_digest(token)] = (bearer_id, self._now() + LINK_SECONDS)
        return token

    def take(self, token: str) -> str | None:
        """Whose it is, this one time."""
        bearer_id, ends = self._found.pop(_digest(token), ("", 0.0))
        return bearer_id if bearer_id and self._now() < ends else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
