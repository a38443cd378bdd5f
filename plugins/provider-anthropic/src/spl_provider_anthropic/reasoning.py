"""Thinking: an effort in words as a budget of tokens or as an effort of the model's own."""

from typing import Any

import msgspec

from gateway_core.errors import InvalidRequest
from spl_provider_anthropic.models import Rules

BUDGETS = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 32_768, "max": 49_152}
LEAST_BUDGET = 1_024
_LEAST_ANSWER = 1_024
"""What a budget leaves for the answer of a limit that both must fit in."""
_LADDER = ("low", "medium", "high", "xhigh", "max")


class Thinking(msgspec.Struct, frozen=True):
    """What is said of thinking in a request."""

    config: dict[str, Any] | None = None
    effort: str | None = None
    #: The model may think: what goes with thinking counts, and earlier thinking is given back.
    on: bool = False


def plan(asked: Any, rules: Rules, limit: int, *, possible: bool) -> Thinking:
    """How to ask for the reasoning that `reasoning_effort` asks for. `limit` is the call's `max_tokens`.

    `possible`: nothing else in the request rules thinking out, such as a tool that must be called.
    """
    if asked is not None and asked != "none" and asked not in BUDGETS:
        raise InvalidRequest(f"'reasoning_effort' must be one of none, {', '.join(BUDGETS)}.", param="reasoning_effort")
    if rules.thinking == "none":
        return Thinking()
    if asked == "none" or not possible:
        return _off(rules)
    if asked is None:
        return Thinking(on=rules.thinks_unasked)
    if rules.thinking == "enabled":
        return _budget(BUDGETS[asked], rules, limit)
    config: dict[str, Any] = {"type": "adaptive"}
    if rules.display:
        config["display"] = "summarized"
    return Thinking(config, _effort(asked, rules), on=True)


def _budget(budget: int, rules: Rules, limit: int) -> Thinking:
    """A budget below the limit with room for the answer; none where there is no room for both."""
    most = limit - max(_LEAST_ANSWER, limit // 4)
    if most < LEAST_BUDGET:
        return _off(rules)
    return Thinking({"type": "enabled", "budget_tokens": min(budget, most)}, on=True)


def _off(rules: Rules) -> Thinking:
    if rules.thinking_off == "never":
        return Thinking(effort=_effort("low", rules), on=True)
    if rules.thinking_off == "omit":
        return Thinking()
    return Thinking({"type": rules.thinking_off}, on=rules.thinking_off == "between_tools")


def _effort(asked: str, rules: Rules) -> str | None:
    """The model's own effort that is nearest to the one that is asked for, from below where that can be."""
    if not rules.efforts:
        return None
    wanted = _LADDER.index("low" if asked == "minimal" else asked)
    below = [effort for effort in rules.efforts if _LADDER.index(effort) <= wanted]
    return below[-1] if below else rules.efforts[0]
