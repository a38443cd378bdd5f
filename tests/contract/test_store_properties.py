"""Whatever the order of holds, calls, ends and restarts: caps hold, credit goes first, all sums are the same."""

import asyncio
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any, Literal

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway_core.errors import QuotaExceeded
from gateway_core.money import Units, parse_usd
from gateway_core.store.sqlite import SqliteStore
from gateway_core.store_ports import RecordQuery, Store
from gateway_core.testing import samples
from gateway_core.testing.calls import MONTH, hold, settlement
from gateway_core.testing.clock import ManualClock
from gateway_core.types import Hold

ACCOUNT_CAP, BEARER_CAP, CREDIT = 1000, 600, 250
ACCOUNTS = ("acct_0", "acct_1")
BEARERS = ("key_0", "key_1")

Step = tuple[Literal["hold", "open", "settle", "settle-late", "release", "restart", "gather"], int, int]

steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["hold", "hold", "hold", "open", "settle", "settle", "settle-late", "release", "restart", "gather"]
        ),
        st.integers(0, 11),
        st.integers(0, 400),
    ),
    max_size=60,
)


class Model:
    """What must be true, kept by the simplest means there are."""

    def __init__(self) -> None:
        self.held: dict[str, Hold] = {}
        self.opened: set[str] = set()
        self.charged: dict[str, tuple[Hold, int]] = {}

    def spent(self, account: str, bearer: str | None = None) -> int:
        holds = [(held, held.amount) for held in self.held.values()] + list(self.charged.values())
        return sum(amount for held, amount in holds if held.account_id == account and bearer in (None, held.bearer_id))

    def fits(self, wanted: Hold) -> bool:
        account = self.spent(wanted.account_id) + wanted.amount <= ACCOUNT_CAP
        return account and self.spent(wanted.account_id, wanted.bearer_id) + wanted.amount <= BEARER_CAP


class Run:
    """One sequence of steps on a real store."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.model = Model()
        self.pending: list[asyncio.Future[Any]] = []

    async def begin(self) -> None:
        self.store: Store = SqliteStore(self.home / "store.sqlite3", ManualClock(samples.STARTED_AT))
        await self.store.open()

    async def gather(self) -> None:
        await asyncio.gather(*self.pending)
        self.pending.clear()

    async def step(self, what: str, slot: int, amount: int) -> None:
        call_id = f"req_{slot:02}"
        held = self.model.held.get(call_id)
        if what == "gather":
            await self.gather()
        elif what == "restart":
            await self.restart()
        elif what == "hold" and not held and call_id not in self.model.charged:
            await self.hold(call_id, slot, amount)
        elif what == "open" and held and call_id not in self.model.opened:
            self.model.opened.add(call_id)
            self.pending.append(self.store.ledger.open(held))
        elif what == "settle" and held:
            self.settle(held, amount)
        elif what == "settle-late" and call_id in self.model.charged:
            self.pending.append(self.store.ledger.settle(settlement(self.model.charged[call_id][0], 0)))
        elif what == "release" and held and call_id not in self.model.opened:
            self.store.ledger.release(held)
            del self.model.held[call_id]

    async def hold(self, call_id: str, slot: int, amount: int) -> None:
        wanted = hold(
            call_id,
            amount,
            account_id=ACCOUNTS[slot % 2],
            bearer_id=BEARERS[slot // 2 % 2],
            stream=slot % 3 == 0,
            account_cap=Units(ACCOUNT_CAP),
            bearer_cap=Units(BEARER_CAP),
        )
        fits = self.model.fits(wanted)
        try:
            await self.store.ledger.hold(wanted)
        except QuotaExceeded:
            assert not fits, "a hold that the caps afford was refused"
        else:
            assert fits, "a cap was passed"
            self.model.held[call_id] = wanted

    def settle(self, held: Hold, amount: int) -> None:
        del self.model.held[held.id]
        charge = min(amount, held.amount)
        self.model.charged[held.id] = (held, charge)
        self.pending.append(self.store.ledger.settle(settlement(held, charge)))

    async def restart(self) -> None:
        """What was only held is forgotten; what was open is an orphan, and is settled at 0."""
        await self.gather()
        await self.store.close()
        await self.begin()
        orphans = {orphan.hold.id: orphan.hold for orphan in await self.store.ledger.orphans()}
        assert orphans == {name: held for name, held in self.model.held.items() if name in self.model.opened}
        self.model.held = orphans
        for held in list(orphans.values()):
            self.settle(held, 0)
        await self.gather()

    async def check(self) -> None:
        await self.restart()
        store = self.store
        assert await store.ledger.reconcile() == []
        charges: dict[str, int] = defaultdict(int)
        for held, charge in self.model.charged.values():
            charges[held.account_id] += charge
        usage = await store.reports.totals(None, "2026-11-01", "2026-11-30", ("account",))
        for account in ACCOUNTS:
            total = charges[account]
            month = await store.ledger.month(account, MONTH)
            assert (month.settled, month.held, month.credit_used) == (total, 0, min(total, CREDIT))
            assert sum(row.charge for row in usage if row.account_id == account) == total
            records = await store.records.read(RecordQuery(account))
            bodies = [msgspec.json.decode(record.body) for record in records]
            assert sum(parse_usd(body["cost_usd"]) for body in bodies) == total
            overage_begun = False
            for body in bodies:
                assert not (overage_begun and body["credit_used_usd"] != "0"), "credit was used after overage"
                overage_begun = overage_begun or body["overage_usd"] != "0"


async def play(taken: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as home:
        run = Run(Path(home))
        await run.begin()
        try:
            for account in ACCOUNTS:
                made = samples.account(id=account, name=account, monthly_credit=Units(CREDIT))
                await run.store.directory.create_account(made, "test")
            for step in taken:
                await run.step(*step)
            await run.check()
        finally:
            await run.store.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_any_sequence_keeps_the_books(taken: list[Step]) -> None:
    asyncio.run(play(taken))
