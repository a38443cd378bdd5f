"""What the server's refusals and failures mean for us."""

import re
from typing import Any

import msgspec

from gateway_core.errors import ContentRefused, ProviderFault, RouteRefused, Throttled, Unavailable

_LONGEST_MESSAGE = 2_000
_OUR_KEY = re.compile(r"api[ _-]?key|authentication|organi[sz]ation", re.IGNORECASE)
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SAID = frozenset(map(str, (400, 401, 402, 403, 404, 413, 422, 429)))
_URL = re.compile(r"\bhttps?://[^\s\"'<>]+")


def fault(status: int, body: bytes, retry_after: float | None, secret: str | None) -> ProviderFault:
    """The fault for an answer that is not a 200. `secret`, our key, is cut out of what the client may read."""
    error = _error(body)
    code = _code(error)
    detail = f"answered {status}{f' ({code})' if code else ''}"
    if status in (401, 402, 403, 404):
        return RouteRefused(detail)
    if status in (400, 413, 422):
        return _refused(status, error, code, detail, secret)
    if status == 429:
        return Throttled(detail, retry_after=retry_after)
    return Unavailable(detail, retry_after=retry_after)


def fault_inside(error: Any, *, begun: bool, secret: str | None = None) -> ProviderFault:
    """The fault for an error object inside an answer that began as a success. What it says of the client's content
    is for the client only while nothing else has `begun`."""
    fields = error if isinstance(error, dict) else {}
    code = _code(fields)
    detail = f"sent an error inside a 200{f' ({code})' if code else ''}"
    status = next((int(said) for said in map(str, (fields.get("code"), fields.get("status"))) if said in _SAID), 0)
    if status == 429 or "rate_limit" in code:
        return Throttled(detail)
    if status in (401, 402, 403, 404):
        return RouteRefused(detail)
    if status and not begun:
        return _refused(status, fields, code, detail, secret)
    return Unavailable(detail)


def _refused(status: int, error: dict[str, Any], code: str, detail: str, secret: str | None) -> ProviderFault:
    """The fault for a 400, 413 or 422: the client's content, unless it is about our key."""
    message = _message(error, secret)
    if "api_key" in code.lower() or (status == 400 and not error.get("param") and _OUR_KEY.search(message)):
        return RouteRefused(detail)
    param = error.get("param")
    return ContentRefused(
        message or "The provider refused the request.",
        status=413 if status == 413 else 400,
        param=param if isinstance(param, str) and len(param) <= 256 and not _CONTROL.search(param) else None,
    )


def _error(body: bytes) -> dict[str, Any]:
    """The error object, whichever of the usual places it is in; {} where there is none."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    error = value.get("error", value.get("detail", value))
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}


def _code(error: dict[str, Any]) -> str:
    """Its code or type, where that is a word: nothing of a prompt gets into our log."""
    for name in ("code", "type"):
        value = error.get(name)
        if isinstance(value, str | int) and _CODE.fullmatch(str(value)):
            return str(value)
    return ""


def _message(error: dict[str, Any], secret: str | None) -> str:
    """Its message for the client: one line, bounded, without addresses and without our key."""
    message = error.get("message")
    if not isinstance(message, str):
        return ""
    if secret:
        message = message.replace(secret, "…")
    return _URL.sub("…", _CONTROL.sub(" ", message))[:_LONGEST_MESSAGE].strip()
