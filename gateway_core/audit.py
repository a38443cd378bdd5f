"""The audit record of one call: what it says, and how records are chained."""

import hashlib
from typing import ClassVar, TypedDict

import msgspec

from gateway_core.clock import iso
from gateway_core.money import Units, usd
from gateway_core.types import Adjustment, Outcome, Settlement, StreamState

_encode = msgspec.json.Encoder().encode
_TEXT, _COUNT, _JSON = msgspec.Raw(b'"\0b"'), msgspec.Raw(b"\0d"), msgspec.Raw(b"\0b")
"""Places for a string, an integer and what is JSON already. The zero, a byte that JSON has nowhere, stands for %."""


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
    return _encode(_call_record(settlement, credit_used, overage))


def _call_record(settlement: Settlement, credit_used: Units, overage: Units) -> CallRecord:
    hold, usage = settlement.hold, settlement.usage
    cost = usd(settlement.charge)
    return {
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


class RecordForm:
    """The records of calls alike, filled in: `record_body` for settlements that differ only in what a call has of its
    own. Most of such a record's bytes are written once."""

    __slots__ = ("_template",)

    OWN: ClassVar = {
        "cost_usd": _TEXT, "tokens_input": _COUNT, "tokens_output": _COUNT, "latency_ms": _COUNT, "request_id": _TEXT,
        "ttft_ms": _JSON, "tokens_cached": _COUNT, "tokens_cache_write": _COUNT, "tokens_reasoning": _COUNT,
        "tokens_generated": _COUNT, "credit_used_usd": _TEXT, "overage_usd": _TEXT, "served_at": _TEXT,
    }  # fmt: skip
    """What a call has of its own, in the record's order."""

    def __init__(self, settlement: Settlement) -> None:
        form = _encode({**_call_record(settlement, Units(0), Units(0)), **self.OWN})
        #: The record with a place for each value of OWN. What is made of a bytearray is one, and bound as it is.
        self._template = bytearray(form.replace(b"%", b"%%").replace(b"\0", b"%"))

    def body(self, settlement: Settlement, credit_used: int, overage: int) -> bytearray:
        """The record of one of them. Its request id is one of ours (`ids`): JSON need not escape it."""
        usage, ttft, charge = settlement.usage, settlement.ttft_ms, settlement.charge
        cost = usd(charge).encode()
        return self._template % (  # type: ignore[return-value]  # typeshed has it that bytes are made of it
            cost,
            usage.input,
            usage.output,
            settlement.latency_ms,
            settlement.hold.id.encode(),
            b"null" if ttft is None else b"%d" % ttft,
            usage.cached,
            usage.cache_write,
            usage.reasoning,
            settlement.generated.output,
            usd(credit_used).encode() if credit_used else b"0",
            cost if overage == charge else usd(overage).encode(),
            iso(settlement.served_at).encode(),
        )


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


def link(previous: bytes, sequence: int, record_id: str, body: bytes | bytearray) -> bytes:
    """h = SHA-256(previous h ‖ sequence ‖ record id ‖ SHA-256(body)); the sequence as 8 bytes, big-endian."""
    parts = previous, sequence.to_bytes(8, "big"), record_id.encode(), hashlib.sha256(body).digest()
    return hashlib.sha256(b"".join(parts)).digest()
