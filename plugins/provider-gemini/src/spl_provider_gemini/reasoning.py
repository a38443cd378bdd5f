"""How much the model thinks, and whether it tells."""

from collections.abc import Mapping
from typing import Any

from gateway_core.errors import InvalidRequest
from spl_provider_gemini.given import Given, Json


def add_thinking(config: Json, body: Mapping[str, Any], given: Given) -> None:
    """Adds `thinkingConfig` for models that think. To others the effort is a hint that says nothing.

    Google's own OpenAI-compatible endpoint takes `extra_body.google.thinking_config`: so does this, and it comes first.
    """
    efforts = given.rules.efforts
    if not efforts:
        return
    thinking: Json = {}
    if (effort := body.get("reasoning_effort")) is not None:
        amount = efforts.get(effort)
        if amount is None:
            known = ", ".join(efforts)
            raise InvalidRequest(f"reasoning_effort of {given.model} must be one of {known}.", param="reasoning_effort")
        thinking["thinkingBudget" if isinstance(amount, int) else "thinkingLevel"] = amount
    if given.include_thoughts and thinking.get("thinkingBudget") != 0:
        thinking["includeThoughts"] = True
    if (own := _own(body)) is not None:
        _override(thinking, own)
    if thinking:
        config["thinkingConfig"] = thinking


def _own(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    extra = body.get("extra_body")
    google = extra.get("google") if isinstance(extra, dict) else None
    own = google.get("thinking_config") if isinstance(google, dict) else None
    return own if isinstance(own, dict) else None


def _override(thinking: Json, own: Mapping[str, Any]) -> None:
    """A budget and a level exclude each other, so either replaces both."""
    where = "extra_body.google.thinking_config"
    budget, level, tell = own.get("thinking_budget"), own.get("thinking_level"), own.get("include_thoughts")
    if budget is not None and level is not None:
        raise InvalidRequest(f"{where} has a thinking_budget and a thinking_level: only one can hold.", param=where)
    if budget is not None or level is not None:
        thinking.pop("thinkingBudget", None)
        thinking.pop("thinkingLevel", None)
    if isinstance(budget, int) and not isinstance(budget, bool):
        thinking["thinkingBudget"] = budget
    elif budget is not None:
        raise InvalidRequest(f"{where}.thinking_budget must be a number of tokens.", param=f"{where}.thinking_budget")
    if isinstance(level, str):
        thinking["thinkingLevel"] = level.upper()
    elif level is not None:
        raise InvalidRequest(f"{where}.thinking_level must be text.", param=f"{where}.thinking_level")
    if isinstance(tell, bool):
        thinking["includeThoughts"] = tell
