"""What a call was charged whose answer nobody got is given back once, however many such calls there are."""

import asyncio
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gateway_core.errors import Conflict, StoreError
from gateway_core.money import Units
from gateway_core.settle import Settler
from gateway_core.store.sqlite import SqliteStore
from gateway_core.testing import samples
from gateway_core.testing.calls import MONTH, hold, spend
from gateway_core.testing.clock import ManualClock
from gateway_core.types import Adjustment

HELD = [hold(f"req_{number:026}") for number in range(200)]


class Adjustments:
    """Counts what it is asked for, and answers when it may."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.free = asyncio.Event()
        self.failing = False

    async def add(self, adjustment: Adjustment) -> Adjustment:
        self.asked[adjustment.id] += 1
        await self.free.wait()
        if self.failing:
            raise StoreError
        return adjustment


def settler(adjustments: Adjustments) -> Settler:
    async def ready() -> bool:
        return True

    store: Any = SimpleNamespace(adjustments=adjustments, ready=ready)
    unused: Any = None
    return Settler(store, unused, unused, ManualClock())


async def test_when_many_clients_leave_at_once_each_refund_is_written_once() -> None:
    adjustments = Adjustments()
    settling = settler(adjustments)
    refunds = [asyncio.create_task(settling.refund(one, Units(5), "gone")) for one in HELD]
    await asyncio.sleep(0)
    adjustments.free.set()
    await asyncio.gather(*refunds)
    assert len(adjustments.asked) == len(HELD)
    assert adjustments.asked.total() == len(HELD)
    await settling.retry()
    assert adjustments.asked.total() == len(HELD)


async def test_one_that_failed_is_tried_again_until_it_is_made() -> None:
    adjustments = Adjustments()
    adjustments.free.set()
    adjustments.failing = True
    settling = settler(adjustments)
    results = await asyncio.gather(
        *(settling.refund(one, Units(5), "gone") for one in HELD[:2]), return_exceptions=True
    )
    assert [type(result) for result in results] == [StoreError, StoreError]
    await settling.retry()
    adjustments.failing = False
    await settling.retry()
    await settling.retry()
    # The second look ends at the first that fails; the third makes both, and the fourth has nothing to do.
    assert sorted(adjustments.asked.values()) == [2, 3]


async def test_one_for_a_call_of_a_month_that_has_passed_is_on_the_invoice_of_the_month_that_goes_on(
    tmp_path: Path,
) -> None:
    clock = ManualClock(samples.STARTED_AT)
    store = SqliteStore(tmp_path / "store.sqlite3", clock)
    await store.open()
    await store.directory.create_account(samples.account(), "test")
    unused: Any = None
    settling = Settler(store, unused, unused, clock)
    await spend(store, HELD[0], 30)
    clock.jump(10 * 86_400)
    await settling.refund(HELD[0], Units(30), "gone")
    await settling.retry()
    (made,) = await store.adjustments.of_month("acct_sample", "2026-12")
    assert (made.amount, made.refers_to) == (-30, HELD[0].id)
    assert await store.adjustments.of_month("acct_sample", MONTH) == []
    assert await store.ledger.reconcile() == []
    await store.close()


async def test_a_month_that_ends_while_one_is_made_is_no_reason_to_forget_it() -> None:
    clock = ManualClock(samples.STARTED_AT)
    made: list[Adjustment] = []

    async def add(adjustment: Adjustment) -> Adjustment:
        if adjustment.month == MONTH:
            clock.jump(10 * 86_400)
            raise Conflict("The month has passed.")
        made.append(adjustment)
        return adjustment

    async def ready() -> bool:
        return True

    store: Any = SimpleNamespace(adjustments=SimpleNamespace(add=add), ready=ready)
    unused: Any = None
    settling = Settler(store, unused, unused, clock)
    await settling.refund(HELD[0], Units(5), "gone")
    assert made == []
    await settling.retry()
    await settling.retry()
    assert [adjustment.month for adjustment in made] == ["2026-12"]
