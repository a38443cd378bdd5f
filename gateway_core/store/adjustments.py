"""Corrections of bills: `ports.Adjustments` on SQLite."""

import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec

from gateway_core.audit import adjustment_body
from gateway_core.clock import month_of
from gateway_core.errors import Conflict, NotFound
from gateway_core.money import usd
from gateway_core.store.books import Transaction
from gateway_core.store.committer import Committer
from gateway_core.store.directory import write
from gateway_core.store.operator_log import write_entry
from gateway_core.store.readers import Readers
from gateway_core.store_ports import LogEntry
from gateway_core.types import ADJUSTMENTS_THREAD, Adjustment

ADJUSTMENT = "id, account_id, month, kind, units, why, who, at, refers_to, sequence"
ORIGIN = "adjustment"
"""What stands in `records.origin` of an adjustment's record."""

_GIVEN = "SELECT id, units FROM adjustments WHERE account_id = ? AND refers_to = ?"


class SqliteAdjustments:
    """The adjustments of one store that is open."""

    def __init__(self, committer: Committer, readers: Readers, now_ms: Callable[[], int]) -> None:
        self._committer = committer
        self._readers = readers
        self._now_ms = now_ms

    async def add(self, adjustment: Adjustment) -> Adjustment:
        """Stores it with its record and a line in the operators' log. Raises NotFound and Conflict."""

        def change(books: Transaction) -> Adjustment:
            db = books.db
            if there := db.execute(f"SELECT {ADJUSTMENT} FROM adjustments WHERE id = ?", (adjustment.id,)).fetchone():
                return to_adjustment(there)  # its commit seemed to fail and had landed
            _check_month(db, adjustment, month_of(self._now_ms()))
            if adjustment.kind == "reversal":
                _check_reversal(db, adjustment)
            elif adjustment.refers_to is not None:
                _check_call(db, adjustment)
            record = books.append(
                adjustment.account_id, ADJUSTMENTS_THREAD, adjustment.id, adjustment_body(adjustment), ORIGIN, None
            )
            added = msgspec.structs.replace(adjustment, sequence=record.sequence)
            db.execute(
                f"INSERT INTO adjustments ({ADJUSTMENT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                msgspec.structs.astuple(added),
            )
            write_entry(db, LogEntry(added.at, added.who, f"adjustment.{added.kind}", added.account_id, _detail(added)))
            return added

        added: Adjustment = await write(self._committer, change)
        return added

    async def of_month(self, account_id: str, month: str) -> list[Adjustment]:
        """A month's adjustments, in the order in which they were made."""
        return await self._readers.run(_of_month, account_id, month)

    async def page(self, account_id: str | None = None, *, after: str = "", limit: int = -1) -> list[Adjustment]:
        """Adjustments of one account or of all, in the order of their ids, those after `after`; all where negative."""
        return await self._readers.run(_page, account_id, after, limit)


def to_adjustment(row: tuple[Any, ...]) -> Adjustment:
    """A row of ADJUSTMENT."""
    return Adjustment(*row)


def given_for(db: sqlite3.Connection, account_id: str, call_id: str) -> int:
    """Units that were given back for a call, less what was reversed of it."""
    given: list[tuple[str, int]] = db.execute(_GIVEN, (account_id, call_id)).fetchall()
    return -sum(units + reversed_of(db, account_id, adjustment_id) for adjustment_id, units in given)


def reversed_of(db: sqlite3.Connection, account_id: str, adjustment_id: str) -> int:
    """Units of an adjustment that were reversed."""
    reversals: list[tuple[str, int]] = db.execute(_GIVEN, (account_id, adjustment_id)).fetchall()
    return sum(units for _, units in reversals)


def _check_month(db: sqlite3.Connection, adjustment: Adjustment, now: str) -> None:
    row = db.execute("SELECT created_at FROM accounts WHERE id = ?", (adjustment.account_id,)).fetchone()
    if not row:
        raise NotFound(f"There is no account {adjustment.account_id}.")
    month = adjustment.month
    if month < month_of(row[0]):
        raise NotFound(f"There was no such account in {month}: it was created in {month_of(row[0])}.", param="month")
    if month > now:
        message = f"The month {month} has not begun: leave it out, and the invoice of {now} has it."
        raise Conflict(message, param="month")
    if month < now:
        raise Conflict(
            f"The month {month} has passed, and its invoice stays as it is: leave it out, and the invoice of {now} "
            "has it.",
            param="month",
        )


def _check_call(db: sqlite3.Connection, adjustment: Adjustment) -> None:
    key = (adjustment.refers_to, adjustment.account_id)
    row = db.execute("SELECT charge FROM ledger WHERE id = ? AND account_id = ?", key).fetchone()
    if not row:
        raise NotFound(f"The account has no call {adjustment.refers_to} that has ended.", param="request_id")
    left = row[0] - given_for(db, adjustment.account_id, str(adjustment.refers_to))
    if -adjustment.amount > left:
        raise Conflict(
            f"{usd(-adjustment.amount)} USD is more than is left of the call's charge: it cost {usd(row[0])} USD, and "
            f"{usd(left)} USD of that can still be given back.",
            param="amount_usd",
        )


def _check_reversal(db: sqlite3.Connection, adjustment: Adjustment) -> None:
    key = (adjustment.refers_to, adjustment.account_id)
    row = db.execute("SELECT kind, units FROM adjustments WHERE id = ? AND account_id = ?", key).fetchone()
    if not row:
        raise NotFound(f"The account has no adjustment {adjustment.refers_to}.", param="adjustment_id")
    if row[0] == "reversal":
        message = "A reversal cannot be reversed: make the refund or credit note again."
        raise Conflict(message, param="adjustment_id")
    left = -row[1] - reversed_of(db, adjustment.account_id, str(adjustment.refers_to))
    if adjustment.amount > left:
        message = f"{usd(adjustment.amount)} USD is more than is left of that adjustment, {usd(left)} USD."
        raise Conflict(message, param="amount_usd")


def _detail(adjustment: Adjustment) -> dict[str, Any]:
    return {
        "id": adjustment.id,
        "month": adjustment.month,
        "amount_usd": usd(adjustment.amount),
        "why": adjustment.why,
        "refers_to": adjustment.refers_to,
    }


def _of_month(db: sqlite3.Connection, account_id: str, month: str) -> list[Adjustment]:
    sql = f"SELECT {ADJUSTMENT} FROM adjustments WHERE account_id = ? AND month = ? ORDER BY sequence"
    return [to_adjustment(row) for row in db.execute(sql, (account_id, month))]


def _page(db: sqlite3.Connection, account_id: str | None, after: str, limit: int) -> list[Adjustment]:
    sql = f"SELECT {ADJUSTMENT} FROM adjustments WHERE id > ?"
    values: list[Any] = [after]
    if account_id is not None:
        sql += " AND account_id = ?"
        values.append(account_id)
    return [to_adjustment(row) for row in db.execute(f"{sql} ORDER BY id LIMIT ?", (*values, limit))]
