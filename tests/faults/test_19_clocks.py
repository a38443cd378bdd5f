"""Fault 19: the wall clock jumps by an hour, a month ends, a leap day comes: one UTC period a call, limits unmoved.

The limiter's own cases are in gateway_core/testing/limiter_suite.py; a month's end in the whole line in
tests/integration/test_month.py.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway_core.clock import day_of, month_bounds, month_of
from gateway_core.errors import QuotaExceeded
from gateway_core.store.sqlite import SqliteStore
from gateway_core.testing.calls import hold, settlement
from gateway_core.testing.clock import ManualClock

HOUR = 3600


def instant(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(instant("2028-02-28T23:30:00"))


@pytest.fixture
async def store(tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "store.sqlite3", clock)
    await opened.open()
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    ("at", "month", "day"),
    [
        ("2028-02-29T23:59:59.999", "2028-02", "2028-02-29"),
        ("2028-03-01T00:00:00", "2028-03", "2028-03-01"),
        ("2027-02-28T23:59:59.999", "2027-02", "2027-02-28"),
        ("2026-12-31T23:59:59.999", "2026-12", "2026-12-31"),
        ("2027-01-01T00:00:00", "2027-01", "2027-01-01"),
        ("2026-03-29T01:30:00", "2026-03", "2026-03-29"),  # an hour that European clocks do not have
        ("2026-10-25T01:30:00", "2026-10", "2026-10-25"),  # and one that they have twice
    ],
)
def test_19_every_instant_is_in_one_utc_month_and_day(at: str, month: str, day: str) -> None:
    found = instant(at)
    assert (month_of(found), day_of(found)) == (month, day)
    begins, ends = month_bounds(month)
    assert begins <= found < ends


async def test_19_a_call_over_a_month_s_end_is_billed_once_in_the_month_it_began(
    store: SqliteStore, clock: ManualClock
) -> None:
    clock.wall_ms = instant("2028-02-29T23:59:59")
    began = hold("req_leap", 100, month=month_of(clock.now_ms()), account_cap=150, started_at=clock.now_ms())
    await store.ledger.hold(began)
    clock.advance(2)
    settled = await store.ledger.settle(settlement(began, 80))
    assert settled.first
    assert (await store.ledger.month("acct_sample", "2028-02")).settled == 80
    assert (await store.ledger.month("acct_sample", "2028-03")).settled == 0
    # The new month has its cap whole, the old one what is left of it.
    await store.ledger.hold(hold("req_march", 150, month="2028-03", account_cap=150))
    with pytest.raises(QuotaExceeded):
        await store.ledger.hold(hold("req_late", 71, month="2028-02", account_cap=150))
    assert await store.ledger.reconcile() == []


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_19_a_jump_of_an_hour_moves_no_cap_and_settles_once(
    store: SqliteStore, clock: ManualClock, jump: int
) -> None:
    held = hold("req_1", 100, month="2028-02", account_cap=150, started_at=clock.now_ms())
    await store.ledger.hold(held)
    await store.ledger.open(held)
    clock.jump(jump)
    with pytest.raises(QuotaExceeded):
        await store.ledger.hold(hold("req_2", 51, month="2028-02", account_cap=150))
    assert (await store.ledger.settle(settlement(held, 60))).first
    assert not (await store.ledger.settle(settlement(held, 60))).first
    assert (await store.ledger.month("acct_sample", "2028-02")).settled == 60
    assert await store.ledger.reconcile() == []
