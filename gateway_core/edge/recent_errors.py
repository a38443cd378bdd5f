"""The latest refusals, for operators: kept in memory, apart by code, so that a flood of one kind hides no other."""

from collections import deque
from itertools import chain, count

import msgspec

from gateway_core.ports import Clock

KEPT = 50
"""Of each code."""


class RecentError(msgspec.Struct, frozen=True):
    """One answer that was an error. Of what was sent there is nothing, nor what was said of it."""

    at: int
    request_id: str
    status: int
    code: str
    kind: str


class RecentErrors:
    """Errors since the start: all are counted, the latest of each code are kept."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = count()
        #: By code, each with its number: a flood has many within a millisecond, and a clock may be set back.
        self._kept: dict[str, deque[tuple[int, RecentError]]] = {}
        #: Code → how many.
        self.counts: dict[str, int] = {}

    def note(self, request_id: str, status: int, code: str, kind: str) -> None:
        """One more."""
        error = RecentError(self._clock.now_ms(), request_id, status, code, kind)
        kept = self._kept.get(code)
        if kept is None:
            kept = self._kept[code] = deque(maxlen=KEPT)
        kept.append((next(self._numbers), error))
        self.counts[code] = self.counts.get(code, 0) + 1

    def latest(self, code: str | None, most: int) -> list[RecentError]:
        """The newest first; of one code, or of all."""
        rows = self._kept.get(code, ()) if code is not None else chain.from_iterable(self._kept.values())
        return [error for _, error in sorted(rows, reverse=True)[:most]]
