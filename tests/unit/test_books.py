"""A transaction of the books is durable when `commit` says so, or it says that it is not."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway_core.clock import DAY_MS, month_bounds, month_of
from gateway_core.store import connections, migrations
from gateway_core.store.books import Transaction
from gateway_core.testing.calls import hold, settlement


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "store.sqlite3"
    connections.create(path)
    with closing(connections.writing(path)) as db:
        migrations.migrate(db, 1)
    return path


@pytest.fixture
def books(path: Path) -> Iterator[Transaction]:
    with closing(Transaction(path, lambda: 1)) as made:
        yield made


def ids(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return [row[0] for row in db.execute("SELECT id FROM ledger ORDER BY id")]


def kinds(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        count: int = db.execute("SELECT count(*) FROM call_kinds").fetchone()[0]
        return count


def test_what_was_posted_is_there_once_it_is_committed(books: Transaction, path: Path) -> None:
    books.begin()
    for number in range(40):
        books.post(settlement(hold(f"req_{number:02}")))
    assert ids(path) == []
    books.commit()
    assert ids(path) == [f"req_{number:02}" for number in range(40)]


def test_a_transaction_that_an_error_has_ended_is_not_committed(books: Transaction, path: Path) -> None:
    books.begin()
    books.post(settlement(hold("req_1")))
    books.db.execute("ROLLBACK")  # as SQLite does where the disk is full
    with pytest.raises(sqlite3.OperationalError, match="over"):
        books.commit()
    books.rollback()
    assert ids(path) == []


def test_a_kind_that_was_rolled_back_is_not_believed(books: Transaction, path: Path) -> None:
    books.begin()
    books.post(settlement(hold("req_1")))
    books.rollback()
    assert kinds(path) == 0
    books.begin()
    books.post(settlement(hold("req_1")))
    books.commit()
    assert (ids(path), kinds(path)) == (["req_1"], 1)


def test_what_a_bearer_has_settled_in_a_month_is_the_sum_of_its_days(books: Transaction, path: Path) -> None:
    first, last = month_bounds("2026-11")
    days = [first - 1, first, first + 15 * DAY_MS, last - 1, last]
    books.begin()
    for number, at in enumerate(days):
        for bearer, model in (("key_1", "demo"), ("key_1", "other"), ("key_2", "demo")):
            held = hold(
                f"req_{number}_{bearer}_{model}",
                10_000,
                bearer_id=bearer,
                model=model,
                started_at=at,
                month=month_of(at),
            )
            books.post(settlement(held, 10**number))
    asked = ("acct_sample", "key_1", "2026-11")
    assert books.settled_of(asked) == 2 * 1110  # of the transaction that is still open
    books.post(settlement(hold("req_more", bearer_id="key_1"), 5))
    assert books.settled_of(asked) == 2225
    assert books.settled_of(("acct_other", "key_1", "2026-11")) == 0
    books.commit()
    with closing(Transaction(path, lambda: 1)) as later:
        later.begin()
        assert later.settled_of(asked) == 2225
        assert later.settled_of(("acct_sample", "key_2", "2026-12")) == 10_000
        later.rollback()
