"""A month of generated traffic, invoiced and reconciled to the last unit.

Months of 28 to 31 days, a leap day, days on which clocks change, and calls over both edges of the month. What is due is
worked out a second time from the published prices, in decimals, and has to be the same.
"""

import heapq
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway_core.billing import invoice_of
from gateway_core.clock import month_bounds, month_of
from gateway_core.config import PlanConfig, PriceConfig
from gateway_core.invoice import document
from gateway_core.money import Units, usd
from gateway_core.plans import subscription_to
from gateway_core.pricing import cost, rates_of, worst_case
from gateway_core.store.sqlite import SqliteStore
from gateway_core.store_ports import RecordQuery, Store
from gateway_core.testing import samples
from gateway_core.testing.calls import hold, settlement
from gateway_core.testing.clock import ManualClock
from gateway_core.types import AUDIT_THREAD, Account, Adjustment, Hold, Instance, Usage

CALLS = 4000
MARKUP = "1.30"
LIST = {
    "claude-haiku-4-5": ("1.00", "0.10", "5.00"),
    "claude-sonnet-4-6": ("3.00", "0.30", "15.00"),
    "gpt-4o": ("2.50", "1.25", "10.00"),
    "gemini-flash-1.5": ("0.075", "0.01875", "0.30"),
    "gemini-pro": ("1.25", "0.3125", "5.00"),
}
RATES = {
    model: rates_of(model, PriceConfig(input=given, cached_input=cached, output=made), MARKUP)
    for model, (given, cached, made) in LIST.items()
}
PLANS = {
    "pro": PlanConfig(fee_usd="20", credit_usd="10", instance_fee_usd="5.005"),
    "basic": PlanConfig(fee_usd="4.99", credit_usd="1.5"),
}
ACCOUNTS = ("subscriber", "returner", "payer")
HOUR, DAY = 3_600_000, 86_400_000

MONTHS = {
    "2027-02": ("America/New_York", 28),
    "2028-02": ("Europe/Berlin", 29),
    "2026-11": ("America/New_York", 30),
    "2027-03": ("Europe/Berlin", 31),
    "2026-12": ("Pacific/Kiritimati", 31),
}
"""February, a leap February, the month in which New York's clocks go back, the one in which Berlin's go forward, and a
turn of the year; each with a local time in which its edges are elsewhere."""


class Month:
    """One month's traffic on a real store, and what it should add up to."""

    def __init__(self, store: Store, clock: ManualClock, month: str) -> None:
        self.store, self.clock, self.month = store, clock, month
        self.begins, self.ends = month_bounds(month)
        self.random = random.Random(month)  # noqa: S311  # the same traffic every time
        self.accounts: dict[str, Account] = {}
        self.counts: Counter[str] = Counter()
        #: (account, month, model) → USD, by the published prices.
        self.inference: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
        self.adjusted: dict[str, Decimal] = defaultdict(Decimal)

    # ------------------------------------------------------------ what happens

    async def prepare(self) -> None:
        """Accounts that are a month old: one on pro with an instance, one that is on pro now and then, one on none."""
        self.clock.wall_ms = self.begins - 20 * DAY
        for name in ACCOUNTS:
            account = samples.account(id=f"acct_{name}", name=name, created_at=self.clock.wall_ms)
            await self.store.directory.create_account(account, "test")
            self.accounts[name] = account
        await self.start("subscriber", "pro")
        hosted = Instance("inst_hosted", "acct_subscriber", "instance", "hosted", self.begins - DAY)
        await self.store.instances.add(hosted, "test")

    async def start(self, name: str, plan: str) -> None:
        wanted = subscription_to(plan, PLANS, f"acct_{name}", self.clock.wall_ms)
        await self.store.subscriptions.start(wanted, "test")

    async def cancel(self, name: str) -> None:
        await self.store.subscriptions.change(f"acct_{name}", "cancelled", "test")

    async def play(self) -> None:
        """Calls begin and end in the order of time, and plans change between them."""
        queue: list[tuple[int, int, Any]] = []
        span = self.ends - self.begins
        for number in range(CALLS):
            # A twelfth of them within minutes of an edge: admitted in one month, settled in the next.
            edge = self.random.choice((self.begins, self.ends)) + self.random.randrange(-10 * 60_000, 10 * 60_000)
            at = edge if number % 12 == 0 else self.begins + self.random.randrange(-HOUR, span + HOUR)
            heapq.heappush(queue, (at, number, None))
        changes = [(5, self.start, "basic"), (9, self.cancel, ""), (12, self.start, "basic"), (20, self.cancel, "")]
        for number, (day, change, plan) in enumerate(changes):
            heapq.heappush(queue, (self.begins + day * DAY + 1, CALLS + number, (change, plan)))
        while queue:
            at, number, what = heapq.heappop(queue)
            self.clock.wall_ms = at
            if what is None:
                held = await self.begin(number)
                heapq.heappush(queue, (at + self.random.randrange(1, 20 * 60_000), number, held))
            elif isinstance(what, Hold):
                await self.end(what, number)
            else:
                change, plan = what
                await change("returner", *([plan] if plan else []))

    async def begin(self, number: int) -> Hold:
        name, model = self.random.choice(ACCOUNTS), self.random.choice(list(RATES))
        held = hold(
            f"req_{number:05}",
            worst_case(200_000, 16_000, RATES[model]),
            account_id=f"acct_{name}",
            bearer_id=f"key_{self.random.randrange(4)}",
            model=model,
            rates=RATES[model],
            started_at=self.clock.wall_ms,
            month=month_of(self.clock.wall_ms),
            stream=bool(number % 2),
        )
        await self.store.ledger.hold(held)
        opened = self.store.ledger.open(held)
        if held.stream:
            await opened
        return held

    async def end(self, held: Hold, number: int) -> None:
        given, cached, made = map(Decimal, LIST[held.model])
        failed = number % 17 == 0
        count = 0 if failed else self.random.randrange(1, 200_000)
        usage = Usage(
            input=count,
            cached=self.random.randrange(count) if count else 0,
            output=0 if failed else self.random.randrange(16_000),
        )
        charged = cost(usage, held.rates)
        settled = await self.store.ledger.settle(
            settlement(
                held,
                charged.charge,
                usage=usage,
                owed=charged.owed,
                outcome="failed" if failed else "ok",
                served_at=self.clock.wall_ms,
            )
        )
        at_list = (usage.input - usage.cached) * given + usage.cached * cached + usage.output * made
        price = at_list * Decimal(MARKUP) / 1_000_000
        assert usd(settled.charge) == f"{price:f}".rstrip("0").rstrip(".") or not price
        self.inference[held.account_id, held.month, held.model] += price
        self.counts["calls"] += 1
        self.counts["in the month"] += held.month == self.month
        self.counts["settled after the month they began in"] += month_of(self.clock.wall_ms) != held.month
        if number % 97 == 0 and settled.charge > 1:
            await self.refund(held, number, settled.charge // 2)

    async def refund(self, held: Hold, number: int, units: int) -> None:
        now = self.clock.wall_ms
        refund = Adjustment(
            f"adj_{number:05}", held.account_id, month_of(now), "refund", Units(-units), "why", "test", now, held.id
        )
        await self.store.adjustments.add(refund)
        if refund.month == self.month:
            self.adjusted[held.account_id] -= Decimal(usd(units))
            self.counts["refunds"] += 1

    # ------------------------------------------------------------ what it adds up to

    async def check(self, name: str, fees: Decimal, credit: Decimal) -> Decimal:
        """The account's invoice, against prices, ledger and records. Returns what is due, exactly."""
        account = self.accounts[name]
        bill = document(await invoice_of(self.store, account, self.month, self.clock.wall_ms))
        lines = {line["model"]: Decimal(line["amount_usd"]) for line in bill["inference_lines"]}
        key = (account.id, self.month)
        assert lines == {each[2]: price for each, price in self.inference.items() if each[:2] == key}
        inference = sum(lines.values(), Decimal())
        assert inference == await self.recorded(account.id)
        used = min(credit, inference)
        assert (Decimal(bill["credit_granted_usd"]), Decimal(bill["credit_used_usd"])) == (credit, used)
        total = fees + inference - used + self.adjusted[account.id]
        assert Decimal(bill["fixed_usd"]) == fees
        assert Decimal(bill["total_usd"]) == total
        assert int(bill["amount_due_cents"]) == int((total * 100).quantize(Decimal(1), ROUND_HALF_UP))
        assert bill["status"] == "final"
        self.counts["lines"] += len(lines) + len(bill["fixed_lines"]) + len(bill["adjustments"])
        return total

    async def recorded(self, account_id: str) -> Decimal:
        """What the records say that the month's calls cost."""
        total, after = Decimal(), 0
        while page := await self.store.records.read(RecordQuery(account_id, AUDIT_THREAD, after=after)):
            for record in page:
                call = await self.store.ledger.find(record.id)
                assert call is not None
                if call.settlement.hold.month == self.month:
                    total += Decimal(msgspec.json.decode(record.body)["cost_usd"])
                    self.counts["records"] += 1
            after = page[-1].sequence
        return total


@pytest.fixture(params=MONTHS)
async def month(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Month]:
    """A store at the beginning of a month, on a machine whose local time is somewhere else."""
    zone, days = MONTHS[request.param]
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    clock = ManualClock()
    store = SqliteStore(tmp_path / "store.sqlite3", clock, 0)
    await store.open()
    try:
        made = Month(store, clock, request.param)
        assert made.ends - made.begins == days * DAY
        await made.prepare()
        yield made
    finally:
        await store.close()
        monkeypatch.undo()
        time.tzset()


async def test_a_month_is_invoiced_and_reconciled_to_the_last_unit(month: Month) -> None:
    await month.play()
    straggler = await straggling_call(month)
    early = await invoice_of(month.store, month.accounts["payer"], month.month, month.clock.wall_ms)
    assert early.status == "open", "a call of the month is still open"
    await month.store.ledger.settle(settlement(straggler, 0, outcome="failed"))

    due = {
        "subscriber": await month.check("subscriber", Decimal(20) + Decimal("5.005"), Decimal(10)),
        # On basic twice, with a break: one fee, one credit, and that from its first day there on.
        "returner": await month.check("returner", Decimal("4.99"), Decimal("1.5")),
        "payer": await month.check("payer", Decimal(), Decimal()),
    }
    assert await month.store.ledger.reconcile() == []
    rows = await month.store.reports.totals(None, f"{month.month}-01", f"{month.month}-31", ())
    charged = sum(amount for (_, at, _), amount in month.inference.items() if at == month.month)
    assert Decimal(usd(rows[0].charge)) == charged
    assert month.counts["calls"] == CALLS
    assert month.counts["settled after the month they began in"] > 50
    summary = ", ".join(f"{count} {what}" for what, count in month.counts.items())
    exact = ", ".join(f"{name} {amount}" for name, amount in due.items())
    print(f"\n{month.month}: {summary}; inference {charged} USD; due, exactly: {exact}; reconciled: no difference")


async def straggling_call(month: Month) -> Hold:
    """A call that was admitted in the last millisecond and is still open when the month has passed."""
    last = month.ends - 1
    held = hold("req_straggler", 100, account_id="acct_payer", started_at=last, month=month.month)
    await month.store.ledger.hold(held)
    month.inference[held.account_id, held.month, held.model] += 0
    assert month.clock.wall_ms >= month.ends
    return held
