"""The limiter in memory does what every limiter must, and what is its own: snapshots, clocks over a restart, memory."""

import asyncio
import gc
import tracemalloc

import pytest

from gateway_core.errors import ConfigError, RateLimited, StoreError
from gateway_core.limits import MemoryLimiter
from gateway_core.limits.memory import STATE
from gateway_core.ports import Clock, Limiter
from gateway_core.store_ports import Store
from gateway_core.testing.clock import ManualClock
from gateway_core.testing.limiter_suite import DAY, NOON, RPM, TPM, KeptState, LimiterSuite, refused
from gateway_core.types import Window


class TestMemoryLimiter(LimiterSuite):
    def make(self, store: Store, clock: Clock) -> Limiter:
        return MemoryLimiter("memory", store, clock)


async def _full(kept: KeptState, clock: ManualClock) -> None:
    """A run that fills RPM and DAY, and ends properly."""
    limiter = MemoryLimiter("memory", kept.as_store(), clock)
    for _ in range(5):
        await limiter.reserve((RPM,), 0)
    for _ in range(3):
        await limiter.reserve((DAY,), 0)
    await limiter.close()


@pytest.mark.parametrize(
    ("down", "jump", "reboot", "retry_after"),
    [
        (10, 0, False, 50),
        (10, 3600, False, 50),  # the monotonic clock knows better than a wall clock that was set forward
        (10, -3600, False, 60),  # set back: an age is never negative, so the windows stay a whole minute
        (10, 0, True, 50),  # after a reboot there is only the wall clock
        (10, -3600, True, 60),
    ],
)
async def test_a_minute_over_a_restart(down: int, jump: int, reboot: bool, retry_after: int) -> None:
    kept, clock = KeptState(), ManualClock(NOON)
    await _full(kept, clock)
    clock.advance(down)
    clock.jump(jump)
    if reboot:
        clock.seconds = 5.0
    limiter = MemoryLimiter("memory", kept.as_store(), clock)
    assert (await refused(limiter, (RPM,))).retry_after == retry_after
    clock.advance(retry_after)
    await limiter.reserve((RPM,), 0)
    await limiter.close()


@pytest.mark.parametrize("reboot", [False, True])
async def test_a_clock_set_back_over_a_restart_gives_no_second_day(reboot: bool) -> None:
    kept, clock = KeptState(), ManualClock(NOON)
    await _full(kept, clock)
    clock.jump(-20 * 3600)
    if reboot:
        clock.seconds = 0.0
    limiter = MemoryLimiter("memory", kept.as_store(), clock)
    assert (await refused(limiter, (DAY,))).retry_after == 32 * 3600
    clock.advance(32 * 3600)
    await limiter.reserve((DAY,), 0)
    await limiter.close()


async def test_without_a_close_the_last_snapshot_counts() -> None:
    class Noting(KeptState):
        def __init__(self) -> None:
            super().__init__()
            self.put = asyncio.Event()

        async def put_state(self, name: str, value: bytes) -> None:
            await super().put_state(name, value)
            self.put.set()

    kept, clock = Noting(), ManualClock(NOON)
    killed = MemoryLimiter("memory", kept.as_store(), clock)
    for _ in range(4):
        await killed.reserve((RPM,), 0)
    await kept.put.wait()
    snapshot = dict(kept.values)
    await killed.reserve((RPM,), 0)
    await killed.close()
    kept.values = snapshot
    second = MemoryLimiter("memory", kept.as_store(), clock)
    assert (await second.peek((RPM,)))[0].remaining == 1
    await second.close()


async def test_a_store_that_fails_for_a_while_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(KeptState):
        def __init__(self) -> None:
            super().__init__()
            self.failures = 1
            self.put = asyncio.Event()

        async def put_state(self, name: str, value: bytes) -> None:
            if self.failures:
                self.failures -= 1
                raise StoreError("the disk is full")
            await super().put_state(name, value)
            self.put.set()

    kept = Failing()
    limiter = MemoryLimiter("memory", kept.as_store(), ManualClock(NOON))
    await limiter.reserve((RPM,), 0)
    await kept.put.wait()
    assert "the limits could not be saved and will be again: the disk is full" in caplog.text
    await limiter.close()


@pytest.mark.parametrize("data", [b"", b"{", b'{"version":2}', b'{"version":1,"wall_ms":"x"}', b"\xff\n[]"])
async def test_a_snapshot_that_cannot_be_read_is_no_obstacle(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    kept = KeptState()
    kept.values[STATE] = data
    limiter = MemoryLimiter("memory", kept.as_store(), ManualClock(NOON))
    assert (await limiter.reserve((RPM,), 0)).states[0].remaining == 4
    assert "the saved limits cannot be read" in caplog.text
    await limiter.close()


async def test_idle_windows_are_forgotten() -> None:
    clock = ManualClock(NOON)
    limiter = MemoryLimiter("memory", KeptState().as_store(), clock)
    steady = Window("steady", "requests", 10**9)
    tracemalloc.start()
    try:
        sizes = []
        for generation in range(12):
            for i in range(5000):
                await limiter.reserve((Window(f"{generation}-{i}", "requests", 5), steady), 0)
                clock.advance(0.02)
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    # Keys of the last generations are in memory, never all 60,000.
    assert len(limiter) < 25_000
    assert sizes[-1] < max(sizes[:6]) * 1.1
    await limiter.close()


async def test_days_are_forgotten_when_they_are_over() -> None:
    clock = ManualClock(NOON)
    limiter = MemoryLimiter("memory", KeptState().as_store(), clock)
    for day in range(5):
        for i in range(3000):
            await limiter.reserve((Window(f"{day}-{i}", "requests", 5, day=True),), 0)
        clock.advance(86_400)
    assert len(limiter) <= 3000
    await limiter.close()


async def test_what_was_reserved_yesterday_gives_today_nothing() -> None:
    clock = ManualClock(NOON)
    limiter = MemoryLimiter("memory", KeptState().as_store(), clock)
    yesterday = await limiter.reserve((DAY,), 0)
    clock.advance(86_400)
    await limiter.reserve((DAY,), 0)
    limiter.cancel(yesterday)
    assert (await limiter.peek((DAY,)))[0].remaining == 2
    await limiter.close()


async def test_nothing_is_written_where_nothing_changes() -> None:
    kept = KeptState()
    limiter = MemoryLimiter("memory", kept.as_store(), ManualClock(NOON))
    await limiter.peek((RPM, TPM))
    limiter.settle(await limiter.reserve((), 0), 10)
    for _ in range(20):
        with pytest.raises(RateLimited):
            await limiter.reserve((Window("k", "requests", 0),), 0)
    assert limiter._saver is None
    await limiter.close()


async def test_a_snapshot_that_was_cut_off_is_followed_by_another() -> None:
    limiter = MemoryLimiter("memory", KeptState().as_store(), ManualClock(NOON))
    await limiter.reserve((RPM,), 0)
    first = limiter._saver
    assert first is not None
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    await limiter.reserve((RPM,), 0)
    assert limiter._saver not in (None, first)
    await limiter.close()


def test_an_address_is_refused() -> None:
    with pytest.raises(ConfigError, match="no place for limits in memory"):
        MemoryLimiter("memory://elsewhere", KeptState().as_store(), ManualClock())
