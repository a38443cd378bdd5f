"""The state of a call's windows as OpenAI's six `x-ratelimit-*` headers."""

from collections.abc import Iterable
from functools import lru_cache

from gateway_core.types import LimitState


def lines(states: Iterable[LimitState]) -> str:
    """Limit, remaining and reset of requests and of tokens, each where such a limit exists, as lines of a head.

    Of several windows of one unit the tightest is shown: the one with the least left, and of those the one that
    takes longest to be whole again.
    """
    requests: LimitState | None = None
    tokens: LimitState | None = None
    for state in states:
        if state.window.unit == "requests":
            if requests is None or _tighter(state, requests):
                requests = state
        elif tokens is None or _tighter(state, tokens):
            tokens = state
    text = ""
    if requests is not None:
        before, behind = _around("requests", requests.window.limit, requests.reset_ms)
        text = f"{before}{requests.remaining}{behind}"
    if tokens is not None:
        before, behind = _around("tokens", tokens.window.limit, tokens.reset_ms)
        text = f"{text}{before}{tokens.remaining}{behind}"
    return text


@lru_cache(maxsize=256)  # a pure function: right after a reservation a window is whole in a minute, nearly always
def _around(unit: str, limit: int, reset_ms: int) -> tuple[str, str]:
    """A unit's three lines, before and behind what remains."""
    return (
        f"x-ratelimit-limit-{unit}: {limit}\r\nx-ratelimit-remaining-{unit}: ",
        f"\r\nx-ratelimit-reset-{unit}: {go_duration(reset_ms)}\r\n",
    )


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
