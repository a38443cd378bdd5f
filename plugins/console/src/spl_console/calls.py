"""A call's record as pages show it, and what its outcome means in words."""

from collections.abc import Sequence

import msgspec

from gateway_core.money import parse_usd
from gateway_core.types import Record


class CallBody(msgspec.Struct, frozen=True):
    """What is read of a record's body. One that came from elsewhere need not have all of it."""

    request_id: str = ""
    model: str = ""
    tier: str = ""
    endpoint: str = ""
    key_id: str = ""
    cost_usd: str = ""
    credit_used_usd: str = ""
    overage_usd: str = ""
    tokens_input: int | None = None
    tokens_output: int | None = None
    tokens_cached: int | None = None
    tokens_cache_write: int | None = None
    tokens_reasoning: int | None = None
    latency_ms: int | None = None
    ttft_ms: int | None = None
    outcome: str = ""
    stream_state: str | None = None
    error_code: str | None = None
    provider: str = ""
    upstream_model: str = ""
    price_id: str = ""
    estimated: bool = False


_decode = msgspec.json.Decoder(CallBody).decode
_NONE = CallBody()

OUTCOMES = {"ok": "delivered whole", "cut": "cut short", "failed": "failed"}
KINDS = {"ok": "good", "cut": "warn", "failed": "bad"}

STATES = {
    "completed": "streamed to its end",
    "client_disconnect": "the client left",
    "provider_error": "the provider broke off",
    "key_revoked": "its key was revoked",
    "gateway_shutdown": "the gateway was stopped",
    "gateway_restart": "the gateway was restarted",
    "plain": "not streamed",
}

_CUT = {
    "client_disconnect": "The client closed the connection before the answer's end.",
    "provider_error": "The provider broke off in the middle of the answer.",
    "key_revoked": "The key was revoked while the answer was streamed, which ended it.",
    "gateway_shutdown": "The gateway was stopped while the answer was streamed.",
    "gateway_restart": "The gateway stopped without warning. What was delivered is known to about a second.",
}
_CHARGED = " The input is charged, and of the answer what had been delivered until then."
_FREE = " Nothing was delivered, so nothing is charged."


def body_of(record: Record) -> CallBody:
    """The record's body; an empty one where it is of another kind."""
    try:
        return _decode(record.body)
    except msgspec.MsgspecError:
        return _NONE


def cost_of(body: CallBody) -> int | None:
    """Units; None where the record does not say."""
    try:
        return parse_usd(body.cost_usd)
    except ValueError:
        return None


def in_words(body: CallBody) -> str:
    """What became of the call, and why it is charged as it is."""
    if body.outcome == "ok":
        return "The whole answer was delivered." + (" It was streamed." if body.stream_state else "")
    if body.outcome == "failed":
        why = _CUT.get(body.stream_state or "", "")
        return (why or "The call failed before anything was delivered.") + _FREE
    if body.outcome == "cut":
        return _CUT.get(body.stream_state or "", "The answer ended before its time.") + _CHARGED
    return "The record does not say what became of the call."


def rows_of(records: Sequence[Record]) -> list[tuple[Record, CallBody, int | None]]:
    """Records with what they say and what they cost."""
    bodies = [body_of(record) for record in records]
    return [(record, body, cost_of(body)) for record, body in zip(records, bodies, strict=True)]
