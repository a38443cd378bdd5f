"""Totals from the daily rollups: `ports.Reports` on SQLite."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from gateway_core.money import UNITS_PER_USD
from gateway_core.store.readers import Readers
from gateway_core.store_ports import UsageGroup, UsageRow
from gateway_core.types import Usage

_FIELDS: dict[UsageGroup, str] = {
    "day": "day",
    "account": "account_id",
    "key": "bearer_id",
    "model": "model",
    "tier": "tier",
}
_COUNTS = ("calls", "input", "output", "cached", "cache_write", "reasoning", "estimated_calls")
_AMOUNTS = ("charge", "credit_used", "overage", "owed", "loss")
# An amount is text, since it may pass 64 bits. Its dollars and what is behind the point are added each by themselves,
# which cannot.
_SUMS = ", ".join(
    [f"sum({name})" for name in _COUNTS]
    + [
        f"sum(CAST(substr({name}, 1, length({name}) - 12) AS INTEGER)), sum(CAST(substr({name}, -12) AS INTEGER))"
        for name in _AMOUNTS
    ]
)


class SqliteReports:
    """The reports of one store that is open."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def totals(
        self, account_id: str | None, since_day: str, until_day: str, by: Sequence[UsageGroup]
    ) -> list[UsageRow]:
        """Sums of [since_day, until_day] by those fields; the fields that are not named are empty."""
        return await self._readers.run_long(_totals, account_id, since_day, until_day, by)


def _totals(
    db: sqlite3.Connection, account_id: str | None, since_day: str, until_day: str, by: Sequence[UsageGroup]
) -> list[UsageRow]:
    """SQLite adds up, so only sums come to Python."""
    names = [_FIELDS[field] for field in by]
    fields = [name if name in names else f"'' AS {name}" for name in _FIELDS.values()]
    where, values = _where(account_id, since_day, until_day)
    order = f" GROUP BY {', '.join(names)} ORDER BY {', '.join(names)}" if names else ""
    found = db.execute(f"SELECT {', '.join(fields)}, {_SUMS} FROM rollups_daily{where}{order}", values)
    rows: list[UsageRow] = []
    for row in found:
        texts, counts, amounts = row[:5], row[5:12], row[12:]
        if counts[0] is None:
            return []  # a sum of nothing
        whole = [high * UNITS_PER_USD + low for high, low in zip(amounts[::2], amounts[1::2], strict=True)]
        rows.append(_to_usage((*texts, *counts, *whole)))
    return rows


def _where(account_id: str | None, since_day: str, until_day: str) -> tuple[str, list[Any]]:
    """Which rollups, and the values for it."""
    if account_id is None:
        return " WHERE day >= ? AND day <= ?", [since_day, until_day]
    return " WHERE account_id = ? AND day >= ? AND day <= ?", [account_id, since_day, until_day]


def _to_usage(row: tuple[Any, ...]) -> UsageRow:
    day, account_id, bearer_id, model, tier, calls, input_, output, cached, cache_write, reasoning, estimated = row[:12]
    charge, credit_used, overage, owed, loss = map(int, row[12:])
    return UsageRow(
        day=day,
        account_id=account_id,
        bearer_id=bearer_id,
        model=model,
        tier=tier,
        calls=calls,
        usage=Usage(input_, output, cached, cache_write, reasoning, bool(estimated)),
        charge=charge,
        credit_used=credit_used,
        overage=overage,
        owed=owed,
        loss=loss,
    )
