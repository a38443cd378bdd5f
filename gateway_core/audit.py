"""The audit record of one call: what it says, and how records are chained."""

import hashlib
from typing import TypedDict

import msgspec

from gateway_core.clock import iso
from gateway_core.money import Units, usd
from gateway_core.types import Adjustment, Outcome, Settlement, StreamState

_encode = msgspec.json.Encoder().encode


class CallRecord(TypedDict):
    """What is on record of a call: contract section 6. No prompt, no answer, no secret."""

    cost_usd: str
    tokens_input: int
    tokens_output: int
    model: str
    tier: str
    latency_ms: int
    endpoint: str
    request_id: str
    stream_state: StreamState | None
    outcome: Outcome
    error_code: str | None
    ttft_ms: int | None
    provider: str
    upstream_model: str
    key_id: str
    tokens_cached: int
    tokens_cache_write: int
    tokens_reasoning: int
    tokens_generated: int
    estimated: bool
    credit_used_usd: str
    overage_usd: str
    price_id: str
    billed_by: str
    served_at: str


def record_body(settlement: Settlement, credit_used: Units, overage: Units) -> bytes:
    """The JSON object that is stored for a call: a CallRecord."""
    hold, usage = settlement.hold, settlement.usage
    cost = usd(settlement.charge)
    record: CallRecord = {
        "cost_usd": cost,
        "tokens_input": usage.input,
        "tokens_output": usage.output,
        "model": hold.model,
        "tier": hold.tier,
        "latency_ms": settlement.latency_ms,
        "endpoint": hold.endpoint,
        "request_id": hold.id,
        "stream_state": settlement.stream_state,
        "outcome": settlement.outcome,
        "error_code": settlement.error_code,
        "ttft_ms": settlement.ttft_ms,
        "provider": settlement.provider,
        "upstream_model": settlement.upstream_model,
        "key_id": hold.bearer_id,
        "tokens_cached": usage.cached,
        "tokens_cache_write": usage.cache_write,
        "tokens_reasoning": usage.reasoning,
        "tokens_generated": settlement.generated.output,
        "estimated": usage.estimated,
        "credit_used_usd": usd(credit_used),
        "overage_usd": cost if overage == settlement.charge else usd(overage),
        "price_id": hold.rates.price_id,
        "billed_by": settlement.billed_by,
        "served_at": iso(settlement.served_at),
    }
    return _encode(record)


def adjustment_body(adjustment: Adjustment) -> bytes:
    """The JSON object that is stored for an adjustment."""
    return _encode(
        {
            "adjustment_id": adjustment.id,
            "kind": adjustment.kind,
            "amount_usd": usd(adjustment.amount),
            "month": adjustment.month,
            "why": adjustment.why,
            "who": adjustment.who,
            "refers_to": adjustment.refers_to,
            "at": iso(adjustment.at),
        }
    )


def genesis(account_id: str) -> bytes:
    """The hash that an account's chain begins with."""
    return hashlib.sha256(account_id.encode()).digest()


def link(previous: bytes, sequence: int, record_id: str, body: bytes) -> bytes:
    """h = SHA-256(previous h ‖ sequence ‖ record id ‖ SHA-256(body)); the sequence as 8 bytes, big-endian."""
    return hashlib.sha256(
        previous + sequence.to_bytes(8, "big") + record_id.encode() + hashlib.sha256(body).digest()
    ).digest()
