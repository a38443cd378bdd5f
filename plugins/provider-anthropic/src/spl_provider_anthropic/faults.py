"""What Anthropic's refusals and failures mean for us."""

import re
from typing import Any

from gateway_core.errors import ContentRefused, ProviderFault
from gateway_core.upstream.refusals import (
    Refusal,
    client_words,
    error_fields,
    error_of,
    fault_in_success,
    fault_of_status,
    log_word,
)

# A 400 that is about our account and not about the request.
_ABOUT_US = re.compile(
    r"credit balance|billing|usage limit|spend limit|api[ _-]?key|authentication|organi[sz]ation|workspace|"
    r"anthropic-(version|beta)",
    re.IGNORECASE,
)
# Input and max_tokens together are more than the model's context: "A + B > C".
_TOO_LONG = re.compile(r"input length and .?max_tokens.? exceed context limit: (\d{1,9}) \+ \d{1,9} > (\d{1,9})")
_OUR_KINDS = ("billing_error", "authentication_error", "permission_error")


def fault(status: int, body: bytes, retry_after: float | None, secret: str | None) -> ProviderFault:
    """The fault for an answer that is not a 200. `secret`, our key, is cut out of what the client may read."""
    error = error_of(body)
    word = log_word(error.get("type"))
    message = client_words(error.get("message"), secret)
    about_us = word in _OUR_KINDS or (status == 400 and _ABOUT_US.search(message) is not None)
    return fault_of_status(status, Refusal(word, message, about_us=about_us), retry_after)


def fault_inside(error: Any) -> ProviderFault:
    """The fault for an error inside an answer that began as a success."""
    word = log_word(error_fields(error).get("type"))
    return fault_in_success(429 if word == "rate_limit_error" else 0, Refusal(word))


def about_thinking(fault: ProviderFault) -> bool:
    """Whether the request was refused for the earlier thinking in it."""
    if not isinstance(fault, ContentRefused):
        return False
    said = fault.message.lower()
    return "thinking" in said and ("signature" in said or "block" in said)


def room_left(fault: ProviderFault) -> int | None:
    """The output tokens that a model has room for beside this input, where its context was too small for more."""
    told = _TOO_LONG.search(fault.message) if isinstance(fault, ContentRefused) else None
    room = int(told[2]) - int(told[1]) if told is not None else 0
    return room if room > 0 else None
