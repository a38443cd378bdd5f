"""`spl`, but no answer waits for its commit: what the durable wait costs, beside the gateway that has it.

For the bench alone, which starts it in place of `spl`; no setting of the gateway loosens the wait. Everything is
written as ever, only later than its answer.
"""

import asyncio
from typing import Any

from gateway_core.cli import main
from gateway_core.money import Units
from gateway_core.store import sqlite
from gateway_core.store.ledger import SqliteLedger
from gateway_core.store_ports import KeptAnswer
from gateway_core.types import Hold, Settled, Settlement


class UnwaitedLedger(SqliteLedger):
    """The ledger, whose futures are done before their rows are on disk."""

    def open(self, hold: Hold) -> "asyncio.Future[Any]":
        """Nothing to wait for."""
        super().open(hold)
        return _done(None)

    def settle(self, settlement: Settlement, answer: KeptAnswer | None = None) -> "asyncio.Future[Settled]":
        """How credit and overage divide it, and its place in the chain, nobody asks of the answer to a call."""
        super().settle(settlement, answer)
        return _done(Settled(settlement.hold.id, settlement.charge, Units(0), Units(0), 0))


def _done(result: Any) -> "asyncio.Future[Any]":
    future = asyncio.get_running_loop().create_future()
    future.set_result(result)
    return future


if __name__ == "__main__":
    sqlite.SqliteLedger = UnwaitedLedger  # type: ignore[attr-defined]  # the one place that makes it
    main()
