"""Rows that the bench adds to a store: as many as it says, and none that the store's own rules refuse."""

import contextlib
import sqlite3
from pathlib import Path

from gateway_core.ids import request_id
from scripts.benchmark import seeding

OWN = request_id()
SCHEMA = """
CREATE TABLE call_kinds (number INTEGER PRIMARY KEY, account_id TEXT NOT NULL, model TEXT NOT NULL);
CREATE TABLE ledger_rows (
    id TEXT PRIMARY KEY, kind INTEGER NOT NULL, sequence INTEGER NOT NULL, charge INTEGER NOT NULL
);
CREATE VIEW ledger AS SELECT id, account_id, model, sequence, charge FROM ledger_rows JOIN call_kinds ON number = kind;
CREATE TABLE records (account_id TEXT, sequence INTEGER, id TEXT, body BLOB, PRIMARY KEY (account_id, sequence));
CREATE TABLE keys (id TEXT PRIMARY KEY, digest BLOB NOT NULL UNIQUE, name TEXT NOT NULL, scopes TEXT NOT NULL);
INSERT INTO call_kinds VALUES (1, 'acct_1', 'one');
INSERT INTO ledger_rows VALUES ('an-id-of-ours', 1, 7, 55);
INSERT INTO records VALUES ('acct_1', 7, 'an-id-of-ours', x'00ff');
INSERT INTO keys VALUES ('key_1', x'01', 'one', 'inference');
"""


def store(folder: Path) -> Path:
    file = folder / "store.sqlite3"
    with sqlite3.connect(file) as db:
        db.executescript(SCHEMA.replace("an-id-of-ours", OWN))
    return file


def rows(file: Path, sql: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect(file)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def test_calls_are_copied_with_their_records_a_thousand_an_account(tmp_path: Path) -> None:
    file = store(tmp_path)
    seeding.calls(file, 0, 10)
    seeding.calls(file, 10, 1500)
    counted = "SELECT account_id, count(*), min(sequence), max(sequence) FROM {} GROUP BY 1 ORDER BY 1"
    for table in ("ledger", "records"):
        assert rows(file, counted.format(table)) == [
            ("acct_1", 1, 7, 7),
            ("acct_seed_000000000", 1000, 1, 1000),
            ("acct_seed_000000001", 500, 1, 500),
        ]
    assert rows(file, "SELECT DISTINCT charge FROM ledger") == [(55,)]
    assert rows(file, "SELECT count(*) FROM ledger JOIN records USING (id, account_id, sequence)") == [(1501,)]
    assert rows(file, "SELECT max(id) FROM ledger") == [(OWN,)]
    assert rows(file, "PRAGMA journal_mode") == [("wal",)]


def test_calls_that_were_served_in_between_are_in_nobodys_way(tmp_path: Path) -> None:
    file = store(tmp_path)
    seeding.calls(file, 0, 1000)
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("INSERT INTO call_kinds (account_id, model) VALUES ('acct_1', 'another')")
    seeding.calls(file, 1000, 2000)
    assert rows(file, "SELECT count(*), max(number) FROM call_kinds") == [(4, 2)]


def test_the_first_keys_get_the_digests_that_somebody_knows(tmp_path: Path) -> None:
    file = store(tmp_path)
    seeding.keys(file, 0, 2, [b"a", b"b", b"c"])
    seeding.keys(file, 2, 50, [b"a", b"b", b"c"])
    assert rows(file, "SELECT count(*), count(DISTINCT digest), min(scopes) FROM keys") == [(51, 51, "inference")]
    assert rows(file, "SELECT digest FROM keys WHERE id LIKE 'key_seed%' ORDER BY id LIMIT 3") == [
        (b"a",),
        (b"b",),
        (b"c",),
    ]
