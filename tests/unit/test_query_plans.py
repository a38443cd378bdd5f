"""What pages read is found by keys: no statement of theirs walks through a table, however long it is."""

import sqlite3
from pathlib import Path
from typing import Any, cast

import pytest

from gateway_core.store import record_search, reports
from gateway_core.store.totals import Totals
from gateway_core.store_ports import RecordSearch, UsageGroup

SCHEMA = Path(reports.__file__).parent / "migrations" / "0001_initial.sql"


class Watched:
    """A connection to an empty store that keeps what it is asked."""

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:")
        self.db.executescript(SCHEMA.read_text())
        self.db.execute("INSERT INTO heads (account_id, sequence, hash) VALUES ('acct_1', 9, x'')")
        self.asked: list[tuple[str, Any]] = []

    def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
        """As a connection's."""
        self.asked.append((sql, values))
        return self.db.execute(sql, values)

    def cursor(self) -> sqlite3.Cursor:
        """As a connection's: what is written is not watched."""
        return self.db.cursor()

    def as_connection(self) -> sqlite3.Connection:
        """As the store's functions take it."""
        return cast("sqlite3.Connection", self)

    def plans(self) -> list[str]:
        """How SQLite goes about each statement."""
        return [row[3] for sql, values in self.asked for row in self.db.execute(f"EXPLAIN QUERY PLAN {sql}", values)]


@pytest.mark.parametrize("oldest_first", [False, True])
@pytest.mark.parametrize("more", [{}, {"model": "m", "key": "k", "outcome": "cut", "stream_state": "plain"}])
def test_a_search_is_a_range_of_the_records_key(more: dict[str, str], oldest_first: bool) -> None:
    watched = Watched()
    for days in ({}, {"since": 1, "until": 2}):
        search = RecordSearch("acct_1", oldest_first=oldest_first, **more, **days)  # type: ignore[arg-type]  # by name
        record_search.search_records(watched.as_connection(), search)
        watched.asked.append(record_search.select(search, 1, 9))
    plans = watched.plans()
    assert [plan for plan in plans if plan.startswith("SCAN") or "TEMP B-TREE" in plan] == []
    assert "SEARCH records USING INDEX sqlite_autoindex_records_1 (account_id=? AND sequence>? AND sequence<?)" in plans


@pytest.mark.parametrize("account", ["acct_1", None])
@pytest.mark.parametrize("by", [(), ("day",), ("model",), ("key",), ("account", "day")])
def test_totals_are_a_range_of_the_rollups(by: tuple[UsageGroup, ...], account: str | None) -> None:
    watched = Watched()
    reports._totals(watched.as_connection(), account, "2026-11-01", "2026-11-30", by)
    plans = watched.plans()
    assert [plan for plan in plans if plan.startswith("SCAN")] == []
    assert any(plan.startswith("SEARCH rollups_daily USING") for plan in plans)


def test_a_bearers_month_is_looked_up_day_by_day() -> None:
    watched = Watched()
    Totals(watched.as_connection()).settled_by("acct_1", "key_1", "2026-11")
    assert watched.plans() == ["SEARCH rollups_daily USING PRIMARY KEY (account_id=? AND day=? AND bearer_id=?)"]
