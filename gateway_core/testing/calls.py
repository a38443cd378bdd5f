"""Calls as the ledger sees them: a hold, its end, and both in one. Amounts are in units."""

from typing import Any

import msgspec

from gateway_core.money import Units
from gateway_core.store_ports import Store
from gateway_core.testing import samples
from gateway_core.types import Hold, Settlement, Usage

MONTH = "2026-11"


def hold(call_id: str = "req_1", amount: int = 100, **changes: Any) -> Hold:
    """A hold of the sample account and key, without caps."""
    made = Hold(
        id=call_id,
        account_id="acct_sample",
        bearer_id="key_sample",
        month=MONTH,
        amount=Units(amount),
        input_tokens=50,
        output_tokens=50,
        rates=samples.rates(),
        model="demo",
        tier="self-host",
        endpoint="/v1/chat/completions",
        started_at=samples.STARTED_AT,
        stream=False,
    )
    return msgspec.structs.replace(made, **changes)


def settlement(held: Hold, charge: int = 30, **changes: Any) -> Settlement:
    """The end of a call that was delivered whole, at a charge."""
    made = Settlement(
        hold=held,
        usage=Usage(input=20, output=10),
        generated=Usage(input=20, output=10),
        charge=Units(charge),
        owed=Units(charge),
        loss=Units(0),
        outcome="ok",
        stream_state=None,
        error_code=None,
        provider="demo",
        upstream_model="demo-1",
        latency_ms=12,
        ttft_ms=None,
        served_at=held.started_at + 12,
    )
    return msgspec.structs.replace(made, **changes)


async def spend(store: Store, held: Hold, charge: int) -> None:
    """One whole call."""
    await store.ledger.hold(held)
    store.ledger.open(held)
    await store.ledger.settle(settlement(held, charge))
