"""What every store must do. Subclass `StoreSuite` in a test module, name it Test…, and say how yours is made."""

import asyncio
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from gateway_core.errors import StoreError
from gateway_core.money import Units
from gateway_core.store_ports import RecordQuery, Store
from gateway_core.testing import samples
from gateway_core.testing.answers_suite import AnswersSuite
from gateway_core.testing.billing_suite import AdjustmentsSuite, ReportsSuite, SubscriptionsSuite
from gateway_core.testing.calls import MONTH, hold, settlement, spend
from gateway_core.testing.clock import ManualClock
from gateway_core.testing.directory_suite import DirectorySuite, key
from gateway_core.testing.instances_suite import InstancesSuite
from gateway_core.testing.ledger_suite import LedgerSuite
from gateway_core.testing.memories_suite import MemoriesSuite
from gateway_core.testing.records_suite import RecordsSuite
from gateway_core.testing.search_suite import SearchSuite
from gateway_core.testing.telling_suite import TellingSuite


class StoreSuite(
    LedgerSuite,
    RecordsSuite,
    DirectorySuite,
    AnswersSuite,
    MemoriesSuite,
    InstancesSuite,
    SubscriptionsSuite,
    AdjustmentsSuite,
    ReportsSuite,
    TellingSuite,
    SearchSuite,
):
    """The contract of `ports.Store`."""

    async def test_everything_acknowledged_is_there_after_a_restart(self, tmp_path: Path, clock: ManualClock) -> None:
        """State, keys, calls, records and cursors."""
        async with self.opened(tmp_path, clock) as store:
            await store.directory.create_account(samples.account(monthly_credit=Units(10)), "test")
            await store.directory.add_key(key(), b"digest", "test")
            await spend(store, hold("req_1"), 30)
            await store.records.advance("jsonl", "acct_sample", 1)
            await store.put_state("windows", b"\x00\xff")
        async with self.opened(tmp_path, clock) as store:
            assert await store.get_state("windows") == b"\x00\xff"
            assert await store.get_state("none") is None
            assert await store.directory.key_by_digest(b"digest") == key()
            assert await store.records.cursor("jsonl", "acct_sample") == 1
            await spend(store, hold("req_2"), 30)
            assert (await store.records.head("acct_sample"))[0] == 2
            month = await store.ledger.month("acct_sample", MONTH)
            assert (month.settled, month.credit_used) == (60, 10)

    async def test_a_backup_under_load_is_one_consistent_store(
        self, store: Store, tmp_path: Path, clock: ManualClock
    ) -> None:
        """What was acknowledged before it began is in it, and its books agree."""
        await spend(store, hold("req_first"), 10)
        copied = tmp_path / "copy"
        copied.mkdir()

        async def load() -> None:
            for number in range(200):
                await spend(store, hold(f"req_{number:03}"), 1)

        await asyncio.gather(load(), load_then_backup(store, copied / "store.sqlite3"))
        async with self.opened(copied, clock) as other:
            assert await other.ledger.find("req_first") is not None
            for orphan in await other.ledger.orphans():
                await other.ledger.settle(settlement(orphan.hold, 0))
        with pytest.raises(StoreError, match="exists already"):
            await store.backup(copied / "store.sqlite3")

    async def test_ready_until_closed(self, tmp_path: Path, clock: ManualClock) -> None:
        """A store that is closed acknowledges nothing."""
        store = self.make(tmp_path, clock)
        assert not await store.ready()
        await store.open()
        assert await store.ready()
        await store.close()
        assert not await store.ready()
        with pytest.raises(StoreError):
            await store.put_state("late", b"")

    async def test_sums_agree_for_many_accounts_at_once(self, store: Store) -> None:
        """Ledger, months, rollups and records say the same of each account."""
        expected: dict[str, int] = defaultdict(int)

        async def one(number: int) -> None:
            account = f"acct_{number % 7}"
            charge = number % 13
            held = hold(
                f"req_{number:04}", 100, account_id=account, bearer_id=f"key_{number % 3}", stream=number % 2 == 0
            )
            await store.ledger.hold(held)
            opened = store.ledger.open(held)
            if held.stream:
                await opened
            await store.ledger.settle(settlement(held, charge))
            expected[account] += charge

        await asyncio.gather(*(one(number) for number in range(300)))
        rows = await store.reports.totals(None, "2026-11-22", "2026-11-22", samples.EVERY_GROUP)
        for account, charge in expected.items():
            assert (await store.ledger.month(account, MONTH)).settled == charge
            assert sum(row.charge for row in rows if row.account_id == account) == charge
            records = await store.records.read(RecordQuery(account, limit=sys.maxsize))
            assert len(records) == sum(row.calls for row in rows if row.account_id == account)


async def load_then_backup(store: Store, target: Path) -> None:
    """Begins the backup once a few calls are through."""
    for _ in range(20):
        await asyncio.sleep(0)
    await store.backup(target)
