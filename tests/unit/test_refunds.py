"""What a call was charged whose answer nobody got is given back once, however many such calls there are."""

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

from gateway_core.errors import StoreError
from gateway_core.money import Units
from gateway_core.settle import Settler
from gateway_core.testing.calls import hold
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
