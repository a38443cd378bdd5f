"""The state of a call's windows as OpenAI's six `x-ratelimit-*` headers."""

from collections.abc import Sequence
from functools import lru_cache

from gateway_core.types import LimitState


def lines(states: Sequence[LimitState]) -> str:
    """Limit, remaining and reset of requests and of tokens, each where such a limit exists, as lines of a head.

    Of several windows of one unit the tightest is shown: the one with the least left, and of those the one that
    takes longest to be whole again.
    """
    text = ""
    for state in states if len(states) == 1 else _tightest(states):
        window = state.window
        before, behind = _around(window.unit, window.limit, state.reset_ms)
        text += f"{before}{state.remaining}{behind}"
    return text


@lru_cache(maxsize=256)  # a pure function: right after a reservation a window is whole in a minute, nearly always
def _around(unit: str, limit: int, reset_ms: int) -> tuple[str, str]:
    """A unit's three lines, before and behind what remains."""
    return (
        f"x-ratelimit-limit-{unit}: {limit}\r\nx-ratelimit-remaining-{unit}: ",
        f"\r\nx-ratelimit-reset-{unit}: {go_duration(reset_ms)}\r\n",
    )


def _tightest(states: Sequence[LimitState]) -> list[LimitState]:
    """The tightest of each unit, requests' first."""
    found: dict[str, LimitState] = {}
    for state in states:
        unit = state.window.unit
        if unit not in found or _tighter(state, found[unit]):
            found[unit] = state
    return [found[unit] for unit in ("requests", "tokens") if unit in found]


def _tighter(state: LimitState, other: LimitState) -> bool:
    return (state.remaining, -state.reset_ms) < (other.remaining, -other.reset_ms)


def go_duration(ms: int) -> str:
    """Milliseconds as Go prints a duration: "0s", "12ms", "1s", "1m30.5s", "6m0s", "24h0m0s"."""
    if 0 < ms < 1000:
        return f"{ms}ms"
    minutes, rest = divmod(max(0, ms), 60_000)
    seconds = f"{rest / 1000:g}s"
    if minutes < 60:
        return f"{minutes}m{seconds}" if minutes else seconds
    return f"{minutes // 60}h{minutes % 60}m{seconds}"
