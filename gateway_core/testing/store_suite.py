"""What every store must do. Subclass `StoreSuite` in a test module, name it Test…, and say how yours is made."""

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway_core.audit import genesis, link
from gateway_core.errors import Conflict, NotFound, QuotaExceeded, StoreError
from gateway_core.money import MAX_AMOUNT, Units
from gateway_core.store_ports import LogEntry, RecordQuery, Store
from gateway_core.testing import samples
from gateway_core.testing.answers_suite import AnswersSuite
from gateway_core.testing.billing_suite import AdjustmentsSuite, ReportsSuite, SubscriptionsSuite
from gateway_core.testing.calls import MONTH, hold, settlement, spend
from gateway_core.testing.clock import ManualClock
from gateway_core.testing.instances_suite import InstancesSuite
from gateway_core.testing.memories_suite import MemoriesSuite
from gateway_core.testing.search_suite import SearchSuite
from gateway_core.testing.telling_suite import TellingSuite
from gateway_core.types import AUDIT_THREAD, Account, Checkpoint, Key, Usage


def key(key_id: str = "key_1", **changes: Any) -> Key:
    """A key of the sample account."""
    made = Key(key_id, "acct_sample", "laptop", ("inference",), samples.STARTED_AT, "sk-…x4Qz")
    return msgspec.structs.replace(made, **changes)


class StoreSuite(
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

    def make(self, home: Path, clock: ManualClock) -> Store:
        """A store of yours that keeps everything in `home`; not open yet."""
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> ManualClock:
        """Stands at the sample instant."""
        return ManualClock(samples.STARTED_AT)

    @pytest.fixture
    async def store(self, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Store]:
        """An open store with the sample account."""
        async with self.opened(tmp_path, clock) as store:
            await store.directory.create_account(samples.account(), "test")
            yield store

    @asynccontextmanager
    async def opened(self, home: Path, clock: ManualClock) -> AsyncIterator[Store]:
        """Opens a store, and closes it without a difference left in its books."""
        store = self.make(home, clock)
        await store.open()
        try:
            yield store
            assert await store.ledger.reconcile() == []
        finally:
            await store.close()

    # ------------------------------------------------------------ holds

    async def test_a_hold_counts_until_it_is_settled_or_released(self, store: Store) -> None:
        """Held is what is taken; a settlement turns it into what was charged."""
        first, second = hold("req_1", 60), hold("req_2", 40)
        await store.ledger.hold(first)
        await store.ledger.hold(second)
        assert (await store.ledger.month("acct_sample", MONTH)).held == 100
        store.ledger.release(second)
        await store.ledger.settle(settlement(first, 25))
        month = await store.ledger.month("acct_sample", MONTH)
        assert (month.settled, month.held) == (25, 0)

    async def test_no_hold_passes_the_account_or_the_bearer_cap(self, store: Store) -> None:
        """The tighter cap binds; a refusal takes nothing."""
        await store.ledger.hold(hold("req_1", 60, account_cap=100, bearer_cap=70))
        with pytest.raises(QuotaExceeded):
            await store.ledger.hold(hold("req_2", 11, account_cap=100, bearer_cap=70))
        with pytest.raises(QuotaExceeded):
            await store.ledger.hold(hold("req_3", 41, bearer_id="key_other", account_cap=100))
        await store.ledger.hold(hold("req_4", 10, account_cap=100, bearer_cap=70))
        await store.ledger.hold(hold("req_5", 30, bearer_id="key_other", account_cap=100))
        assert (await store.ledger.month("acct_sample", MONTH)).held == 100

    async def test_no_hold_passes_the_tiers_budget_of_its_day(self, tmp_path: Path, clock: ManualClock) -> None:
        """Calls of any bearer count together, those of another tier or day apart; a restart forgets nothing."""
        tomorrow = samples.STARTED_AT + 86_400_000
        async with self.opened(tmp_path, clock) as store:
            await spend(store, hold("req_1", 50, tier="open", day_cap=100), 30)
            await spend(store, hold("req_2", 50, tier="other"), 50)
            await store.ledger.hold(hold("req_3", 60, tier="open", bearer_id="key_other", day_cap=100))
            with pytest.raises(QuotaExceeded):
                await store.ledger.hold(hold("req_4", 11, tier="open", day_cap=100))
            assert await store.ledger.headroom(hold("req_4", tier="open", day_cap=100)) == 10
            await store.ledger.hold(hold("req_5", 100, tier="open", day_cap=100, started_at=tomorrow))
        async with self.opened(tmp_path, clock) as store:
            assert await store.ledger.headroom(hold("req_6", tier="open", day_cap=100)) == 70

    async def test_headroom_is_what_the_tighter_cap_affords(self, store: Store) -> None:
        """Nothing without a cap; never negative."""
        await store.ledger.hold(hold("req_1", 60))
        assert await store.ledger.headroom(hold("req_2")) is None
        assert await store.ledger.headroom(hold("req_2", account_cap=100)) == 40
        assert await store.ledger.headroom(hold("req_2", account_cap=100, bearer_cap=75)) == 15
        assert await store.ledger.headroom(hold("req_2", account_cap=50)) == 0

    async def test_a_thousand_holds_at_once_take_exactly_what_the_cap_affords(self, store: Store) -> None:
        """100 of 1,000 fit; what they charged counts as much as what they held."""

        async def attempt(number: int) -> bool:
            try:
                await spend(store, hold(f"req_{number:04}", 10, account_cap=1000), 10)
            except QuotaExceeded:
                return False
            return True

        admitted = await asyncio.gather(*(attempt(number) for number in range(1000)))
        month = await store.ledger.month("acct_sample", MONTH)
        assert (sum(admitted), month.settled, month.held) == (100, 1000, 0)

    async def test_caps_count_what_an_earlier_run_settled_and_left_open(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        """A restart forgets neither; an orphan's hold stands until it is settled."""
        async with self.opened(tmp_path, clock) as store:
            await spend(store, hold("req_1", 50), 30)
            await store.ledger.hold(hold("req_2", 20))
            await store.ledger.open(hold("req_2", 20))
        async with self.opened(tmp_path, clock) as store:
            assert await store.ledger.headroom(hold("req_3", account_cap=100)) == 50
            (orphan,) = await store.ledger.orphans()
            await store.ledger.settle(settlement(orphan.hold, 5, stream_state="gateway_restart"))
            assert await store.ledger.headroom(hold("req_3", account_cap=100)) == 65
            assert await store.ledger.orphans() == []

    async def test_months_are_apart(self, store: Store) -> None:
        """A cap is per UTC month."""
        await store.ledger.hold(hold("req_1", 100, account_cap=100))
        december = samples.STARTED_AT + 20 * 86_400_000
        await store.ledger.hold(hold("req_2", 100, account_cap=100, month="2026-12", started_at=december))
        assert (await store.ledger.month("acct_sample", "2026-12")).held == 100

    async def test_a_call_on_disk_cannot_be_released(self, store: Store) -> None:
        """Its row is there; only a settlement ends it."""
        held = hold()
        await store.ledger.hold(held)
        await store.ledger.open(held)
        with pytest.raises(StoreError, match="settle it"):
            store.ledger.release(held)
        await store.ledger.settle(settlement(held, 0))

    # ------------------------------------------------------------ settlements

    async def test_a_settlement_reads_back_as_it_was(self, store: Store) -> None:
        """Every field, the largest amounts and every count included."""
        held = hold(
            amount=MAX_AMOUNT,
            account_cap=Units(MAX_AMOUNT),
            bearer_cap=Units(MAX_AMOUNT),
            stream=True,
            rates=samples.rates(price_id="book@2026-01-01", markup="1.30"),
        )
        made = settlement(
            held,
            MAX_AMOUNT,
            usage=Usage(20, 10, 5, 4, 3, estimated=True),
            generated=Usage(21, 12, 6, 5, 4, estimated=True),
            owed=Units(7),
            loss=Units(3),
            outcome="cut",
            stream_state="client_disconnect",
            error_code="provider_error",
            ttft_ms=4,
            acknowledged_bytes=512,
        )
        await store.ledger.hold(held)
        settled = await store.ledger.settle(made)
        found = await store.ledger.find(held.id)
        assert found is not None
        assert found.settlement == made
        assert (settled.charge, settled.overage, settled.sequence, settled.first) == (MAX_AMOUNT, MAX_AMOUNT, 1, True)
        assert await store.ledger.find("req_unknown") is None

    async def test_settling_twice_is_settling_once(self, store: Store) -> None:
        """The first one counts, whether the second comes at once or later."""
        held = hold()
        await store.ledger.hold(held)
        opened = store.ledger.open(held)
        first, again = await asyncio.gather(
            store.ledger.settle(settlement(held, 30)), store.ledger.settle(settlement(held, 99))
        )
        later = await store.ledger.settle(settlement(held, 1))
        await opened
        assert [first.first, again.first, later.first] == [True, False, False]
        assert {(row.charge, row.sequence) for row in (first, again, later)} == {(30, 1)}
        month = await store.ledger.month("acct_sample", MONTH)
        assert (month.settled, month.held) == (30, 0)
        assert len(await store.records.read(RecordQuery("acct_sample"))) == 1

    async def test_credit_is_used_before_overage_and_granted_once(self, store: Store) -> None:
        """In the ledger's order; a larger credit later in the month grants nothing more."""
        await store.directory.update_account(samples.account(monthly_credit=Units(50)), "test", "account.credit")
        await spend(store, hold("req_1"), 30)
        await spend(store, hold("req_2"), 30)
        await store.directory.update_account(samples.account(monthly_credit=Units(0)), "test", "account.credit")
        await store.directory.update_account(samples.account(monthly_credit=Units(500)), "test", "account.credit")
        await spend(store, hold("req_3"), 30)
        splits = []
        for call_id in ("req_1", "req_2", "req_3"):
            row = await store.ledger.find(call_id)
            assert row is not None
            splits.append((row.settled.credit_used, row.settled.overage))
        assert splits == [(30, 0), (20, 10), (0, 30)]
        month = await store.ledger.month("acct_sample", MONTH)
        assert (month.credit_granted, month.credit_used, month.settled) == (50, 50, 90)

    async def test_a_row_that_cannot_be_written_fails_alone(self, store: Store) -> None:
        """A charge above the hold is refused; its neighbours in the commit are settled."""
        good, bad = hold("req_good", 100), hold("req_bad", 10)
        await store.ledger.hold(good)
        await store.ledger.hold(bad)
        results = await asyncio.gather(
            store.ledger.settle(settlement(bad, 11)), store.ledger.settle(settlement(good, 30)), return_exceptions=True
        )
        assert isinstance(results[0], StoreError)
        assert not isinstance(results[1], BaseException)
        assert await store.ready()
        await store.ledger.settle(settlement(bad, 10))
        assert (await store.ledger.month("acct_sample", MONTH)).settled == 40

    async def test_totals_beyond_64_bits_are_exact(self, store: Store) -> None:
        """A row fits; a sum need not."""
        for number in range(12):
            await spend(store, hold(f"req_{number:02}", MAX_AMOUNT), MAX_AMOUNT)
        assert (await store.ledger.month("acct_sample", MONTH)).settled == 12 * MAX_AMOUNT
        (row,) = await store.reports.usage("acct_sample", "2026-11-22", "2026-11-22")
        assert (row.charge, row.overage) == (12 * MAX_AMOUNT, 12 * MAX_AMOUNT)

    async def test_another_gateways_bill_leaves_no_record(self, store: Store) -> None:
        """A hosted instance's call: on the ledger at 0, and only the delivered record enters the thread."""
        held = hold(amount=0)
        await store.ledger.hold(held)
        settled = await store.ledger.settle(settlement(held, 0, billed_by="upstream"))
        assert (settled.sequence, await store.records.head("acct_sample")) == (0, (0, genesis("acct_sample").hex()))

    # ------------------------------------------------------------ open calls

    async def test_open_calls_of_an_earlier_run_are_orphans_with_their_last_checkpoint(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        """The row alone gives the whole hold back; a call without a checkpoint is there, too."""
        plain, stream = hold("req_1"), hold("req_2", stream=True, account_cap=Units(500))
        early = Checkpoint("req_2", "demo", "demo-1", 20, 1, 0, 0, 0, False, 5)
        late = msgspec.structs.replace(early, output=9)
        async with self.opened(tmp_path, clock) as store:
            for held in (plain, stream):
                await store.ledger.hold(held)
                await store.ledger.open(held)
            await store.ledger.checkpoint([early])
            await store.ledger.checkpoint([late])
            assert await store.ledger.orphans() == []
        async with self.opened(tmp_path, clock) as store:
            orphans = await store.ledger.orphans()
            assert [(orphan.hold, orphan.checkpoint) for orphan in orphans] == [(plain, None), (stream, late)]
            for orphan in orphans:
                await store.ledger.settle(settlement(orphan.hold, 3))

    # ------------------------------------------------------------ records

    async def test_each_call_leaves_one_chained_record(self, store: Store) -> None:
        """Sequence, hash and head follow from what is stored."""
        for number in range(3):
            await spend(store, hold(f"req_{number}"), 10 + number)
        previous = genesis("acct_sample")
        records = await store.records.read(RecordQuery("acct_sample", AUDIT_THREAD))
        assert [record.sequence for record in records] == [1, 2, 3]
        for record in records:
            previous = link(previous, record.sequence, record.id, bytes(record.body))
            assert record.hash == previous.hex()
        assert await store.records.head("acct_sample") == (3, previous.hex())
        assert await store.records.heads() == {"acct_sample": 3}
        assert [msgspec.json.decode(record.body)["request_id"] for record in records] == ["req_0", "req_1", "req_2"]

    async def test_records_are_read_by_place_time_model_and_thread(self, store: Store) -> None:
        """All conditions together; a limit cuts at the end."""
        start = samples.STARTED_AT
        for number in range(4):
            held = hold(f"req_{number}", model="a" if number % 2 else "b")
            await store.ledger.settle(settlement(held, 1, served_at=start + number * 1000))

        async def read(**changes: Any) -> list[int]:
            query = RecordQuery("acct_sample", **changes)
            return [record.sequence for record in await store.records.read(query)]

        assert await read(after=1, limit=2) == [2, 3]
        assert await read(since=start + 1000, until=start + 3000) == [2, 3]
        assert await read(since=start + 1000, until=start + 3000, thread=AUDIT_THREAD) == [2, 3]
        assert await read(since=start + 9000, thread=AUDIT_THREAD) == []
        assert await read(model="a", thread=AUDIT_THREAD) == [2, 4]
        assert await read(thread="th_other") == []

    async def test_records_are_found_by_time_though_the_clock_was_set(self, store: Store) -> None:
        """Also those that were made after the clock went back, and at an hour that began before."""
        hours = (10, 12, 7, 12, 11, 9)
        for number, hour in enumerate(hours):
            served = samples.STARTED_AT + hour * 3_600_000 + number
            await store.ledger.settle(settlement(hold(f"req_{number}"), 1, served_at=served))
        for since in range(6, 14):
            at = samples.STARTED_AT + since * 3_600_000
            for thread in (AUDIT_THREAD, None):
                found = await store.records.read(RecordQuery("acct_sample", thread, since=at))
                expected = [number + 1 for number, hour in enumerate(hours) if hour >= since]
                assert [record.sequence for record in found] == expected

    async def test_a_calls_record_that_comes_from_elsewhere_is_the_one_there_is(self, store: Store) -> None:
        """An id is on record once for an account, wherever it came from first."""
        await spend(store, hold("req_1"), 10)
        (record,) = await store.records.read(RecordQuery("acct_sample"))
        assert await store.records.append("acct_sample", AUDIT_THREAD, "req_1", b"{}", "inst_1") == record
        elsewhere = await store.records.append("acct_other", AUDIT_THREAD, "req_1", b"{}", "inst_1")
        assert (elsewhere.sequence, bytes(elsewhere.body)) == (1, b"{}")

    async def test_a_delivered_record_is_stored_once(self, store: Store) -> None:
        """The second delivery gives back what the first one stored, also where it differs."""
        body = b'{"model":"demo","cost_usd":"0.1"}'
        first = await store.records.append("acct_sample", AUDIT_THREAD, "req_x", body, "inst_1")
        again = await store.records.append("acct_sample", AUDIT_THREAD, "req_x", b'{"cost_usd":"9"}', "inst_1")
        other = await store.records.append("acct_other", AUDIT_THREAD, "req_x", body, "inst_1")
        assert first == again
        assert (bytes(again.body), again.sequence, other.sequence) == (body, 1, 1)
        assert len(await store.records.read(RecordQuery("acct_sample", model="demo"))) == 1

    async def test_a_cursor_moves_forwards_only(self, store: Store) -> None:
        """Each sink has its own, per account."""
        await store.records.advance("jsonl", "acct_sample", 5)
        await store.records.advance("jsonl", "acct_sample", 3)
        assert await store.records.cursor("jsonl", "acct_sample") == 5
        assert await store.records.cursor("thread", "acct_sample") == 0

    # ------------------------------------------------------------ reports

    async def test_a_day_is_one_row_for_each_bearer_model_and_tier(self, store: Store) -> None:
        """Sums of what was delivered, charged, owed and lost."""
        await spend(store, hold("req_1"), 30)
        await store.ledger.settle(settlement(hold("req_2"), 5, usage=Usage(1, 2, estimated=True), loss=Units(4)))
        await spend(store, hold("req_3", bearer_id="key_other"), 7)
        tomorrow = samples.STARTED_AT + 86_400_000
        await spend(store, hold("req_4", started_at=tomorrow), 1)
        rows = await store.reports.usage("acct_sample", "2026-11-22", "2026-11-22")
        assert [(row.bearer_id, row.calls, row.charge) for row in rows] == [("key_other", 1, 7), ("key_sample", 2, 35)]
        assert (rows[1].usage, rows[1].loss) == (Usage(21, 12, estimated=True), 4)
        assert len(await store.reports.usage(None, "2026-11-22", "2026-11-23")) == 3

    # ------------------------------------------------------------ directory

    async def test_accounts_are_found_listed_and_changed(self, store: Store) -> None:
        """By id and by name, a page at a time; a name belongs to one account."""
        other = Account("acct_z", "zeta", 1, cap=Units(5), limits={"m": {"rpm": 2}})
        await store.directory.create_account(other, "test")
        assert await store.directory.account("acct_z") == other
        assert await store.directory.account_named("zeta") == other
        assert [row.id for row in await store.directory.accounts()] == ["acct_sample", "acct_z"]
        assert await store.directory.accounts(after="acct_sample", limit=1) == [other]
        for twin in (Account("acct_z", "new", 1), Account("acct_new", "zeta", 1)):
            with pytest.raises(Conflict):
                await store.directory.create_account(twin, "test")
        changed = msgspec.structs.replace(other, suspended=True, cap=None)
        before = store.directory.generation
        await store.directory.update_account(changed, "test", "account.suspend")
        assert await store.directory.account("acct_z") == changed
        assert store.directory.generation > before
        with pytest.raises(Conflict):
            await store.directory.update_account(msgspec.structs.replace(other, name="sample"), "test", "x")
        with pytest.raises(NotFound):
            await store.directory.update_account(Account("acct_none", "none", 1), "test", "x")
        assert await store.directory.account("acct_none") is None

    async def test_a_key_is_found_by_its_digest_until_and_after_it_ends(self, store: Store) -> None:
        """A change is seen by the next read; ending it twice is a conflict."""
        full = key(models=("a", "b"), cap=Units(9), expires_at=5)
        await store.directory.add_key(full, b"digest-1", "test")
        await store.directory.add_key(key("key_2"), b"digest-2", "test")
        assert await store.directory.key_by_digest(b"digest-1") == full
        assert await store.directory.key_by_digest(b"unknown") is None
        await store.directory.expire_key("key_1", 77, "test")
        assert await store.directory.key_by_digest(b"digest-1") == msgspec.structs.replace(full, expires_at=77)
        before = store.directory.generation
        await store.directory.revoke_key("key_1", 88, "test")
        found = await store.directory.key_by_digest(b"digest-1")
        assert found is not None
        assert (found.revoked_at, found) == (88, await store.directory.key("key_1"))
        assert store.directory.generation > before
        for end in (store.directory.revoke_key, store.directory.expire_key):
            with pytest.raises(Conflict, match="revoked already"):
                await end("key_1", 99, "test")
            with pytest.raises(NotFound):
                await end("key_none", 99, "test")
        assert [row.id for row in await store.directory.keys("acct_sample")] == ["key_1", "key_2"]
        assert [row.id for row in await store.directory.keys("acct_sample", after="key_1", limit=1)] == ["key_2"]

    async def test_a_key_needs_an_account_and_a_digest_of_its_own(self, store: Store) -> None:
        """Neither may be taken or missing."""
        await store.directory.add_key(key(), b"digest", "test")
        with pytest.raises(Conflict):
            await store.directory.add_key(key("key_2"), b"digest", "test")
        with pytest.raises(NotFound):
            await store.directory.add_key(key("key_3", account_id="acct_none"), b"other", "test")

    async def test_a_last_use_is_written_with_a_later_commit_once_a_minute(self, store: Store) -> None:
        """It causes no commit; uses within a minute are one."""
        await store.directory.add_key(key(), b"digest", "test")
        before = store.directory.generation
        for at in (1_000_000, 1_030_000):
            store.directory.touch_key("key_1", at)
            await store.put_state("later", b"")
        found = await store.directory.key("key_1")
        assert found is not None
        assert found.last_used_at == 1_000_000
        store.directory.touch_key("key_1", 1_060_000)
        await store.put_state("later", b"")
        found = await store.directory.key("key_1")
        assert found is not None
        assert (found.last_used_at, store.directory.generation) == (1_060_000, before)

    async def test_who_did_what_is_logged_newest_first(self, store: Store) -> None:
        """A change and its line are one write."""
        await store.directory.add_key(key(), b"digest", "ann")
        await store.directory.revoke_key("key_1", 5, "bob")
        await store.directory.log(LogEntry(7, "eve", "look", "key_1", {"why": "audit"}))
        lines = await store.directory.log_entries(10)
        assert [(line.actor, line.action) for line in lines] == [
            ("eve", "look"),
            ("bob", "key.revoke"),
            ("ann", "key.mint"),
            ("test", "account.create"),
        ]
        assert lines[0] == LogEntry(7, "eve", "look", "key_1", {"why": "audit"})
        assert await store.directory.log_entries(1, skip=1) == [lines[1]]

    # ------------------------------------------------------------ the whole

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
        rows = await store.reports.usage(None, "2026-11-22", "2026-11-22")
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
