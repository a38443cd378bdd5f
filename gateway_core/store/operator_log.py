"""The operators' log: a line is written in the transaction of what it tells of."""

import sqlite3

import msgspec

from gateway_core.store.rows import json_text
from gateway_core.store_ports import LogEntry


def write_entry(db: sqlite3.Connection, entry: LogEntry) -> None:
    """Adds a line."""
    db.execute(
        "INSERT INTO operator_log (at, actor, action, subject, detail) VALUES (?, ?, ?, ?, ?)",
        (entry.at, entry.actor, entry.action, entry.subject, json_text(entry.detail)),
    )


def read_entries(db: sqlite3.Connection, limit: int, skip: int) -> list[LogEntry]:
    """The newest lines first, after `skip` of them."""
    rows = db.execute(
        "SELECT at, actor, action, subject, detail FROM operator_log ORDER BY number DESC LIMIT ? OFFSET ?",
        (limit, skip),
    )
    return [
        LogEntry(at, actor, action, subject, msgspec.json.decode(detail)) for at, actor, action, subject, detail in rows
    ]
