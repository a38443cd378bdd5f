"""Who fails too often is not listened to for a while: failures by address, looked at before any work on a request."""

from gateway_core.edge.guard import counting_address
from gateway_core.errors import RateLimited
from gateway_core.limits.counters import SECOND, Sliding
from gateway_core.ports import Clock

_MINUTE = 60 * SECOND

_KINDS = {401: "refused bearers", 400: "bad requests"}
"""What is counted, by its status: each apart, so that a client's malformed bodies do not add to its wrong keys."""

MOST_ADDRESSES = 4096
"""Addresses that are remembered: beyond that the one that has not failed for longest is forgotten."""


class Failures:
    """Failures of the last minute. An IPv6 client counts by its /64; memory is bounded by `MOST_ADDRESSES`."""

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self._limit = per_minute
        self._clock = clock
        #: By address, and by status; empty costs a request nothing.
        self.counted: dict[str, dict[int, Sliding]] = {}

    def note(self, address: str, status: int) -> None:
        """Counts a refusal, if it is one of those that are."""
        if status not in _KINDS:
            return
        counted = counting_address(address)
        of_address = self.counted.pop(counted, None)
        if of_address is None:
            if len(self.counted) >= MOST_ADDRESSES:
                del self.counted[next(iter(self.counted))]
            of_address = {}
        self.counted[counted] = of_address
        counter = of_address.setdefault(status, Sliding(_MINUTE))
        now = self._now()
        counter.used(now)  # lets go of what is older than a minute
        counter.take(now, 1)

    def check(self, address: str) -> None:
        """Raises RateLimited where the address has failed too often."""
        counted = counting_address(address)
        of_address = self.counted.get(counted)
        if of_address is None:
            return
        now = self._now()
        used = {status: counter.used(now) for status, counter in of_address.items()}
        for status, count in used.items():
            if count >= self._limit:
                seconds = -(-of_address[status].wait(now, count + 1 - self._limit) // SECOND)
                limit = f"{self._limit} {_KINDS[status]} per minute from one address"
                raise RateLimited(f"{limit}; retry in {seconds}s", limit=limit, retry_after=max(1, seconds))
        if not any(used.values()):
            del self.counted[counted]

    def _now(self) -> int:
        return int(self._clock.monotonic() * 1e6)
