"""What Anthropic's refusals and failures mean for us."""

import re
from typing import Any

import msgspec

from gateway_core.errors import ContentRefused, ProviderFault, RouteRefused, Throttled, Unavailable

_LONGEST_MESSAGE = 2_000
# A 400 that is about our account and not about the request.
_OUR_ACCOUNT = re.compile(
    r"credit balance|billing|usage limit|spend limit|api[ _-]?key|authentication|organi[sz]ation|workspace|"
    r"anthropic-(version|beta)",
    re.IGNORECASE,
)
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_URL = re.compile(r"\bhttps?://[^\s\"'<>]+")


def fault(status: int, body: bytes, retry_after: float | None, secret: str | None) -> ProviderFault:
    """The fault for an answer that is not a 200. `secret`, our key, is cut out of what the client may read."""
    error = _error(body)
    code = _code(error)
    detail = f"answered {status}{f' ({code})' if code else ''}"
    if status in (401, 402, 403, 404):
        return RouteRefused(detail)
    if status in (400, 413, 422):
        message = _message(error, secret)
        if code in ("billing_error", "authentication_error", "permission_error") or (
            status == 400 and _OUR_ACCOUNT.search(message)
        ):
            return RouteRefused(detail)
        return ContentRefused(message or "The provider refused the request.", status=413 if status == 413 else 400)
    if status == 429:
        return Throttled(detail, retry_after=retry_after)
    return Unavailable(detail, retry_after=retry_after)


def fault_inside(error: Any) -> ProviderFault:
    """The fault for an error inside an answer that began as a success."""
    code = _code(error if isinstance(error, dict) else {})
    detail = f"sent an error inside a 200{f' ({code})' if code else ''}"
    return Throttled(detail) if code == "rate_limit_error" else Unavailable(detail)


def about_thinking(fault: ProviderFault) -> bool:
    """Whether the request was refused for the earlier thinking in it."""
    if not isinstance(fault, ContentRefused):
        return False
    said = fault.message.lower()
    return "thinking" in said and ("signature" in said or "block" in said)


def _error(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, dict) else {}


def _code(error: dict[str, Any]) -> str:
    """Its type, where that is a word: nothing of a prompt gets into our log."""
    kind = error.get("type")
    return kind if isinstance(kind, str) and _CODE.fullmatch(kind) else ""


def _message(error: dict[str, Any], secret: str | None) -> str:
    """Its message for the client: one line, bounded, without addresses and without our key."""
    message = error.get("message")
    if not isinstance(message, str):
        return ""
    if secret:
        message = message.replace(secret, "…")
    return _URL.sub("…", _CONTROL.sub(" ", message))[:_LONGEST_MESSAGE].strip()
