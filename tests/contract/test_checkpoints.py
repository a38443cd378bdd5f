"""The log of checkpoints: as small as what counts, whole after a failure, and read from the versions before."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway_core.errors import StoreError
from gateway_core.settle import Settler
from gateway_core.store import connections, migrations
from gateway_core.store.committer import Op
from gateway_core.store.ledger import LOG_BESIDES
from gateway_core.store.rows import decode_checkpoints
from gateway_core.store.sqlite import SqliteStore
from gateway_core.testing import samples
from gateway_core.testing.calls import hold, settlement
from gateway_core.testing.clock import ManualClock
from gateway_core.types import Checkpoint

BEFORE = Path(__file__).with_name("store_version_2.sql")
STREAMS = 12


def mark(number: int, output: int) -> Checkpoint:
    return Checkpoint(f"req_{number}", "demo", "demo-1", 20, output, 0, 0, 0, True, 5)


async def opened(path: Path) -> SqliteStore:
    store = SqliteStore(path, ManualClock(samples.STARTED_AT))
    await store.open()
    return store


async def begun(store: SqliteStore, number: int) -> None:
    held = hold(f"req_{number}", stream=True)
    await store.ledger.hold(held)
    await store.ledger.open(held)


def logged(path: Path) -> list[list[Checkpoint]]:
    """The log's rows."""
    with closing(sqlite3.connect(path)) as db:
        return [decode_checkpoints(row) for (row,) in db.execute("SELECT rows FROM checkpoints ORDER BY number")]


async def reached(path: Path) -> dict[str, int | None]:
    """What the next start finds of each call that is open."""
    store = await opened(path)
    try:
        orphans = await store.ledger.orphans()
    finally:
        await store.close()
    return {orphan.hold.id: orphan.checkpoint.output if orphan.checkpoint else None for orphan in orphans}


STEPS = st.lists(
    st.tuples(st.sampled_from(["moves", "moves", "moves", "ends"]), st.sets(st.integers(0, STREAMS - 1), min_size=1)),
    max_size=30,
)


@given(STEPS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
async def test_the_next_start_finds_the_newest_of_each_whatever_moved_when(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, set[int]]]
) -> None:
    path = tmp_path_factory.mktemp("home") / "store.sqlite3"
    store = await opened(path)
    newest: dict[str, int | None] = {f"req_{number}": None for number in range(STREAMS)}
    for number in range(STREAMS):
        await begun(store, number)
    for output, (step, numbers) in enumerate(steps):
        if step == "moves":
            await store.ledger.checkpoint([mark(number, output) for number in numbers])
            newest |= {f"req_{number}": output for number in numbers if f"req_{number}" in newest}
        else:
            for number in numbers:
                newest.pop(f"req_{number}", None)
                await store.ledger.settle(settlement(hold(f"req_{number}", stream=True), 1))
    await store.close()
    assert await reached(path) == newest


async def test_what_is_written_follows_from_what_moves_and_the_log_stays_small(tmp_path: Path) -> None:
    path, streams = tmp_path / "store.sqlite3", 300
    store = await opened(path)
    for number in range(streams):
        await begun(store, number)
    await store.ledger.checkpoint([mark(number, 0) for number in range(streams)])
    sizes: Counter[int] = Counter()
    for beat in range(1, 200):
        await store.ledger.checkpoint([mark(beat % streams, beat), mark((beat + 7) % streams, beat)])
        rows = logged(path)
        sizes[len(rows[-1])] += 1
        assert sum(map(len, rows)) <= 2 * streams + LOG_BESIDES
        assert len({one.id for row in rows for one in row}) == streams
    assert sizes[streams] <= 2
    assert sizes[2] >= 197
    await store.close()


async def test_after_a_failure_the_next_row_has_what_it_was_to_write_though_nothing_has_moved_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.sqlite3"
    store = await opened(path)
    for number in range(3):
        await begun(store, number)
    await store.ledger.checkpoint([mark(0, 1), mark(1, 1)])
    failing = sqlite3.OperationalError("as it was asked for")

    def fail(op: Op, books: Any) -> None:
        raise failing

    with monkeypatch.context() as patched:
        patched.setattr("gateway_core.store.ledger.CheckpointOp.apply", fail)
        with pytest.raises(StoreError):
            await store.ledger.checkpoint([mark(1, 2), mark(2, 2)])
    await store.ledger.checkpoint([])
    assert [sorted(one.output for one in row) for row in logged(path)] == [[1, 2, 2]]
    await store.ledger.checkpoint([mark(0, 3)])
    assert [len(row) for row in logged(path)] == [3, 1]
    await store.close()


# ---------------------------------------------------------------- a store of the version before


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A store as the second version left it when it was killed."""
    path = tmp_path / "store.sqlite3"
    connections.create(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for migration in migrations.shipped()[:2]:
            db.executescript(migration.sql)
        db.executescript(
            "CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, "
            "applied_at INTEGER NOT NULL) STRICT;" + BEFORE.read_text("utf-8")
        )
    return path


async def test_what_the_version_before_left_open_is_found_with_its_checkpoints(before: Path) -> None:
    assert await reached(before) == {"req_1": 30, "req_2": 9, "req_4": None, "req_5": None}
    store = await opened(before)  # and again: looking has changed nothing
    second = next(orphan for orphan in await store.ledger.orphans() if orphan.hold.id == "req_2")
    assert second.checkpoint == Checkpoint("req_2", "demo", "demo-1", 20, 9, 1, 2, 3, False, None)
    assert second.hold == hold("req_2", stream=True)
    await store.close()


async def test_what_the_version_before_left_open_is_billed_by_its_checkpoints_once(before: Path) -> None:
    store = await opened(before)
    nobody: Any = None
    settler = Settler(store, nobody, nobody, ManualClock(samples.STARTED_AT + 1000))
    assert await settler.recover() == 4
    calls = [await store.ledger.find(f"req_{number}") for number in (1, 2, 4, 5)]
    billed = [(call.settlement.outcome, call.settlement.usage.output, call.settlement.charge) for call in calls if call]
    assert billed == [("cut", 30, 50), ("cut", 9, 29), ("failed", 0, 0), ("failed", 0, 0)]
    assert await store.ledger.reconcile() == []
    await store.close()
    assert await reached(before) == {}
    store = await opened(before)
    assert logged(before) == []
    await store.close()
