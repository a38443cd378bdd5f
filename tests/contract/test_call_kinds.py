"""Calls alike name one kind: what the ledger says of a call does not depend on it, nor on the version that wrote it."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway_core.clock import month_bounds
from gateway_core.money import Units
from gateway_core.store import connections, migrations
from gateway_core.store.sqlite import SqliteStore
from gateway_core.testing import samples
from gateway_core.testing.calls import hold, settlement
from gateway_core.testing.clock import ManualClock
from gateway_core.types import Settlement, Usage

BEFORE = Path(__file__).with_name("store_version_1.sql")
LEDGER = "SELECT * FROM ledger ORDER BY id"

Rows = list[dict[str, Any]]


def rows(db: sqlite3.Connection, sql: str) -> Rows:
    cursor = db.execute(sql)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def kinds(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        count: int = db.execute("SELECT count(*) FROM call_kinds").fetchone()[0]
        return count


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "store.sqlite3"
    connections.create(path)
    return path


@pytest.fixture
def before(path: Path) -> Rows:
    """A store as the first version left it: its ledger."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(migrations.shipped()[0].sql)
        db.executescript(
            "CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, "
            "applied_at INTEGER NOT NULL) STRICT;" + BEFORE.read_text("utf-8")
        )
        return rows(db, LEDGER)


async def opened(path: Path) -> SqliteStore:
    store = SqliteStore(path, ManualClock(samples.STARTED_AT))
    await store.open()
    return store


async def test_a_ledger_of_the_version_before_says_what_it_said(path: Path, before: Rows) -> None:
    store = await opened(path)
    with closing(sqlite3.connect(path)) as db:
        assert rows(db, LEDGER) == before
    assert len(before) == 9
    assert kinds(path) == 8  # two of the nine are alike
    assert await store.ledger.reconcile() == []
    found = await store.ledger.find("req_5")
    assert found is not None
    assert (found.settlement.outcome, found.settlement.ttft_ms, found.settlement.acknowledged_bytes) == ("cut", 0, 0)
    assert (found.settlement.usage, found.settlement.generated) == (
        Usage(20, 9, estimated=True),
        Usage(20, 44, 1, 2, 3),
    )
    assert await store.ledger.lost(samples.account().id, 0) == 7
    assert [call.hold for call in await store.ledger.orphans()] == [hold("req_open", stream=True)]
    await store.close()


async def test_its_accounts_go_on_where_they_were(path: Path, before: Rows) -> None:
    store = await opened(path)
    again = await store.ledger.settle(settlement(hold("req_2"), 30))
    assert (again.first, again.credit_used, again.overage) == (False, 10, 20)
    new = await store.ledger.settle(settlement(hold("req_x"), 5))
    assert (new.first, new.credit_used, new.sequence) == (True, 0, 9)
    assert kinds(path) == 8
    assert await store.ledger.reconcile() == []
    await store.close()


async def test_its_bearers_caps_count_what_they_had_settled(path: Path, before: Rows) -> None:
    with closing(sqlite3.connect(path)) as db:
        had = rows(db, "SELECT * FROM bearer_months ORDER BY month")
    store = await opened(path)
    held = {"180": 100, "30": 0}  # by the call that was open
    for number, row in enumerate(had):
        began = month_bounds(row["month"])[0]
        capped = hold(f"req_x{number}", bearer_id=row["bearer_id"], month=row["month"], started_at=began)
        capped = msgspec.structs.replace(capped, bearer_cap=Units(1000))
        assert await store.ledger.headroom(capped) == 1000 - int(row["settled"]) - held.pop(row["settled"])
    assert not held
    await store.close()


@pytest.mark.parametrize("table", ["ledger", "ledger_rows", "call_kinds"])
async def test_nothing_of_a_settled_call_is_changed_or_removed(path: Path, before: Rows, table: str) -> None:
    await (await opened(path)).close()
    column = "month" if table == "call_kinds" else "charge"
    with closing(sqlite3.connect(path)) as db:
        for statement in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):  # noqa: S608  # from above
            with pytest.raises(sqlite3.Error, match=r"settled call|view"):
                db.execute(statement)


OWN: tuple[dict[str, Any], ...] = (
    {},
    {"charge": 0},
    {"usage": Usage(1, 2, 3, 4, 5), "generated": Usage(1, 2, 3, 4, 5)},
    {"generated": Usage(20, 11)},
    {"latency_ms": 99, "ttft_ms": 3, "acknowledged_bytes": 5, "owed": Units(1), "loss": Units(2)},
)
APART: tuple[dict[str, Any], ...] = (
    {"outcome": "cut"},
    {"stream_state": "key_revoked"},
    {"error_code": "upstream_timeout"},
    {"provider": "other"},
    {"upstream_model": "demo-2"},
    {"usage": Usage(20, 10, estimated=True)},
    {"generated": Usage(20, 10, estimated=True)},
    {"billed_by": "upstream"},
)
HELD_APART: tuple[dict[str, Any], ...] = (
    {"account_cap": Units(10_000)},
    {"bearer_cap": Units(10_000)},
    {"stream": True},
    {"tier": "cloud"},
    {"model": "other"},
    {"endpoint": "/v1/other"},
    {"bearer_id": "key_other"},
    {"rates": samples.rates(markup="2")},
)


def all_sorts() -> list[Settlement]:
    """Calls of one kind with everything of their own, and calls that each differ from these in one thing."""
    made = [settlement(hold(f"req_own_{number}"), **changes) for number, changes in enumerate(OWN)]
    made += [settlement(hold(f"req_apart_{number}"), **changes) for number, changes in enumerate(APART)]
    made += [settlement(hold(f"req_held_{number}", **changes)) for number, changes in enumerate(HELD_APART)]
    return made


@pytest.mark.parametrize("window_ms", [0, 50])
async def test_every_call_is_found_as_it_was_settled(path: Path, window_ms: float) -> None:
    store = SqliteStore(path, ManualClock(samples.STARTED_AT), window_ms)
    await store.open()
    sorts = all_sorts()
    for one, settled in zip(sorts, await asyncio.gather(*map(store.ledger.settle, sorts)), strict=True):
        found = await store.ledger.find(one.hold.id)
        assert found is not None
        assert found.settlement == one
        assert msgspec.structs.replace(found.settled, first=True) == settled
    assert kinds(path) == 1 + len(APART) + len(HELD_APART)
    assert await store.ledger.reconcile() == []
    await store.close()


async def test_a_kind_is_found_again_after_a_start(path: Path) -> None:
    for turn in range(2):
        store = await opened(path)
        for number in range(3):
            await store.ledger.settle(settlement(hold(f"req_{turn}_{number}"), 7))
        assert await store.ledger.reconcile() == []
        await store.close()
    assert kinds(path) == 1
