"""Migrations: each once, in order, never changed; a later version's store is refused with the way out."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway_core.errors import StoreError, StoreTooNew
from gateway_core.store import migrations
from gateway_core.store.migrations import Migration
from gateway_core.store.sqlite import SqliteStore
from gateway_core.testing.clock import ManualClock

FIRST = Migration(1, "0001_first.sql", "CREATE TABLE one (x INTEGER) STRICT;")
SECOND = Migration(2, "0002_second.sql", "CREATE TABLE two (x INTEGER) STRICT; INSERT INTO two VALUES (1);")


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def tables(db: sqlite3.Connection) -> set[str]:
    return {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def test_what_is_shipped_is_numbered_without_a_gap() -> None:
    numbers = [migration.number for migration in migrations.shipped()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_each_is_applied_once_and_in_order(db: sqlite3.Connection) -> None:
    assert migrations.migrate(db, 7, [FIRST]) == 1
    assert migrations.migrate(db, 8, [FIRST, SECOND]) == 1
    assert migrations.migrate(db, 9, [FIRST, SECOND]) == 0
    rows = db.execute("SELECT number, name, checksum, applied_at FROM migrations").fetchall()
    assert rows == [(1, FIRST.name, FIRST.checksum, 7), (2, SECOND.name, SECOND.checksum, 8)]


def test_one_that_fails_leaves_nothing_of_itself(db: sqlite3.Connection) -> None:
    broken = msgspec.structs.replace(SECOND, sql="CREATE TABLE half (x INTEGER) STRICT; SELECT nonsense;")
    with pytest.raises(sqlite3.OperationalError):
        migrations.migrate(db, 7, [FIRST, broken])
    assert tables(db) == {"one", "migrations"}
    assert migrations.migrate(db, 8, [FIRST, SECOND]) == 1


def test_a_changed_one_is_refused(db: sqlite3.Connection) -> None:
    migrations.migrate(db, 7, [FIRST])
    changed = msgspec.structs.replace(FIRST, sql="CREATE TABLE other (x INTEGER) STRICT;")
    with pytest.raises(StoreError, match=r"0001_first\.sql .* reinstall"):
        migrations.migrate(db, 8, [changed, SECOND])
    assert tables(db) == {"one", "migrations"}


def test_a_later_versions_store_is_refused(db: sqlite3.Connection) -> None:
    migrations.migrate(db, 7, [FIRST, SECOND])
    with pytest.raises(StoreTooNew, match="Install that version again, or restore a backup"):
        migrations.migrate(db, 8, [FIRST])


async def test_the_store_refuses_a_later_versions_file_and_leaves_it_as_it_was(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite3", ManualClock())
    await store.open()
    await store.close()
    path = tmp_path / "store.sqlite3"
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO migrations VALUES (9999, '9999_later.sql', 'x', 1)")
    db.close()
    with pytest.raises(StoreTooNew, match="9999"):
        await SqliteStore(tmp_path / "store.sqlite3", ManualClock()).open()


def test_facts_cannot_be_changed_or_removed(db: sqlite3.Connection) -> None:
    migrations.migrate(db, 7)
    db.execute("INSERT INTO credit_grants VALUES ('a', '2026-11', 5, 1)")
    db.execute("INSERT INTO rates (body) VALUES ('{}')")
    db.execute("INSERT INTO adjustments VALUES ('adj', 'a', '2026-11', 'refund', 5, 'why', 'who', NULL, 1, 1)")
    db.execute("INSERT INTO records VALUES ('a', 1, 't', 'r', 1, NULL, x'00', x'00', 'ledger')")
    for table in ("ledger_rows", "call_kinds"):
        columns = [row[1:3] for row in db.execute(f"PRAGMA table_info({table})")]
        zeroes = ["x" if kind == "TEXT" else 0 for _, kind in columns]
        db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(zeroes))})", zeroes)  # noqa: S608  # only places
    for table, column in (
        ("ledger_rows", "charge"),
        ("call_kinds", "model"),
        ("adjustments", "units"),
        ("credit_grants", "amount"),
        ("rates", "body"),
        ("records", "body"),
    ):
        with pytest.raises(sqlite3.IntegrityError):
            db.execute(f"UPDATE {table} SET {column} = {column}")  # noqa: S608  # names from above
        with pytest.raises(sqlite3.IntegrityError):
            db.execute(f"DELETE FROM {table}")  # noqa: S608  # names from above


def test_retention_may_remove_the_beginning_of_a_chain_once_its_head_says_so(db: sqlite3.Connection) -> None:
    migrations.migrate(db, 7)
    for sequence in (1, 2):
        db.execute(
            "INSERT INTO records VALUES ('a', ?, 't', ?, 1, NULL, x'00', x'00', 'ledger')", (sequence, f"r{sequence}")
        )
    db.execute("INSERT INTO heads VALUES ('a', 2, x'00', 1, x'00')")
    db.execute("DELETE FROM records WHERE sequence = 1")
    with pytest.raises(sqlite3.IntegrityError, match="retention"):
        db.execute("DELETE FROM records WHERE sequence = 2")
