"""Errors on the wire: the contract's table in both dialects, and the headers."""

import json
from typing import Any

import pytest

from gateway_core import errors
from gateway_core.config import ServerConfig
from gateway_core.edge.errors import render
from gateway_core.errors import GatewayError, RateLimited
from gateway_core.types import LimitState, Window

OURS = ServerConfig()
OPENAI = ServerConfig(error_dialect="openai")

LIMITED = ("rate_limit_error", "rate_limit_exceeded")
UNPAID, SPENT = "billing_not_active", "insufficient_quota"
INVALID = "invalid_request_error"
#: Error, status, our code, kind, OpenAI's type, OpenAI's code.
TABLE: list[tuple[GatewayError, int, str, str, str, str | None]] = [
    (errors.InvalidRequest("m", param="n"), 400, "invalid_request", "request", INVALID, None),
    (errors.InvalidBearer(), 401, "invalid_bearer", "auth", INVALID, "invalid_api_key"),
    (errors.InvalidJwtSignature(), 401, "invalid_jwt_signature", "auth", INVALID, "invalid_api_key"),
    (errors.SubscriptionRequired("m"), 402, "subscription_required", "billing", UNPAID, UNPAID),
    (errors.QuotaExceeded("m"), 402, "quota_exceeded", "billing", SPENT, SPENT),
    (errors.AccountSuspended("m"), 403, "account_suspended", "auth", INVALID, "account_deactivated"),
    (errors.InsufficientScope("m"), 403, "insufficient_scope", "auth", INVALID, "missing_scope"),
    (errors.ModelNotFound("m"), 404, "model_not_found", "request", INVALID, "model_not_found"),
    (errors.NotFound("m"), 404, "not_found", "request", INVALID, "unknown_url"),
    (errors.MethodNotAllowed("m", allow="GET"), 405, "method_not_allowed", "request", INVALID, "method_not_supported"),
    (errors.Conflict("m"), 409, "conflict", "request", INVALID, "conflict"),
    (errors.RequestTooLarge("m"), 413, "request_too_large", "request", INVALID, "request_too_large"),
    (errors.IdempotencyKeyReused("m"), 422, "idempotency_key_reused", "request", INVALID, "idempotency_key_reused"),
    (errors.RateLimited("m"), 429, "rate_limited", "usage", "rate_limit_error", "rate_limit_exceeded"),
    (errors.ProviderRateLimited("m"), 429, "provider_rate_limited", "provider", *LIMITED),
    (errors.ProviderError("m"), 503, "provider_error", "provider", "server_error", "server_error"),
    (errors.InternalError("m"), 503, "internal_error", "gateway", "server_error", "server_error"),
]


def rendered(error: GatewayError, server: ServerConfig = OURS) -> tuple[int, dict[str, str], dict[str, Any]]:
    status, headers, body = render(error, "req_1", server)
    assert len({name for name, _ in headers}) == len(headers)
    return status, {name.decode(): value.decode() for name, value in headers}, json.loads(body)["error"]


def leaves(kind: type[GatewayError]) -> set[type[GatewayError]]:
    below = {leaf for child in kind.__subclasses__() for leaf in leaves(child)}
    return below if "code" not in vars(kind) else below | {kind}


def test_every_error_is_in_the_table() -> None:
    assert {type(row[0]) for row in TABLE} == leaves(GatewayError) - {GatewayError} | {errors.InternalError}


@pytest.mark.parametrize(("error", "status", "code", "kind", "openai_type", "openai_code"), TABLE)
def test_both_dialects(
    error: GatewayError, status: int, code: str, kind: str, openai_type: str, openai_code: str | None
) -> None:
    ours = rendered(error)
    assert ours[0] == status
    assert ours[2] == {
        "code": code,
        "kind": kind,
        "message": error.message,
        "type": openai_type,
        "param": error.param,
        "request_id": "req_1",
    }
    theirs = rendered(error, OPENAI)
    assert theirs[0] == status
    assert theirs[2] == {
        "message": error.message,
        "type": openai_type,
        "param": error.param,
        "code": openai_code,
    }
    assert ours[1]["content-type"] == "application/json"
    assert ours[1].get("retry-after") == theirs[1].get("retry-after") == {429: "60", 503: "1"}.get(status)
    assert ("www-authenticate" in ours[1]) is (status == 401)


def test_a_refused_window_is_said_as_published() -> None:
    error = RateLimited(
        "m",
        limit="60 requests per minute",
        retry_after=30,
        tier="paid",
        states=[LimitState(window=Window(key="k", unit="requests", limit=60), remaining=0, reset_ms=30_000)],
    )
    _, headers, body = rendered(error)
    assert body["message"] == "60 requests per minute on paid tier; retry in 30s"
    assert body["retry_after_seconds"] == 30
    assert headers["retry-after"] == "30"
    assert headers["x-syncropic-tier"] == "paid"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-reset-requests"] == "30s"
    _, headers, body = rendered(error, OPENAI)
    assert body == {
        "message": "Rate limit exceeded: 60 requests per minute. Please try again later.",
        "type": "rate_limit_error",
        "param": None,
        "code": "rate_limit_exceeded",
    }
    assert headers["retry-after"] == "30"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RateLimited("m", should_retry=False), "false"),
        (RateLimited("m", should_retry=True), "true"),
        (RateLimited("m"), None),
        # The SDKs retry a 409, and it would be one again.
        (errors.Conflict("m"), "false"),
    ],
)
def test_whether_to_retry(error: GatewayError, expected: str | None) -> None:
    assert rendered(error)[1].get("x-should-retry") == expected


def test_other_headers_of_an_error_go_along() -> None:
    error = errors.ProviderError("m", tier="paid")
    error.headers = ((b"x-syncropic-tier", b"paid"), (b"x-more", b"1"))
    headers = rendered(error)[1]
    assert headers["x-more"] == "1"
    assert headers["x-syncropic-tier"] == "paid"


def test_a_405_says_what_there_is() -> None:
    assert rendered(errors.MethodNotAllowed("m", allow="GET, HEAD"))[1]["allow"] == "GET, HEAD"
