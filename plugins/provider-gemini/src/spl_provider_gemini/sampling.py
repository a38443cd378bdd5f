"""How the answer is drawn, and where it ends."""

from collections.abc import Mapping
from typing import Any

from gateway_core.errors import InvalidRequest
from spl_provider_gemini.given import Given, Json

_SAME = (
    ("temperature", "temperature"),
    ("top_p", "topP"),
    ("top_k", "topK"),
)
_PENALTIES = (("presence_penalty", "presencePenalty"), ("frequency_penalty", "frequencyPenalty"))
_BELOW_TWO = 1.9999
"""OpenAI's highest penalty is 2; Google's is anything below it."""
_INT32 = 2**31


def add_sampling(config: Json, body: Mapping[str, Any], given: Given, output_limit: int | None) -> None:
    """Adds what is in generationConfig by another name. Raises InvalidRequest for what the model cannot do."""
    for name, theirs in _SAME:
        if (value := body.get(name)) is not None:
            config[theirs] = value
    for name, theirs in _PENALTIES:
        if (value := body.get(name)) is not None:
            config[theirs] = min(value, _BELOW_TWO)
    if (seed := body.get("seed")) is not None:
        config["seed"] = seed if -_INT32 <= seed < _INT32 else seed % _INT32
    limit = output_limit if output_limit is not None else body.get("max_completion_tokens") or body.get("max_tokens")
    limit = given.held if limit is None else limit
    if limit is not None:
        config["maxOutputTokens"] = limit
    if (stop := body.get("stop")) is not None:
        _stop(config, stop, given)
    _several(config, body, given)
    if (modalities := body.get("modalities")) and any(kind != "text" for kind in modalities):
        raise InvalidRequest(f"{given.model} answers in text only here.", param="modalities")
    for name in given.rules.omit:
        config.pop(name, None)


def _stop(config: Json, stop: str | list[str], given: Given) -> None:
    stops = [text for text in ([stop] if isinstance(stop, str) else stop) if text]
    if len(stops) > given.rules.stops:
        raise InvalidRequest(f"{given.model} takes at most {given.rules.stops} stop sequences.", param="stop")
    if stops:
        config["stopSequences"] = stops


def _several(config: Json, body: Mapping[str, Any], given: Given) -> None:
    """Several answers, and the probabilities of their tokens."""
    choices = body.get("n") or 1
    if choices > given.rules.candidates:
        raise InvalidRequest(f"{given.model} gives at most {given.rules.candidates} answers at once.", param="n")
    if choices > 1:
        config["candidateCount"] = choices
    if body.get("top_logprobs") and not body.get("logprobs"):
        raise InvalidRequest("top_logprobs needs logprobs to be true.", param="top_logprobs")
    if body.get("logprobs"):
        if not given.rules.logprobs:
            raise InvalidRequest(f"{given.model} gives no token probabilities.", param="logprobs")
        config["responseLogprobs"] = True
        if top := body.get("top_logprobs"):
            config["logprobs"] = top
