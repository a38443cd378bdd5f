"""One of each noun, whole and plausible, so that a test states only what it is about."""

from typing import Any

import msgspec

from gateway_core.money import Units
from gateway_core.store_ports import UsageGroup
from gateway_core.types import (
    AUDIT_THREAD,
    Account,
    Call,
    ChatRequest,
    Principal,
    Rates,
    Record,
)

EVERY_GROUP: tuple[UsageGroup, ...] = ("day", "account", "key", "model", "tier")
"""What totals may be of, all at once: a row each daily rollup."""

STARTED_AT = 1_795_305_600_000
"""2026-11-22T00:00:00Z."""


def account(**changes: Any) -> Account:
    """An account without cap or limits."""
    return msgspec.structs.replace(Account("acct_sample", "sample", STARTED_AT), **changes)


def principal(**changes: Any) -> Principal:
    """A user key with the inference scope."""
    made = Principal("acct_sample", "user_key", "key_sample", frozenset({"inference"}))
    return msgspec.structs.replace(made, **changes)


def request(model: str = "demo", **changes: Any) -> ChatRequest:
    """A plain request of one message."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    return msgspec.structs.replace(ChatRequest(model, body, len(msgspec.json.encode(body))), **changes)


def call(model: str = "demo", **changes: Any) -> Call:
    """A call of that account's for a model."""
    made = Call(
        id="req_00000000000000000000000000",
        principal=principal(),
        account=account(),
        request=request(model),
        endpoint="/v1/chat/completions",
        started_at=STARTED_AT,
        month="2026-11",
    )
    return msgspec.structs.replace(made, **changes)


def rates(**changes: Any) -> Rates:
    """Rates of 1 unit a token in every class."""
    one = Units(1)
    return msgspec.structs.replace(Rates("sample×1", "1", one, one, one, one, one, one, one, one), **changes)


def record(**changes: Any) -> Record:
    """An audit record with a small body."""
    made = Record("rec_1", "acct_sample", AUDIT_THREAD, 1, STARTED_AT, msgspec.Raw(b'{"cost_usd":"0"}'), "00" * 32)
    return msgspec.structs.replace(made, **changes)
