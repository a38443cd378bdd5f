"""The state of a call's windows as OpenAI's six `x-ratelimit-*` headers."""

from collections.abc import Iterable
from functools import lru_cache

from gateway_core.types import LimitState

_NAMES = {
    unit: tuple(f"x-ratelimit-{what}-{unit}".encode() for what in ("limit", "remaining", "reset"))
    for unit in ("requests", "tokens")
}


def headers(states: Iterable[LimitState]) -> list[tuple[bytes, bytes]]:
    """Limit, remaining and reset of requests and of tokens, each where such a limit exists.

    Of several windows of one unit the tightest is shown: the one with the least left, and of those the one that
    takes longest to be whole again.
    """
    tightest: dict[str, LimitState] = {}
    for state in states:
        unit = state.window.unit
        other = tightest.get(unit)
        if other is None or (state.remaining, -state.reset_ms) < (other.remaining, -other.reset_ms):
            tightest[unit] = state
    out: list[tuple[bytes, bytes]] = []
    for shown, state in tightest.items():
        limit, remaining, reset = _NAMES[shown]
        out.append((limit, b"%d" % state.window.limit))
        out.append((remaining, b"%d" % state.remaining))
        out.append((reset, _reset(state.reset_ms)))
    return out


def go_duration(ms: int) -> str:
    """Milliseconds as Go prints a duration: "0s", "12ms", "1s", "1m30.5s", "6m0s", "24h0m0s"."""
    if 0 < ms < 1000:
        return f"{ms}ms"
    minutes, rest = divmod(max(0, ms), 60_000)
    seconds = f"{rest / 1000:g}s"
    if minutes < 60:
        return f"{minutes}m{seconds}" if minutes else seconds
    return f"{minutes // 60}h{minutes % 60}m{seconds}"


@lru_cache(maxsize=256)  # a pure function: right after a reservation it is a whole minute nearly always
def _reset(ms: int) -> bytes:
    return go_duration(ms).encode()
