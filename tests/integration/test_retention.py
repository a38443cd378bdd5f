"""Retention on the real store: what is past its time goes, a little at a time; chains stay whole, the ledger stays."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway_core import retention as module
from gateway_core.chain import ChainCheck
from gateway_core.clock import month_of
from gateway_core.config import RetentionConfig
from gateway_core.ids import request_id
from gateway_core.outbox import Outbox
from gateway_core.retention import Retention
from gateway_core.store.sqlite import SqliteStore
from gateway_core.store_ports import DAY_KEY, LogEntry, RecordQuery
from gateway_core.testing import calls, samples
from gateway_core.testing.clock import ManualClock
from gateway_core.types import AUDIT_THREAD, Record

DAY = 86_400.0
ACCOUNT = "acct_sample"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(samples.STARTED_AT)


@pytest.fixture
async def store(tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(tmp_path / "store.sqlite3", clock)
    await made.open()
    await made.directory.create_account(samples.account(), "test")
    yield made
    await made.close()


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 3)


def retention(store: SqliteStore, clock: ManualClock, outbox: Outbox | None = None, **days: int) -> Retention:
    return Retention(
        store, outbox or Outbox(store, (), clock), RetentionConfig(**days), clock, first=0.0, every=0.002, pause=0.0
    )


async def post(store: SqliteStore, clock: ManualClock, count: int, account_id: str = ACCOUNT) -> None:
    for _ in range(count):
        now = clock.now_ms()
        held = calls.hold(request_id(), account_id=account_id, started_at=now, month=month_of(now))
        await store.ledger.hold(held)
        await store.ledger.settle(calls.settlement(held))


async def left(store: SqliteStore, account_id: str = ACCOUNT) -> list[int]:
    """The sequences that are there, after the chain was checked from its beginning to its head."""
    ends = await store.records.ends(account_id)
    check = ChainCheck(account_id, ends.pruned_sequence, ends.pruned_hash)
    records = await store.records.read(RecordQuery(account_id=account_id))
    for record in records:
        assert check.take(record.sequence, record.id, bytes(record.body), record.hash) is None
    assert check.end(ends.sequence, ends.hash) is None
    return [record.sequence for record in records]


async def test_records_are_kept_for_ever_unless_configured(store: SqliteStore, clock: ManualClock) -> None:
    await post(store, clock, 4)
    clock.advance(3650 * DAY)
    assert await retention(store, clock).look() == {}
    assert await left(store) == [1, 2, 3, 4]


async def test_old_records_go_and_the_chain_and_the_ledger_stay(store: SqliteStore, clock: ManualClock) -> None:
    await post(store, clock, 8)
    await post(store, clock, 1, "acct_other")
    clock.advance(5 * DAY)
    await post(store, clock, 2)
    clock.advance(6 * DAY)
    assert await retention(store, clock, records_days=10).look() == {"records": 9}
    assert await left(store) == [9, 10]
    assert await left(store, "acct_other") == []
    assert (await store.ledger.month(ACCOUNT, calls.MONTH)).settled > 0
    assert await store.ledger.reconcile() == []
    # The chains go on where they were.
    await post(store, clock, 1)
    await post(store, clock, 1, "acct_other")
    assert (await left(store), await left(store, "acct_other")) == ([9, 10, 11], [2])
    clock.advance(30 * DAY)
    assert await retention(store, clock, records_days=10).look() == {"records": 4}
    assert await left(store) == []
    assert await store.ledger.reconcile() == []


async def test_nothing_goes_that_a_sink_is_still_to_be_told(store: SqliteStore, clock: ManualClock) -> None:
    async def emit(_record: Record) -> None:
        raise ConnectionError

    async def only_sample(account_id: str) -> bool:
        return account_id == ACCOUNT

    outbox = Outbox(store, [("sink", emit), ("picky", emit)], clock, {"picky": only_sample})
    await post(store, clock, 5)
    await post(store, clock, 5, "acct_other")
    for account_id in (ACCOUNT, "acct_other"):
        await store.records.advance("sink", account_id, 4)
    clock.advance(11 * DAY)
    look = retention(store, clock, outbox, records_days=10).look
    assert await look() == {"records": 4}
    assert (await left(store), await left(store, "acct_other")) == ([1, 2, 3, 4, 5], [5])
    await store.records.advance("picky", ACCOUNT, 2)
    assert await look() == {"records": 2}
    assert await left(store) == [3, 4, 5]


async def test_a_clock_that_was_set_takes_nothing_from_the_middle(store: SqliteStore, clock: ManualClock) -> None:
    await post(store, clock, 1)
    clock.jump(-20 * DAY)
    await post(store, clock, 1)
    clock.jump(20 * DAY)
    clock.advance(5 * DAY)
    assert await retention(store, clock, records_days=10).look() == {}
    assert await left(store) == [1, 2]


async def test_what_is_left_is_found_by_its_time_and_the_hours_that_passed_go(
    store: SqliteStore, clock: ManualClock, tmp_path: Path
) -> None:
    for hours in (0, 1, -3, 2, 0, 5, 30):
        clock.jump(hours * 3600.0)
        await post(store, clock, 2)
    records = await store.records.read(RecordQuery(ACCOUNT))
    clock.advance(2 * DAY)
    for upto in range(len(records) + 1):
        await store.retention.prune_records(ACCOUNT, clock.now_ms(), upto, len(records))
        for since in sorted({record.created_at // 3_600_000 * 3_600_000 for record in records}):
            found = await store.records.read(RecordQuery(ACCOUNT, AUDIT_THREAD, since=since))
            assert found == [record for record in records[upto:] if record.created_at >= since]
    with contextlib.closing(sqlite3.connect(tmp_path / "store.sqlite3")) as db:
        assert db.execute("SELECT count(*) FROM record_hours").fetchone() == (1,)


async def test_the_operators_log_day_keys_and_old_revocations_go(store: SqliteStore, clock: ManualClock) -> None:
    for _ in range(7):
        await store.directory.log(LogEntry(clock.now_ms(), "ann", "look", "x"))
    for day in ("2026-11-20", "2026-11-21", "2026-11-22"):
        await store.put_state(f"{DAY_KEY} {day}", b"secret")
    await store.put_state("limits", b"windows")
    await store.instances.revoke_jti("inst_1", "jti_1", clock.now_ms() + 1000, "ann")
    clock.advance(DAY)
    await store.directory.log(LogEntry(clock.now_ms(), "ann", "look", "new"))
    assert await retention(store, clock, operator_log_days=1, anonymous_days=2).look() == {
        "revoked_jtis": 1,
        "day_keys": 1,
    }
    clock.advance(1.0)
    assert (await retention(store, clock, operator_log_days=1).look())["operator_log"] >= 7
    assert [entry.subject for entry in await store.directory.log_entries(10)] == ["new"]
    assert await store.get_state(f"{DAY_KEY} 2026-11-20") is None
    assert await store.get_state(f"{DAY_KEY} 2026-11-21") == b"secret"
    assert await store.get_state("limits") == b"windows"


async def test_it_runs_by_itself_and_calls_go_on(store: SqliteStore, clock: ManualClock) -> None:
    await post(store, clock, 20)
    clock.advance(11 * DAY)
    running = retention(store, clock, records_days=10)
    await running.start()
    await post(store, clock, 20)
    async with asyncio.timeout(20):
        while (await store.records.ends(ACCOUNT)).pruned_sequence < 20:  # noqa: ASYNC110  # it is in the store
            await asyncio.sleep(0.002)
    await running.stop()
    assert await left(store) == list(range(21, 41))
    assert await store.ledger.reconcile() == []


async def test_an_account_that_has_no_chain_has_nothing_to_remove(store: SqliteStore) -> None:
    assert await store.retention.prune_records("acct_none", 1 << 50, None, 10) == 0
