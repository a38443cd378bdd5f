"""Whatever was called, when and by whom: invoice lines, ledger and records are the same sums, and credit goes first."""

import asyncio
import itertools
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Literal

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway_core.billing import invoice_of
from gateway_core.clock import month_bounds, month_of
from gateway_core.errors import Conflict, NotFound
from gateway_core.ids import new_id
from gateway_core.money import Units, parse_usd
from gateway_core.store.sqlite import SqliteStore
from gateway_core.store_ports import RecordQuery, Store
from gateway_core.testing import samples
from gateway_core.testing.billing_suite import subscription
from gateway_core.testing.calls import hold, settlement
from gateway_core.testing.clock import ManualClock
from gateway_core.types import AUDIT_THREAD, Account, Adjustment

ACCOUNTS = ("acct_0", "acct_1")
CREDIT, OTHER_CREDIT, FEE = 250, 900, 20
HOUR = 3_600_000

Step = tuple[Literal["call", "late", "start", "cancel", "suspend", "resume", "refund", "pass"], int, int]

steps = st.lists(
    st.tuples(
        st.sampled_from(["call", "call", "call", "late", "start", "cancel", "suspend", "resume", "refund", "pass"]),
        st.integers(0, 11),
        st.integers(0, 300),
    ),
    max_size=60,
)


class Run:
    """One sequence of steps on a real store, with what must be true of it kept by the simplest means."""

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.numbers = itertools.count()
        #: (account, month, model) → charged.
        self.charged: dict[tuple[str, str, str], int] = defaultdict(int)
        #: (account, month) → what each call took of credit and overage, in the ledger's order.
        self.splits: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        self.last_call: dict[str, tuple[str, int]] = {}
        self.adjusted: dict[tuple[str, str], int] = defaultdict(int)
        #: Stretches as [began, ended, credit]: what is due to a month is the first one's that touches it.
        self.stretches: dict[str, list[list[int | None]]] = {account: [] for account in ACCOUNTS}
        self.granted: dict[tuple[str, str], int] = {}

    async def step(self, what: str, slot: int, amount: int) -> None:
        account = ACCOUNTS[slot % 2]
        if what == "pass":
            self.clock.advance(slot * 86_400 + amount * 60)
        elif what in ("call", "late"):
            began = self.clock.wall_ms - (slot * HOUR * 24 if what == "late" else 0)
            await self.call(account, slot, amount, max(began, samples.STARTED_AT))
        elif what == "refund":
            await self.refund(account, amount)
        else:
            await self.change(account, what, slot)

    async def call(self, account: str, slot: int, charge: int, began: int) -> None:
        held = hold(
            f"req_{next(self.numbers):04}",
            max(charge, 1),
            account_id=account,
            bearer_id=f"key_{slot % 3}",
            model=f"m{slot // 4}",
            started_at=began,
            month=month_of(began),
        )
        await self.store.ledger.hold(held)
        settled = await self.store.ledger.settle(settlement(held, charge, served_at=self.clock.wall_ms))
        self.charged[account, held.month, held.model] += charge
        self.splits[account, held.month].append((settled.credit_used, settled.overage))
        self.last_call[account] = (held.id, charge)
        self.grant(account, held.month)

    def grant(self, account: str, month: str) -> None:
        begins, ends = month_bounds(month)
        for began, ended, credit in self.stretches[account]:
            if began is not None and credit and began < ends and (ended is None or ended > begins or began >= begins):
                self.granted.setdefault((account, month), credit)
                return

    async def refund(self, account: str, amount: int) -> None:
        call, charge = self.last_call.get(account, ("req_none", 0))
        month = month_of(self.clock.wall_ms)
        made = Adjustment(
            new_id("adj_"), account, month, "refund", Units(-amount - 1), "why", "ann", self.clock.wall_ms, call
        )
        try:
            await self.store.adjustments.add(made)
        except (Conflict, NotFound):
            return
        assert amount + 1 <= charge, "more was given back than the call cost"
        self.adjusted[account, month] -= amount + 1

    async def change(self, account: str, what: str, slot: int) -> None:
        now = self.clock.wall_ms
        stretches = self.stretches[account]
        goes_on = bool(stretches) and stretches[-1][1] is None
        try:
            if what == "start":
                credit = (CREDIT, OTHER_CREDIT, 0)[slot % 3]
                wanted = subscription(
                    new_id(""), account_id=account, started_at=now, credit=Units(credit), fee=Units(FEE)
                )
                begun = await self.store.subscriptions.start(wanted, "ann")
                assert not goes_on, "two stretches go on at once"
                stretches.append([begun.started_at, None, credit])
                self.grant(account, month_of(begun.started_at))
            elif what == "cancel":
                ended = await self.store.subscriptions.change(account, "cancelled", "ann")
                stretches[-1][1] = ended.ends_at
            else:
                await self.store.subscriptions.change(account, "suspended" if what == "suspend" else "active", "ann")
        except (Conflict, NotFound):
            assert goes_on or what != "start", "a start was refused that nothing stood against"

    async def check(self) -> None:
        assert await self.store.ledger.reconcile() == []
        months = {month for _, month, _ in self.charged} | {month_of(self.clock.wall_ms)}
        for name in ACCOUNTS:
            account = await self.store.directory.account(name)
            assert account is not None
            for month in months:
                await self.check_month(account, month)

    async def check_month(self, account: Account, month: str) -> None:
        bill = await invoice_of(self.store, account, month, self.clock.wall_ms)
        lines = {line.model: line.amount for line in bill.inference}
        expected = {key[2]: total for key, total in self.charged.items() if key[:2] == (account.id, month)}
        assert lines == expected, "an inference line is not the ledger's sum"
        assert lines == await self.recorded(account.id, month), "an inference line is not the records' sum"
        granted = self.granted.get((account.id, month), 0)
        assert bill.credit_granted == granted, "credit was granted otherwise than once"
        splits = self.splits[account.id, month]
        assert bill.credit_used == sum(used for used, _ in splits) <= granted
        assert bill.overage == sum(over for _, over in splits)
        assert bill.adjustments_total == self.adjusted[account.id, month]
        begins, ends = month_bounds(month)
        touched = [
            began
            for began, ended, _ in self.stretches[account.id]
            if began is not None and began < ends and (ended is None or ended > begins or began >= begins)
        ]
        assert bill.fixed_total == (FEE if touched else 0), "a fee was charged otherwise than once a month and plan"
        assert bill.total == bill.fixed_total + bill.overage + bill.adjustments_total

    async def recorded(self, account_id: str, month: str) -> dict[str, int]:
        sums: dict[str, int] = defaultdict(int)
        for record in await self.store.records.read(RecordQuery(account_id, AUDIT_THREAD, limit=10_000)):
            call = await self.store.ledger.find(record.id)
            assert call is not None
            if call.settlement.hold.month == month:
                body = msgspec.json.decode(record.body)
                sums[body["model"]] += parse_usd(body["cost_usd"])
        return dict(sums)


async def play(taken: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as home:
        clock = ManualClock(samples.STARTED_AT)
        store = SqliteStore(Path(home) / "store.sqlite3", clock, 0)
        await store.open()
        try:
            for account in ACCOUNTS:
                await store.directory.create_account(samples.account(id=account, name=account), "test")
            run = Run(store, clock)
            for step in taken:
                await run.step(*step)
            await run.check()
        finally:
            await store.close()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_invoice_ledger_and_records_say_the_same(taken: list[Step]) -> None:
    asyncio.run(play(taken))


calls = st.lists(st.integers(0, 120), min_size=1, max_size=30)


async def spend_all(charges: list[int], credit: int) -> list[tuple[int, int]]:
    with tempfile.TemporaryDirectory() as home:
        store = SqliteStore(Path(home) / "store.sqlite3", ManualClock(samples.STARTED_AT), 0)
        await store.open()
        try:
            await store.directory.create_account(samples.account(), "test")
            await store.subscriptions.start(subscription(credit=Units(credit)), "test")
            for number, charge in enumerate(charges):
                held = hold(f"req_{number}", max(charge, 1))
                await store.ledger.hold(held)
                await store.ledger.settle(settlement(held, charge))
                if number % 5 == 4:
                    await store.subscriptions.change("acct_sample", "cancelled", "test")
                    again = subscription(f"again_{number}", credit=Units(credit))
                    await store.subscriptions.start(again, "test", action="subscription.reactivate")
            rows = [await store.ledger.find(f"req_{number}") for number in range(len(charges))]
            return [(row.settled.credit_used, row.settled.overage) for row in rows if row is not None]
        finally:
            await store.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(calls, st.integers(0, 1000))
def test_credit_is_used_up_before_the_first_overage_and_coming_back_mints_none(charges: list[int], credit: int) -> None:
    splits = asyncio.run(spend_all(charges, credit))
    left = credit
    for charge, (used, overage) in zip(charges, splits, strict=True):
        assert (used, overage) == (min(charge, left), charge - min(charge, left))
        left -= used
