"""What Google's refusals and failures mean for us."""

import re
from collections.abc import Iterator
from typing import Any

from gateway_core.errors import ProviderFault
from gateway_core.upstream.refusals import (
    Refusal,
    client_words,
    error_fields,
    error_of,
    fault_in_success,
    fault_of_status,
    log_word,
)

_LONGEST_WAIT = 86_400.0
_ABOUT_US = re.compile(r"api[ _-]?key|user location|billing", re.IGNORECASE)
_DELAY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
_OUR_KINDS = ("FAILED_PRECONDITION", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND")


def fault(status: int, body: bytes, retry_after: float | None, secret: str | None) -> ProviderFault:
    """The fault for an answer that is not a 200. `secret`, our key, is cut out of what the client may read."""
    error = error_of(body)
    wait = retry_after if retry_after is not None else _retry_delay(error)
    return fault_of_status(status, _refusal(status, error, secret), wait)


def fault_inside(error: Any, *, begun: bool, secret: str | None = None) -> ProviderFault:
    """The fault for an error object inside an answer that began as a success. What it says of the client's content
    is for the client only while nothing else has `begun`."""
    fields = error_fields(error)
    word = log_word(fields.get("status"))
    if fields.get("code") == 429 or word == "RESOURCE_EXHAUSTED":
        return fault_in_success(429, Refusal(word), _retry_delay(fields))
    if begun or fields.get("code") != 400:
        return fault_in_success(0, Refusal(word))
    return fault_in_success(400, _refusal(400, fields, secret))


def _refusal(status: int, error: dict[str, Any], secret: str | None) -> Refusal:
    word = log_word(error.get("status"))
    message = client_words(error.get("message"), secret)
    about_us = status == 400 and (word in _OUR_KINDS or _key_reason(error) or _ABOUT_US.search(message) is not None)
    return Refusal(word, message, about_us=about_us)


def _details(error: dict[str, Any], kind: str) -> Iterator[dict[str, Any]]:
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and str(detail.get("@type", "")).endswith(kind):
            yield detail


def _key_reason(error: dict[str, Any]) -> bool:
    return any(str(detail.get("reason", "")).startswith("API_KEY_") for detail in _details(error, ".ErrorInfo"))


def _retry_delay(error: dict[str, Any]) -> float | None:
    for detail in _details(error, ".RetryInfo"):
        if match := _DELAY.fullmatch(str(detail.get("retryDelay", ""))):
            return min(float(match[1]), _LONGEST_WAIT)
    return None
