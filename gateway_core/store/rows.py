"""Structs ↔ rows: the columns of a ledger row in one place, and the JSON and msgpack inside cells."""

from typing import Any, cast

import msgspec

from gateway_core.money import Units
from gateway_core.store.inserts import inserting
from gateway_core.store_ports import CallRow
from gateway_core.types import Checkpoint, Hold, Outcome, Rates, Record, Settled, Settlement, StreamState, Usage

LEDGER_COLUMNS = (
    "id, account_id, bearer_id, month, model, tier, endpoint, stream, started_at, hold_amount, hold_input, "
    "hold_output, account_cap, bearer_cap, provider, upstream_model, input, output, cached, cache_write, reasoning, "
    "estimated, generated_input, generated_output, generated_cached, generated_cache_write, generated_reasoning, "
    "generated_estimated, charge, owed, loss, credit_used, overage, rates, price_id, markup, outcome, stream_state, "
    "error_code, latency_ms, ttft_ms, served_at, billed_by, acknowledged_bytes, sequence"
)
NO_COUNT, NO_TEXT = -1, ""
"""What stands for None in the tables behind the view `ledger`."""
_ROW_COLUMNS = (
    "id, kind, started_at, hold_amount, hold_input, hold_output, input, output, cached, cache_write, reasoning, "
    "charge, owed, loss, credit_used, latency_ms, ttft_ms, served_at, acknowledged_bytes, sequence"
)
INSERT_LEDGER = inserting("ledger_rows", _ROW_COLUMNS)
INSERT_GENERATED = inserting(
    "ledger_rows",
    f"{_ROW_COLUMNS}, generated_input, generated_output, generated_cached, generated_cache_write, generated_reasoning",
)
"""For calls of which the provider made something else than was delivered."""
_QUALIFIED = ", ".join(f"l.{column}" for column in LEDGER_COLUMNS.split(", "))
SELECT_LEDGER = f"SELECT {_QUALIFIED}, r.body FROM ledger l JOIN rates r ON r.number = l.rates"  # constants
"""Ends with the columns that `call_row` reads; a WHERE may follow."""

RECORD_COLUMNS = "id, account_id, thread, sequence, created_at, body, hash"
"""What `to_record` reads."""

HOUR_MS = 3_600_000
"""Records are found by time to the hour."""

pack = msgspec.msgpack.Encoder().encode
"""A struct as the bytes of a cell, or a list of what was packed before, as Raw."""
decode_hold = msgspec.msgpack.Decoder(Hold).decode
decode_checkpoints = msgspec.msgpack.Decoder(list[Checkpoint]).decode
_encode_json = msgspec.json.Encoder(order="deterministic").encode
_decode_rates = msgspec.json.Decoder(Rates).decode


def json_text(value: Any) -> str:
    """A value as JSON text, the same for equal values."""
    return _encode_json(value).decode()


def ledger_row(settlement: Settlement, kind: int, credit_used: int, sequence: int) -> tuple[int | str, ...]:
    """The values that INSERT_LEDGER takes. `kind` is the number of the row in `call_kinds`."""
    hold, usage = settlement.hold, settlement.usage
    ttft, acknowledged = settlement.ttft_ms, settlement.acknowledged_bytes
    return (
        hold.id,
        kind,
        hold.started_at,
        hold.amount,
        hold.input_tokens,
        hold.output_tokens,
        usage.input,
        usage.output,
        usage.cached,
        usage.cache_write,
        usage.reasoning,
        settlement.charge,
        settlement.owed,
        settlement.loss,
        credit_used,
        settlement.latency_ms,
        NO_COUNT if ttft is None else ttft,
        settlement.served_at,
        NO_COUNT if acknowledged is None else acknowledged,
        sequence,
    )


def counted(usage: Usage) -> tuple[int, ...]:
    """What INSERT_GENERATED takes besides."""
    return (usage.input, usage.output, usage.cached, usage.cache_write, usage.reasoning)


def call_row(row: tuple[Any, ...]) -> CallRow:
    """A row of SELECT_LEDGER as the settlement that it was, its split and its place."""
    (
        call_id, account_id, bearer_id, month, model, tier, endpoint, stream, started_at, hold_amount, hold_input,
        hold_output, account_cap, bearer_cap, provider, upstream_model, input_, output, cached, cache_write, reasoning,
        estimated, g_input, g_output, g_cached, g_cache_write, g_reasoning, g_estimated, charge, owed, loss,
        credit_used, overage, _rates, _price_id, _markup, outcome, stream_state, error_code, latency_ms, ttft_ms,
        served_at, billed_by, acknowledged_bytes, sequence, rates,
    ) = row  # fmt: skip
    hold = Hold(
        id=call_id,
        account_id=account_id,
        bearer_id=bearer_id,
        month=month,
        amount=hold_amount,
        input_tokens=hold_input,
        output_tokens=hold_output,
        rates=_decode_rates(rates),
        model=model,
        tier=tier,
        endpoint=endpoint,
        started_at=started_at,
        stream=bool(stream),
        account_cap=account_cap,
        bearer_cap=bearer_cap,
    )
    settlement = Settlement(
        hold=hold,
        usage=Usage(input_, output, cached, cache_write, reasoning, bool(estimated)),
        generated=Usage(g_input, g_output, g_cached, g_cache_write, g_reasoning, bool(g_estimated)),
        charge=charge,
        owed=owed,
        loss=loss,
        outcome=cast("Outcome", outcome),
        stream_state=cast("StreamState | None", stream_state),
        error_code=error_code,
        provider=provider,
        upstream_model=upstream_model,
        latency_ms=latency_ms,
        ttft_ms=ttft_ms,
        served_at=served_at,
        billed_by=billed_by,
        acknowledged_bytes=acknowledged_bytes,
    )
    return CallRow(settlement, Settled(call_id, charge, credit_used, overage, sequence, first=False))


def to_record(row: tuple[Any, ...]) -> Record:
    """A row of RECORD_COLUMNS."""
    return Record(row[0], row[1], row[2], row[3], row[4], msgspec.Raw(row[5]), row[6].hex())


def units(value: int | str | None) -> Units:
    """An amount from a cell; an empty one is 0."""
    return Units(int(value or 0))
