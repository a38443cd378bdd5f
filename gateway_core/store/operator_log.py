"""The operators' log: a line is written in the transaction of what it tells of."""

import sqlite3

import msgspec

from gateway_core.store.rows import json_text
from gateway_core.store_ports import LogEntry

_LAST = 2**63 - 1


def write_entry(db: sqlite3.Connection, entry: LogEntry) -> None:
    """Adds a line."""
    db.execute(
        "INSERT INTO operator_log (at, actor, action, subject, detail) VALUES (?, ?, ?, ?, ?)",
        (entry.at, entry.actor, entry.action, entry.subject, json_text(entry.detail)),
    )


def read_entries(db: sqlite3.Connection, limit: int, before: int | None) -> list[LogEntry]:
    """The newest lines first; only those before the line of that number."""
    rows = db.execute(
        "SELECT at, actor, action, subject, detail, number FROM operator_log WHERE number < ? "
        "ORDER BY number DESC LIMIT ?",
        (_LAST if before is None else before, limit),
    )
    return [
        LogEntry(at, actor, action, subject, msgspec.json.decode(detail), number)
        for at, actor, action, subject, detail, number in rows
    ]
