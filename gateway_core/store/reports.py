"""Totals from the daily rollups: `ports.Reports` on SQLite."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from gateway_core.store.readers import Readers
from gateway_core.store_ports import UsageGroup, UsageRow
from gateway_core.types import Usage

_COLUMNS = (
    "day, account_id, bearer_id, model, tier, calls, input, output, cached, cache_write, reasoning, estimated_calls, "
    "charge, credit_used, overage, owed, loss"
)
_FIELDS: dict[UsageGroup, str] = {
    "day": "day",
    "account": "account_id",
    "key": "bearer_id",
    "model": "model",
    "tier": "tier",
}
_COUNTS = slice(5, None)
"""The columns that are added up, behind those of _FIELDS."""


class SqliteReports:
    """The reports of one store that is open."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def usage(self, account_id: str | None, since_day: str, until_day: str) -> list[UsageRow]:
        """Rollups of [since_day, until_day], of one account or of all, by day."""
        return await self._readers.run(_usage, account_id, since_day, until_day)

    async def totals(
        self, account_id: str | None, since_day: str, until_day: str, by: Sequence[UsageGroup]
    ) -> list[UsageRow]:
        """Sums of [since_day, until_day] by those fields; the fields that are not named are empty."""
        return await self._readers.run_long(_totals, account_id, since_day, until_day, by)


def _totals(
    db: sqlite3.Connection, account_id: str | None, since_day: str, until_day: str, by: Sequence[UsageGroup]
) -> list[UsageRow]:
    """A row at a time: the sums are in Python, where they cannot overflow, and only they are kept."""
    sql, values = _select(account_id, since_day, until_day)
    places = [(_FIELDS[field], list(_FIELDS).index(field)) for field in by]
    sums: dict[tuple[str, ...], list[int]] = {}
    for row in db.execute(sql, values):
        counts = sums.setdefault(tuple([row[place] for _, place in places]), [0] * len(row[_COUNTS]))
        for index, cell in enumerate(row[_COUNTS]):
            counts[index] += int(cell)
    named = [name for name, _ in places]
    return [
        _to_usage((*[dict(zip(named, key, strict=True)).get(name, "") for name in _FIELDS.values()], *counts))
        for key, counts in sorted(sums.items())
    ]


def _usage(db: sqlite3.Connection, account_id: str | None, since_day: str, until_day: str) -> list[UsageRow]:
    sql, values = _select(account_id, since_day, until_day)
    return [_to_usage(row) for row in db.execute(f"{sql} ORDER BY day, account_id, bearer_id, model, tier", values)]


def _select(account_id: str | None, since_day: str, until_day: str) -> tuple[str, list[Any]]:
    sql = f"SELECT {_COLUMNS} FROM rollups_daily WHERE day >= ? AND day <= ?"  # our own names
    values: list[Any] = [since_day, until_day]
    if account_id is not None:
        sql += " AND account_id = ?"
        values.append(account_id)
    return sql, values


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
