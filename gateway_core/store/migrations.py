"""Numbered migrations: applied once each, in order, and never changed afterwards."""

import hashlib
import re
import sqlite3
from collections.abc import Sequence
from importlib import resources

import msgspec

from gateway_core.errors import StoreError, StoreTooNew

_NAME = re.compile(r"(\d{4})_\w+\.sql", re.ASCII)
_TABLE = """
CREATE TABLE IF NOT EXISTS migrations (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL
) STRICT
"""


class Migration(msgspec.Struct, frozen=True):
    """One step of the schema: its number, file name and SQL."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the SQL, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def shipped() -> tuple[Migration, ...]:
    """The migrations that this program knows, in order."""
    folder = resources.files("gateway_core.store").joinpath("migrations")
    found = [
        Migration(int(match[1]), file.name, file.read_text("utf-8"))
        for file in folder.iterdir()
        if (match := _NAME.fullmatch(file.name))
    ]
    return tuple(sorted(found, key=lambda migration: migration.number))


def check(db: sqlite3.Connection, known: Sequence[Migration]) -> int:
    """The number that the database is at, 0 for an empty one. Raises StoreTooNew, StoreError for one that differs."""
    if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'migrations'").fetchone():
        return 0
    applied = db.execute("SELECT number, name, checksum FROM migrations ORDER BY number").fetchall()
    by_number = {migration.number: migration for migration in known}
    newest = max(by_number, default=0)
    for number, name, checksum in applied:
        if number > newest:
            raise StoreTooNew(
                f"The store was written by a later version of spl (its migration is {number}, this version knows "
                f"{newest}). Install that version again, or restore a backup made by this one: spl restore FILE"
            )
        if number not in by_number or by_number[number].checksum != checksum:
            raise StoreError(
                f"Migration {name} is not the one that this store was made with. The installed files were changed: "
                "reinstall spl-gateway; the store was not touched."
            )
    return applied[-1][0] if applied else 0


def migrate(db: sqlite3.Connection, now_ms: int, known: Sequence[Migration] | None = None) -> int:
    """Brings the database to the newest migration, each in a transaction of its own. Returns how many were applied."""
    known = shipped() if known is None else known
    at = check(db, known)
    pending = [migration for migration in known if migration.number > at]
    for migration in pending:
        values = f"({migration.number}, '{migration.name}', '{migration.checksum}', {now_ms:d})"
        try:
            db.executescript(
                f"BEGIN IMMEDIATE;\n{_TABLE};\n{migration.sql}\n;INSERT INTO migrations VALUES {values};\nCOMMIT;"
            )
        except sqlite3.Error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
    return len(pending)
