"""Totals from the daily rollups: `ports.Reports` on SQLite."""

import sqlite3
from typing import Any

from gateway_core.ports import UsageRow
from gateway_core.store.readers import Readers
from gateway_core.types import Usage

_COLUMNS = (
    "day, account_id, bearer_id, model, tier, calls, input, output, cached, cache_write, reasoning, estimated_calls, "
    "charge, credit_used, overage, owed, loss"
)


class SqliteReports:
    """The reports of one store that is open."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def usage(self, account_id: str | None, since_day: str, until_day: str) -> list[UsageRow]:
        """Rollups of [since_day, until_day], of one account or of all, by day."""
        return await self._readers.run(_usage, account_id, since_day, until_day)


def _usage(db: sqlite3.Connection, account_id: str | None, since_day: str, until_day: str) -> list[UsageRow]:
    sql = f"SELECT {_COLUMNS} FROM rollups_daily WHERE day >= ? AND day <= ?"  # our own names
    values: list[Any] = [since_day, until_day]
    if account_id is not None:
        sql += " AND account_id = ?"
        values.append(account_id)
    sql += " ORDER BY day, account_id, bearer_id, model, tier"
    return [_to_usage(row) for row in db.execute(sql, values)]


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
