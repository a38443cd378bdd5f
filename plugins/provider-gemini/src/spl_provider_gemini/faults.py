"""What Google's refusals and failures mean for us."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from gateway_core.errors import ContentRefused, ProviderFault, RouteRefused, Throttled, Unavailable

_LONGEST_MESSAGE = 2_000
_LONGEST_WAIT = 86_400.0
_OUR_KEY = re.compile(r"api[ _-]?key|user location|billing", re.IGNORECASE)
_STATUS = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_DELAY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_URL = re.compile(r"\bhttps?://[^\s\"'<>]+")
_OURS = ("FAILED_PRECONDITION", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND")


def fault(status: int, body: bytes, retry_after: float | None, secret: str | None) -> ProviderFault:
    """The fault for an answer that is not a 200. `secret`, our key, is cut out of what the client may read."""
    error = _error(body)
    word = _word(error)
    detail = f"answered {status}{f' ({word})' if word else ''}"
    if status in (401, 402, 403, 404):
        return RouteRefused(detail)
    if status in (400, 413, 422):
        message = _message(error, secret)
        about_us = status == 400 and (word in _OURS or _key_reason(error) or _OUR_KEY.search(message))
        if about_us:
            return RouteRefused(detail)
        return ContentRefused(message or "The provider refused the request.", status=413 if status == 413 else 400)
    wait = retry_after if retry_after is not None else _retry_delay(error)
    if status == 429:
        return Throttled(detail, retry_after=wait)
    return Unavailable(detail, retry_after=wait)


def fault_inside(error: Any) -> ProviderFault:
    """The fault for an error object inside an answer that began as a success."""
    fields = error if isinstance(error, dict) else {}
    word = _word(fields)
    detail = f"sent an error inside a 200{f' ({word})' if word else ''}"
    if fields.get("code") == 429 or word == "RESOURCE_EXHAUSTED":
        return Throttled(detail, retry_after=_retry_delay(fields))
    return Unavailable(detail)


def _error(body: bytes) -> dict[str, Any]:
    """The error object, alone or in the list that a stream without events would be; {} where there is none."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if isinstance(value, list) and value:
        value = value[0]
    error = value.get("error") if isinstance(value, dict) else None
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}


def _word(error: dict[str, Any]) -> str:
    """Its status, where that is a word: nothing of a prompt gets into our log."""
    value = error.get("status")
    return value if isinstance(value, str) and _STATUS.fullmatch(value) else ""


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


def _message(error: dict[str, Any], secret: str | None) -> str:
    """Its message for the client: one line, bounded, without addresses and without our key."""
    message = error.get("message")
    if not isinstance(message, str):
        return ""
    if secret:
        message = message.replace(secret, "…")
    return _URL.sub("…", _CONTROL.sub(" ", message))[:_LONGEST_MESSAGE].strip()
