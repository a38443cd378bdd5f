"""What the server's refusals and failures mean for us."""

import re
from typing import Any

from gateway_core.errors import ProviderFault
from gateway_core.upstream.refusals import (
    ABOUT_THE_CONTENT,
    ABOUT_THE_ROUTE,
    Refusal,
    client_param,
    client_words,
    error_fields,
    fault_in_success,
    fault_of_status,
    log_word,
)
from gateway_core.wire.untrusted import decoded

_ABOUT_US = re.compile(r"api[ _-]?key|authentication|organi[sz]ation", re.IGNORECASE)
_MOST_DETAILS = 5
_SAID = {str(status): status for status in (*ABOUT_THE_CONTENT, *ABOUT_THE_ROUTE, 429)}


def fault(status: int, body: bytes, retry_after: float | None, secret: str | None) -> ProviderFault:
    """The fault for an answer that is not a 200. `secret`, our key, is cut out of what the client may read."""
    return fault_of_status(status, _refusal(status, _error(body), secret), retry_after)


def fault_inside(error: Any, *, begun: bool, secret: str | None = None) -> ProviderFault:
    """The fault for an error object inside an answer that began as a success. What it says of the client's content
    is for the client only while nothing else has `begun`."""
    fields = error if isinstance(error, dict) else {}
    said = (_SAID.get(str(fields.get(name))) for name in ("code", "status"))
    meant = next((status for status in said if status is not None), 0)
    if begun and meant in ABOUT_THE_CONTENT:
        meant = 0
    refusal = _refusal(meant, fields, secret)
    return fault_in_success(429 if "rate_limit" in refusal.word else meant, refusal)


def _refusal(status: int, error: dict[str, Any], secret: str | None) -> Refusal:
    word = log_word(error.get("code")) or log_word(error.get("type"))
    message = client_words(error.get("message"), secret)
    param = error.get("param")
    about_us = "api_key" in word.lower() or (status == 400 and not param and _ABOUT_US.search(message) is not None)
    return Refusal(word, message, client_param(param), about_us)


def _error(body: bytes) -> dict[str, Any]:
    """The error object, whichever of the usual places it is in; {} where there is none."""
    value = decoded(body)
    if not isinstance(value, dict):
        return {}
    return error_fields(value.get("error", _details(value.get("detail", value))))


def _details(detail: Any) -> Any:
    """What a framework's own validation says of several fields, as one error of the first of them."""
    if not isinstance(detail, list):
        return detail
    found = [one for one in detail if isinstance(one, dict) and isinstance(one.get("msg"), str)][:_MOST_DETAILS]
    places = [_place(one.get("loc")) for one in found]
    told = [f"{place}: {one['msg']}" if place else one["msg"] for place, one in zip(places, found, strict=True)]
    return {"message": "; ".join(told), "param": places[0] or None} if found else {}


def _place(loc: Any) -> str:
    """Where in the body, e.g. "messages.0.content" for ["body", "messages", 0, "content"]."""
    steps = [str(step) for step in loc if isinstance(step, str | int)] if isinstance(loc, list) else []
    return ".".join(steps[1:] if steps[:1] == ["body"] else steps)
