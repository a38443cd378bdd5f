"""Many rows in one statement: all of them, in their order, and NULL where a value stands for it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from gateway_core.store.inserts import Rows, inserting


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        made.execute("CREATE TABLE t (number INTEGER, text TEXT, body BLOB) STRICT")
        yield made


@pytest.mark.parametrize("count", [0, 1, 2, 3, 15, 16, 17, 32, 33, 100])
def test_every_row_is_written_in_its_order(db: sqlite3.Connection, count: int) -> None:
    rows = [(number, f"text {number}", bytearray([number])) for number in range(count)]
    inserting("t", "number, text, body").write(db.cursor(), [value for row in rows for value in row])
    assert db.execute("SELECT * FROM t ORDER BY rowid").fetchall() == [(n, t, bytes(b)) for n, t, b in rows]


def test_a_value_may_stand_for_null(db: sqlite3.Connection) -> None:
    statement = inserting("t", "number, text, body", nulls={"number": "-1", "text": "''"})
    statement.write(db.cursor(), [-1, "", b"a", 0, "-1", b"b"])
    assert db.execute("SELECT number, text FROM t ORDER BY rowid").fetchall() == [(None, None), (0, "-1")]


def test_what_is_there_may_be_left_alone_or_removed(db: sqlite3.Connection) -> None:
    db.execute("CREATE UNIQUE INDEX by_number ON t (number)")
    once = inserting("t", "number, text, body", "ON CONFLICT DO NOTHING")
    once.write(db.cursor(), [value for number in range(40) for value in (number, "first", b"")])
    once.write(db.cursor(), [value for number in range(50) for value in (number, "second", b"")])
    Rows("DELETE FROM t WHERE number IN (VALUES", "?", ")").write(db.cursor(), list(range(0, 100, 2)))
    left = db.execute("SELECT number, text FROM t ORDER BY number").fetchall()
    assert left == [(number, "first" if number < 40 else "second") for number in range(1, 50, 2)]
