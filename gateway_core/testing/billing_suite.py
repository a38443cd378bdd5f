"""What every store must do with subscriptions and adjustments: a part of `StoreSuite`."""

import asyncio
from typing import Any

import msgspec
import pytest

from gateway_core.audit import adjustment_body
from gateway_core.clock import month_bounds, month_of
from gateway_core.errors import Conflict, NotFound
from gateway_core.money import Units
from gateway_core.store_ports import RecordQuery, Store
from gateway_core.testing import samples
from gateway_core.testing.calls import hold, settlement, spend
from gateway_core.testing.clock import ManualClock
from gateway_core.types import ADJUSTMENTS_THREAD, AUDIT_THREAD, Adjustment, Subscription, SubscriptionStatus

NOVEMBER, DECEMBER = "2026-11", "2026-12"
ACCOUNT = "acct_sample"


def subscription(name: str = "a", **changes: Any) -> Subscription:
    """A stretch of the plan pro with $50 of credit, in units of the samples."""
    made = Subscription(f"sub_{name}", ACCOUNT, "pro", samples.STARTED_AT, fee=Units(20), credit=Units(50))
    return msgspec.structs.replace(made, **changes)


def adjustment(name: str = "a", amount: int = -5, **changes: Any) -> Adjustment:
    """A refund of no call in particular."""
    made = Adjustment(f"adj_{name}", ACCOUNT, NOVEMBER, "refund", Units(amount), "late", "ann", samples.STARTED_AT)
    return msgspec.structs.replace(made, **changes)


async def call_in(store: Store, month: str, call_id: str, charge: int) -> tuple[int, int]:
    """One call that was admitted in a month: what it took of credit, and of overage."""
    held = hold(call_id, max(charge, 1), month=month, started_at=month_bounds(month)[0])
    await store.ledger.hold(held)
    settled = await store.ledger.settle(settlement(held, charge))
    return settled.credit_used, settled.overage


class SubscriptionsSuite:
    """The contract of `ports.Subscriptions`."""

    async def test_a_stretch_reads_back_whole_and_belongs_to_its_account(self, store: Store) -> None:
        """Whoever had read the account sees it at once, and the generation has risen."""
        assert await store.directory.account(ACCOUNT) == samples.account()
        full = subscription(cap=Units(200), limits={"m": {"rpm": 3}}, instance_fee=Units(7))
        before = store.directory.generation
        assert await store.subscriptions.start(full, "ann") == full
        assert store.directory.generation > before
        for account in (
            await store.directory.account(ACCOUNT),
            await store.directory.account_named("sample"),
            (await store.directory.accounts())[0],
        ):
            assert account == samples.account(subscription=full)
        assert await store.subscriptions.current(ACCOUNT) == full
        assert await store.subscriptions.stretches(ACCOUNT) == [full]
        assert await store.subscriptions.current("acct_other") is None

    async def test_one_goes_on_at_a_time(self, store: Store) -> None:
        """A suspended one goes on, too; what is refused changes nothing."""
        with pytest.raises(NotFound):
            await store.subscriptions.start(subscription(account_id="acct_none"), "ann")
        with pytest.raises(NotFound):
            await store.subscriptions.change(ACCOUNT, "cancelled", "ann")
        await store.subscriptions.start(subscription(), "ann")
        with pytest.raises(Conflict, match="pro"):
            await store.subscriptions.start(subscription("b"), "ann")
        await store.subscriptions.change(ACCOUNT, "suspended", "ann")
        with pytest.raises(Conflict):
            await store.subscriptions.start(subscription("b"), "ann")
        assert len(await store.subscriptions.stretches(ACCOUNT)) == 1

    async def test_a_life_is_told_in_order(self, store: Store, clock: ManualClock) -> None:
        """Suspended, resumed, cancelled, and another stretch after it: history, log and account say the same."""
        subscriptions = store.subscriptions
        changed = await subscriptions.start(subscription(), "ann")
        life: tuple[SubscriptionStatus, ...] = ("suspended", "active", "cancelled")
        for status in life:
            clock.advance(60)
            before = store.directory.generation
            changed = await subscriptions.change(ACCOUNT, status, "bob")
            account = await store.directory.account(ACCOUNT)
            assert account is not None
            assert account.subscription == changed
            assert (changed.status, store.directory.generation > before) == (status, True)
            with pytest.raises(Conflict, match="already"):
                await subscriptions.change(ACCOUNT, status, "bob")
        for status in life[:2]:
            with pytest.raises(Conflict, match="cancelled already"):
                await subscriptions.change(ACCOUNT, status, "bob")
        assert changed.ends_at == samples.STARTED_AT + 180_000
        again = await subscriptions.start(subscription("b"), "ann", action="subscription.reactivate")
        assert again.started_at == changed.ends_at, "a stretch begins after the one before, whatever the clock says"
        assert await subscriptions.stretches(ACCOUNT) == [changed, again]
        assert [(line.subscription_id, line.status, line.actor) for line in await subscriptions.history(ACCOUNT)] == [
            ("sub_a", "active", "ann"),
            ("sub_a", "suspended", "bob"),
            ("sub_a", "active", "bob"),
            ("sub_a", "cancelled", "bob"),
            ("sub_b", "active", "ann"),
        ]
        actions = [entry.action for entry in await store.directory.log_entries(20)]
        assert actions == [
            "subscription.reactivate",
            "subscription.cancel",
            "subscription.resume",
            "subscription.suspend",
            "credit.grant",
            "subscription.start",
            "account.create",
        ]

    async def test_the_latest_stretch_is_the_current_one_also_where_no_time_passed(self, store: Store) -> None:
        """Cancelling and coming back within a millisecond, and with a clock that was set back."""
        for number in range(5):
            early = subscription(f"{9 - number}", started_at=samples.STARTED_AT - number * 1000)
            started = await store.subscriptions.start(early, "ann")
            account = await store.directory.account(ACCOUNT)
            assert account is not None
            assert account.subscription == started
            await store.subscriptions.change(ACCOUNT, "cancelled", "ann")
        ids = [each.id for each in await store.subscriptions.stretches(ACCOUNT)]
        assert ids == ["sub_9", "sub_8", "sub_7", "sub_6", "sub_5"]

    async def test_credit_is_granted_with_the_start_and_once_a_month(self, store: Store, clock: ManualClock) -> None:
        """Coming back mints none; the next month has its own, with its first call."""
        await store.subscriptions.start(subscription(), "ann")
        month = await store.ledger.month(ACCOUNT, NOVEMBER)
        assert (month.credit_granted, month.credit_used, month.settled) == (50, 0, 0)
        assert await call_in(store, NOVEMBER, "req_1", 30) == (30, 0)
        await store.subscriptions.change(ACCOUNT, "cancelled", "ann")
        await store.subscriptions.start(subscription("b", credit=Units(500)), "ann")
        assert await call_in(store, NOVEMBER, "req_2", 30) == (20, 10)
        clock.wall_ms = month_bounds(DECEMBER)[0] + 5
        assert (await store.ledger.month(ACCOUNT, DECEMBER)).credit_granted == 0
        assert await call_in(store, DECEMBER, "req_3", 30) == (30, 0)
        assert (await store.ledger.month(ACCOUNT, DECEMBER)).credit_granted == 500
        (entry,) = await store.directory.log_entries(1)
        assert (entry.actor, entry.action, entry.detail["month"]) == ("system", "credit.grant", DECEMBER)
        assert (await store.ledger.month(ACCOUNT, NOVEMBER)).credit_granted == 50

    async def test_a_month_without_credit_is_not_barred_from_it(self, store: Store) -> None:
        """Calls before the start are overage and stay so; a plan without credit leaves the month open for another."""
        assert await call_in(store, NOVEMBER, "req_1", 30) == (0, 30)
        await store.subscriptions.start(subscription(credit=Units(0)), "ann")
        await store.subscriptions.change(ACCOUNT, "cancelled", "ann")
        assert (await store.ledger.month(ACCOUNT, NOVEMBER)).credit_granted == 0
        await store.subscriptions.start(subscription("b"), "ann")
        assert await call_in(store, NOVEMBER, "req_2", 30) == (30, 0)

    async def test_the_accounts_own_credit_comes_on_top_and_what_was_granted_stays(self, store: Store) -> None:
        """One grant, of both; none more where the month had its grant before the subscription."""
        await store.directory.update_account(samples.account(monthly_credit=Units(7)), "ann", "account.update")
        await store.subscriptions.start(subscription(), "ann")
        assert (await store.ledger.month(ACCOUNT, NOVEMBER)).credit_granted == 57
        other = samples.account(id="acct_b", name="b", monthly_credit=Units(7))
        await store.directory.create_account(other, "ann")
        await spend(store, hold("req_b", account_id="acct_b"), 1)
        await store.subscriptions.start(subscription("b", account_id="acct_b"), "ann")
        assert (await store.ledger.month("acct_b", NOVEMBER)).credit_granted == 7

    async def test_a_month_edge_gives_each_call_the_credit_of_its_own_month(
        self, store: Store, clock: ManualClock
    ) -> None:
        """A call of November that is settled in December gets nothing of a plan that began in December."""
        clock.wall_ms = month_bounds(DECEMBER)[0]
        await store.subscriptions.start(subscription(started_at=clock.wall_ms), "ann")
        assert await call_in(store, NOVEMBER, "req_late", 30) == (0, 30)
        assert await call_in(store, DECEMBER, "req_first", 30) == (30, 0)

    async def test_the_credit_of_the_month_stays_after_a_cancellation(self, store: Store, clock: ManualClock) -> None:
        """Cancelled before the month's first call: its fee is charged, so its credit is there."""
        await store.subscriptions.start(subscription(), "ann")
        clock.wall_ms = month_bounds(DECEMBER)[0] + 1000
        await store.subscriptions.change(ACCOUNT, "cancelled", "ann")
        assert await call_in(store, DECEMBER, "req_1", 30) == (30, 0)
        assert await call_in(store, "2027-01", "req_2", 30) == (0, 30)

    async def test_two_plans_in_a_month_have_the_credit_of_the_first(self, store: Store, clock: ManualClock) -> None:
        """Also where the first came over from the month before, and no call has taken its credit yet."""
        await store.subscriptions.start(subscription(), "ann")
        clock.wall_ms = month_bounds(DECEMBER)[0] + 1000
        await store.subscriptions.change(ACCOUNT, "cancelled", "ann")
        await store.subscriptions.start(subscription("b", started_at=clock.wall_ms, credit=Units(500)), "ann")
        assert (await store.ledger.month(ACCOUNT, DECEMBER)).credit_granted == 50

    async def test_starting_at_once_starts_once(self, store: Store) -> None:
        """Of many that ask at the same time one gets it."""
        asked = [store.subscriptions.start(subscription(str(number)), "ann") for number in range(20)]
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(isinstance(result, Subscription) for result in results) == 1
        assert sum(isinstance(result, Conflict) for result in results) == 19
        assert (await store.ledger.month(ACCOUNT, NOVEMBER)).credit_granted == 50


class AdjustmentsSuite:
    """The contract of `ports.Adjustments`."""

    async def test_an_adjustment_is_stored_chained_and_logged(self, store: Store) -> None:
        """In a thread of its own, so that the thread of calls still adds up to what they cost."""
        await spend(store, hold("req_1"), 30)
        made = await store.adjustments.add(adjustment(refers_to="req_1", amount=-30))
        assert made == adjustment(refers_to="req_1", amount=-30, sequence=2)
        assert await store.adjustments.of_month(ACCOUNT, NOVEMBER) == [made]
        assert await store.adjustments.of_month(ACCOUNT, DECEMBER) == []
        (record,) = await store.records.read(RecordQuery(ACCOUNT, ADJUSTMENTS_THREAD))
        assert (record.id, record.sequence, bytes(record.body)) == (made.id, 2, adjustment_body(made))
        assert len(await store.records.read(RecordQuery(ACCOUNT, AUDIT_THREAD))) == 1
        (entry,) = await store.directory.log_entries(1)
        assert (entry.actor, entry.action, entry.subject) == ("ann", "adjustment.refund", ACCOUNT)
        assert (entry.detail["amount_usd"], entry.detail["why"]) == ("-0.00000000003", "late")

    async def test_no_more_is_given_back_than_a_call_cost(self, store: Store) -> None:
        """All that was given for it counts; what was reversed may be given again."""
        await spend(store, hold("req_1"), 30)
        await store.adjustments.add(adjustment("a", -20, refers_to="req_1"))
        with pytest.raises(Conflict, match="left"):
            await store.adjustments.add(adjustment("b", -11, refers_to="req_1"))
        await store.adjustments.add(adjustment("c", -10, kind="credit_note", refers_to="req_1"))
        with pytest.raises(Conflict, match="left"):
            await store.adjustments.add(adjustment("d", -1, refers_to="req_1"))
        await store.adjustments.add(adjustment("e", 15, kind="reversal", refers_to="adj_a"))
        await store.adjustments.add(adjustment("f", -15, refers_to="req_1"))
        with pytest.raises(Conflict, match="left"):
            await store.adjustments.add(adjustment("g", -1, refers_to="req_1"))
        amounts = [each.amount for each in await store.adjustments.of_month(ACCOUNT, NOVEMBER)]
        assert amounts == [-20, -10, 15, -15]

    async def test_a_reversal_takes_back_what_was_given_and_no_more(self, store: Store) -> None:
        """Once, and never of a reversal."""
        await store.adjustments.add(adjustment("a", -20))
        with pytest.raises(Conflict, match="left"):
            await store.adjustments.add(adjustment("b", 21, kind="reversal", refers_to="adj_a"))
        await store.adjustments.add(adjustment("c", 20, kind="reversal", refers_to="adj_a"))
        with pytest.raises(Conflict, match="left"):
            await store.adjustments.add(adjustment("d", 1, kind="reversal", refers_to="adj_a"))
        with pytest.raises(Conflict, match="reversal"):
            await store.adjustments.add(adjustment("e", 1, kind="reversal", refers_to="adj_c"))

    async def test_what_is_referred_to_must_be_the_accounts_own(self, store: Store) -> None:
        """A call or adjustment of another account does not exist."""
        await store.directory.create_account(samples.account(id="acct_b", name="b"), "test")
        await spend(store, hold("req_1"), 30)
        await store.adjustments.add(adjustment("a", -20))
        for wrong in (
            adjustment("x", account_id="acct_none"),
            adjustment("x", account_id="acct_b", refers_to="req_1"),
            adjustment("x", refers_to="req_none"),
            adjustment("x", 5, account_id="acct_b", kind="reversal", refers_to="adj_a"),
            adjustment("x", 5, kind="reversal", refers_to="adj_none"),
            adjustment("x", 5, kind="reversal"),
        ):
            with pytest.raises(NotFound):
                await store.adjustments.add(wrong)
        assert len(await store.adjustments.page()) == 1
        assert (await store.records.head(ACCOUNT))[0] == 2

    async def test_only_the_month_that_goes_on_can_be_adjusted(self, store: Store, clock: ManualClock) -> None:
        """What has passed stays as it was invoiced; before the account there is nothing."""
        for month, error in (("2020-01", NotFound), ("2026-10", NotFound), (DECEMBER, Conflict)):
            with pytest.raises(error, match=month):
                await store.adjustments.add(adjustment(month=month))
        clock.wall_ms = month_bounds(DECEMBER)[0]
        with pytest.raises(Conflict, match="passed"):
            await store.adjustments.add(adjustment())
        await store.adjustments.add(adjustment(month=month_of(clock.wall_ms)))
        assert await store.adjustments.of_month(ACCOUNT, NOVEMBER) == []

    async def test_adjustments_are_listed_a_page_at_a_time(self, store: Store) -> None:
        """Of one account or of all; the same one twice is one."""
        await store.directory.create_account(samples.account(id="acct_b", name="b"), "test")
        first = await store.adjustments.add(adjustment("a"))
        other = await store.adjustments.add(adjustment("b", account_id="acct_b"))
        third = await store.adjustments.add(adjustment("c"))
        assert await store.adjustments.add(adjustment("c")) == third
        assert await store.adjustments.page() == [first, other, third]
        assert await store.adjustments.page(ACCOUNT) == [first, third]
        assert await store.adjustments.page(after="adj_a", limit=1) == [other]


class ReportsSuite:
    """What `ports.Reports` adds up."""

    async def test_totals_are_sums_by_the_fields_that_are_named(self, store: Store) -> None:
        """Of one account or of all, beyond 64 bits too; a call counts on the day that it began."""
        day = 86_400_000
        for number in range(8):
            held = hold(
                f"req_{number}",
                9 * 10**17,
                bearer_id=f"key_{number % 2}",
                model=f"m{number // 4}",
                account_id=ACCOUNT if number else "acct_b",
                started_at=samples.STARTED_AT + number // 2 * day,
            )
            await store.ledger.settle(settlement(held, 9 * 10**17, served_at=samples.STARTED_AT + 9 * day))
        span = ("2026-11-22", "2026-11-24")
        of_models = await store.reports.totals(ACCOUNT, *span, ("model",))
        assert [(row.model, row.calls, row.day, row.charge) for row in of_models] == [
            ("m0", 3, "", 27 * 10**17),
            ("m1", 2, "", 18 * 10**17),
        ]
        (whole,) = await store.reports.totals(None, "2026-11-01", "2026-11-30", ())
        assert (whole.calls, whole.charge, whole.usage.input) == (8, 72 * 10**17, 160)
        by_both = await store.reports.totals(None, *span, ("account", "day"))
        assert [(row.account_id, row.day, row.calls) for row in by_both] == [
            ("acct_b", "2026-11-22", 1),
            (ACCOUNT, "2026-11-22", 1),
            (ACCOUNT, "2026-11-23", 2),
            (ACCOUNT, "2026-11-24", 2),
        ]
        assert await store.reports.totals("acct_none", *span, ("day",)) == []
        assert await store.reports.totals("acct_none", *span, ()) == []

    async def test_totals_are_the_sums_of_the_rollups_to_the_last_unit(self, store: Store) -> None:
        """Of amounts of every length."""
        amounts = [0, 1, 999_999_999_999, 10**12, 10**12 + 1, 123_456_789_012_345, 9 * 10**17]
        for number, amount in enumerate(amounts):
            held = hold(f"req_{number}", amount, bearer_id=f"key_{number}", account_id=ACCOUNT)
            await store.ledger.settle(settlement(held, amount, served_at=samples.STARTED_AT))
        rows = await store.reports.totals(ACCOUNT, "2026-11-22", "2026-11-22", samples.EVERY_GROUP)
        assert sorted(row.charge for row in rows) == amounts
        (whole,) = await store.reports.totals(ACCOUNT, "2026-11-22", "2026-11-22", ("day",))
        assert (whole.charge, whole.owed, whole.credit_used + whole.overage) == (sum(amounts),) * 3
