"""What a provider's refusals and failures mean for us, and what of its words a client may read.

Every API has words of its own for them; what each status means is the same for all.
"""

import re
from typing import Any

from msgspec import Struct

from gateway_core.errors import ContentRefused, ProviderFault, RouteDoubted, RouteRefused, Throttled, Unavailable
from gateway_core.wire.untrusted import decoded

ABOUT_THE_ROUTE = frozenset({401, 402, 403, 404})
"""Statuses about our key, our account or our name for a model."""
ABOUT_THE_CONTENT = frozenset({400, 413, 422})
"""Statuses about what the client sent."""

_LONGEST_MESSAGE = 2_000
_LONGEST_PARAM = 256
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_URL = re.compile(r"\bhttps?://[^\s\"'<>]+")


class Refusal(Struct, frozen=True):
    """What the provider said, in the parts that are told on."""

    #: Its own code or kind, for our log; "" for none.
    word: str = ""
    #: For the client: made by `client_words`.
    message: str = ""
    #: The field that it names: made by `client_param`.
    param: str | None = None
    #: Its status speaks of the client's content, but it is about our key or our account.
    about_us: bool = False


def fault_of_status(status: int, refusal: Refusal, retry_after: float | None = None) -> ProviderFault:
    """The fault for an answer that is not a 200; `retry_after` in seconds."""
    return _fault(status, refusal, f"answered {status}", retry_after)


def fault_in_success(meant: int, refusal: Refusal, retry_after: float | None = None) -> ProviderFault:
    """The fault for an error inside an answer that began as a success. `meant`: the status that it would have had
    otherwise, 0 where that is not known."""
    return _fault(meant, refusal, "sent an error inside a 200", retry_after)


def _fault(status: int, refusal: Refusal, told: str, retry_after: float | None) -> ProviderFault:
    detail = f"{told} ({refusal.word})" if refusal.word else told
    if status in ABOUT_THE_ROUTE:
        return RouteRefused(detail)
    if status in ABOUT_THE_CONTENT:
        if refusal.about_us:
            return RouteDoubted(detail)
        message = refusal.message or "The provider refused the request."
        return ContentRefused(message, status=413 if status == 413 else 400, param=refusal.param)
    if status == 429:
        return Throttled(detail, retry_after=retry_after)
    return Unavailable(detail, retry_after=retry_after)


def error_of(body: bytes) -> dict[str, Any]:
    """The error object of a body, alone or first in a list; {} where there is none."""
    value = decoded(body)
    if isinstance(value, list) and value:
        value = value[0]
    return error_fields(value.get("error")) if isinstance(value, dict) else {}


def error_fields(error: Any) -> dict[str, Any]:
    """An error's fields: words alone are its message."""
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}


def log_word(value: Any) -> str:
    """A code, where it is a word or a number: nothing of a prompt gets into our log. "" otherwise."""
    return str(value) if isinstance(value, str | int) and _WORD.fullmatch(str(value)) else ""


def client_words(message: Any, secret: str | None) -> str:
    """A message for the client: one line, bounded, without addresses and without `secret`, our key; "" for none."""
    if not isinstance(message, str):
        return ""
    if secret:
        message = message.replace(secret, "…")
    return _URL.sub("…", _CONTROL.sub(" ", message))[:_LONGEST_MESSAGE].strip()


def client_param(param: Any) -> str | None:
    """The name of a field, where it can be one."""
    fits = isinstance(param, str) and len(param) <= _LONGEST_PARAM and not _CONTROL.search(param)
    return param if fits else None
