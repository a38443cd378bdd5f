"""How an error looks on the wire: one object in two dialects, and the headers that go with it."""

from typing import Any

import msgspec

from gateway_core.config import ServerConfig
from gateway_core.errors import Conflict, GatewayError, MethodNotAllowed, RateLimited
from gateway_core.wire.ratelimit import lines as limit_lines

Headers = list[tuple[bytes, bytes]]

_WAITS = {429: 60, 503: 1}
"""Seconds of Retry-After where the error itself knows none."""

_encode = msgspec.json.Encoder().encode

_TYPES = {
    "quota_exceeded": "insufficient_quota",
    "subscription_required": "billing_not_active",
    "rate_limited": "rate_limit_error",
    "provider_rate_limited": "rate_limit_error",
    "provider_error": "server_error",
    "internal_error": "server_error",
}
"""OpenAI's `type` by our code; everything else is an `invalid_request_error` there, a wrong key included."""

_OPENAI_CODES: dict[str, str | None] = {
    "invalid_request": None,
    "invalid_bearer": "invalid_api_key",
    "invalid_jwt_signature": "invalid_api_key",
    "account_suspended": "account_deactivated",
    "insufficient_scope": "missing_scope",
    "subscription_required": "billing_not_active",
    "quota_exceeded": "insufficient_quota",
    "not_found": "unknown_url",
    "method_not_allowed": "method_not_supported",
    "rate_limited": "rate_limit_exceeded",
    "provider_rate_limited": "rate_limit_exceeded",
    "provider_error": "server_error",
    "internal_error": "server_error",
}
"""OpenAI's own code by ours; one that OpenAI has no word for keeps its name."""


def render(error: GatewayError, request_id: str, server: ServerConfig) -> tuple[int, Headers, bytes]:
    """Status, headers and body of an error's answer.

    The headers that every answer has (the request's id) are not here: the application adds them.
    """
    body = _encode({"error": error_object(error, request_id, server)})
    out: Headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *error.headers,
    ]
    wait = _WAITS.get(error.status) if error.retry_after is None else error.retry_after
    if wait is not None:
        out.append((b"retry-after", b"%d" % wait))
    should_retry = False if error.should_retry is None and isinstance(error, Conflict) else error.should_retry
    if should_retry is not None:
        out.append((b"x-should-retry", b"true" if should_retry else b"false"))
    if isinstance(error, MethodNotAllowed):
        out.append((b"allow", error.allow.encode()))
    if isinstance(error, RateLimited):
        out += pairs(limit_lines(error.states))
    if error.status == 401:
        out.append((b"www-authenticate", b"Bearer"))
    tier = f"{server.header_prefix}Tier".lower().encode()
    if error.tier is not None and not any(name.lower() == tier for name, _ in out):
        out.append((tier, error.tier.encode()))
    return error.status, out, body


def pairs(lines: str) -> Headers:
    """A head's lines as ASGI wants them: pairs of name and value."""
    split = [line.partition(b": ") for line in lines.encode().split(b"\r\n") if line]
    return [(name, value) for name, _, value in split]


def error_object(error: GatewayError, request_id: str, server: ServerConfig) -> dict[str, Any]:
    """What stands under `error`, in the configured dialect; in a stream's error event, too."""
    kind = _TYPES.get(error.code, "invalid_request_error")
    if server.error_dialect == "openai":
        return {
            "message": _message(error, openai=True),
            "type": kind,
            "param": error.param,
            "code": _OPENAI_CODES.get(error.code, error.code),
        }
    fields: dict[str, Any] = {
        "code": error.code,
        "kind": error.kind,
        "message": _message(error, openai=False),
        "type": kind,
        "param": error.param,
        "request_id": request_id,
    }
    if error.retry_after is not None:
        fields["retry_after_seconds"] = error.retry_after
    return fields


def _message(error: GatewayError, openai: bool) -> str:
    if not isinstance(error, RateLimited) or error.limit is None:
        return error.message
    if openai:
        return f"Rate limit exceeded: {error.limit}. Please try again later."
    tier = "" if error.tier is None else f" on {error.tier} tier"
    wait = "" if error.retry_after is None else f"; retry in {error.retry_after}s"
    return f"{error.limit}{tier}{wait}"
