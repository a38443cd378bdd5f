"""What every store must do with holds, settlements and calls that were left open. Used as `store_suite` is."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from gateway_core.audit import genesis
from gateway_core.errors import QuotaExceeded, StoreError
from gateway_core.money import MAX_AMOUNT, Units
from gateway_core.store_ports import MonthTotals, RecordQuery, Store
from gateway_core.testing import samples
from gateway_core.testing.calls import MONTH, hold, settlement, spend
from gateway_core.testing.clock import ManualClock
from gateway_core.testing.opened_store import OpenedStore
from gateway_core.types import Checkpoint, Usage


class LedgerSuite(OpenedStore):
    """Money."""

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

    async def test_a_hold_is_taken_at_once_where_nothing_must_be_read(self, store: Store) -> None:
        """`hold_now` takes what `hold` would or, where a month's cap needs reading first, nothing."""
        assert store.ledger.hold_now(hold("req_1", 60))
        capped = hold("req_2", 30, bearer_id="key_other", bearer_cap=Units(50))
        assert not store.ledger.hold_now(capped)
        assert (await store.ledger.month("acct_sample", MONTH)).held == 60
        await store.ledger.hold(capped)
        assert store.ledger.hold_now(capped)  # the same one is taken once
        assert (await store.ledger.month("acct_sample", MONTH)).held == 90
        with pytest.raises(QuotaExceeded):
            store.ledger.hold_now(hold("req_3", 21, bearer_id="key_other", bearer_cap=Units(50)))

    async def test_a_plain_call_that_ends_before_its_open_row_was_written_has_one_row(self, store: Store) -> None:
        """Its opening's future is done with its end; an end of its own follows an opening that somebody gave up."""
        short, cut = hold("req_1", 60), hold("req_2", 40)
        for held in (short, cut):
            assert store.ledger.hold_now(held)
        opened = [store.ledger.open(held) for held in (short, cut)]
        opened[1].cancel()
        settled = [await store.ledger.settle(settlement(held, 10)) for held in (short, cut)]
        assert [each.first for each in settled] == [True, True]
        assert opened[0].done()
        assert await store.ledger.month("acct_sample", MONTH) == MonthTotals(20, 0, 0, 0)

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
        (row,) = await store.reports.totals("acct_sample", "2026-11-22", "2026-11-22", samples.EVERY_GROUP)
        assert (row.charge, row.overage) == (12 * MAX_AMOUNT, 12 * MAX_AMOUNT)

    async def test_another_gateways_bill_leaves_no_record(self, store: Store) -> None:
        """A hosted instance's call: on the ledger at 0, and only the delivered record enters the thread."""
        held = hold(amount=0)
        await store.ledger.hold(held)
        settled = await store.ledger.settle(settlement(held, 0, billed_by="upstream"))
        assert (settled.sequence, await store.records.head("acct_sample")) == (0, (0, genesis("acct_sample").hex()))

    # ------------------------------------------------------------ open calls

    async def test_a_checkpoint_stays_while_others_are_written_until_its_call_is_settled(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        """Who delivered nothing since is not asked for again."""
        marks = [Checkpoint(f"req_{n}", "demo", "demo-1", 20, n, 0, 0, 0, False, 5) for n in range(3)]
        async with self.opened(tmp_path, clock) as store:
            for mark in marks:
                held = hold(mark.id, stream=True)
                await store.ledger.hold(held)
                await store.ledger.open(held)
                await store.ledger.checkpoint([mark])
            await store.ledger.settle(settlement(hold("req_1", stream=True), 1))
            moved = msgspec.structs.replace(marks[0], output=7)
            await store.ledger.checkpoint([moved])
        async with self.opened(tmp_path, clock) as store:
            orphans = await store.ledger.orphans()
            assert [orphan.checkpoint for orphan in orphans] == [moved, marks[2]]

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
