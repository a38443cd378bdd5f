"""Limits, sampling, stop sequences and the user's name."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from gateway_core.errors import InvalidRequest
from spl_provider_anthropic.models import Rules

_LONGEST_USER = 256
_NAMES_A_PERSON = re.compile(r"@|^\+?[\d\s()./-]{7,}$")


def output_limit(body: Mapping[str, Any], cap: int | None, held: int | None, rules: Rules) -> int:
    """`max_tokens`: the cap's, the client's or the model's own, which is never more than was `held` for the call nor
    than the model takes."""
    limit = cap
    if limit is None:
        limit = body.get("max_completion_tokens")
    if limit is None:
        limit = body.get("max_tokens")
    if limit is None:
        return rules.default_output if held is None else min(rules.default_output, held)
    return int(limit) if rules.max_output is None else min(limit, rules.max_output)


def sampling(body: Mapping[str, Any], rules: Rules, *, thinking: bool) -> dict[str, Any]:
    """temperature, top_p and top_k, as far as the model takes them; with thinking only what goes with it."""
    if rules.sampling == "none":
        return {}
    found: dict[str, Any] = {}
    temperature, top_p, top_k = body.get("temperature"), body.get("top_p"), body.get("top_k")
    if thinking:
        return {"top_p": top_p} if top_p is not None and top_p >= 0.95 and top_p != 1 else {}
    if temperature is not None:
        found["temperature"] = min(temperature, 1)
    if top_p is not None:
        found["top_p"] = top_p
    if rules.sampling == "one" and len(found) == 2:
        # Of the two the one that says something; 1 is what both are anyway.
        del found["temperature" if found["temperature"] == 1 and top_p != 1 else "top_p"]
    if isinstance(top_k, int) and not isinstance(top_k, bool) and top_k > 0:
        found["top_k"] = top_k
    return found


def stop_sequences(stop: Any) -> list[str]:
    """Those that the API takes: one of whitespace only is refused."""
    if not stop:
        return []
    given = [stop] if isinstance(stop, str) else stop
    return list(dict.fromkeys(one for one in given if one and not one.isspace()))


def user_id(body: Mapping[str, Any]) -> str | None:
    """The client's name for its user; hashed where the API would refuse it for its length or for naming a person."""
    user = body.get("user")
    if user is None:
        user = body.get("safety_identifier")
    if not isinstance(user, str) or not user.strip():
        return None
    if len(user) <= _LONGEST_USER and not _NAMES_A_PERSON.search(user):
        return user
    return hashlib.sha256(user.encode("utf-8", "replace")).hexdigest()


def refuse_what_is_missing(body: Mapping[str, Any]) -> None:
    """Raises InvalidRequest for what the API has not, and what is no mere hint."""
    if body.get("logprobs") or body.get("top_logprobs"):
        field = "logprobs" if body.get("logprobs") else "top_logprobs"
        raise InvalidRequest(f"'{field}' is refused: this model gives no log probabilities.", param=field)
    if "audio" in (body.get("modalities") or ()):
        raise InvalidRequest("'modalities' is refused: this model answers in text only.", param="modalities")
    if body.get("web_search_options") is not None:
        raise InvalidRequest(
            "'web_search_options' is refused: this model does not search through this gateway.",
            param="web_search_options",
        )
