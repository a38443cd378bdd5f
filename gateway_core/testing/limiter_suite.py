"""What every limiter must do. Subclass `LimiterSuite` in a test module, name it Test…, and say how yours is made."""

import asyncio
from typing import Any, cast

import pytest

from gateway_core.errors import RateLimited
from gateway_core.ports import Clock, Limiter
from gateway_core.store_ports import Store
from gateway_core.testing.clock import ManualClock
from gateway_core.types import Reservation, Window

NOON = 1_795_348_800_000
"""2026-11-22T12:00:00Z, in milliseconds."""

RPM = Window("acct_1", "requests", 5, tier="paid")
TPM = Window("acct_1", "tokens", 1000, label="tokens per minute", tier="paid")
DAY = Window("addr_1", "requests", 3, day=True, label="messages per day", tier="anonymous")


class KeptState:
    """The part of a store that a limiter uses."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    async def get_state(self, name: str) -> bytes | None:
        """The value last put."""
        return self.values.get(name)

    async def put_state(self, name: str, value: bytes) -> None:
        """Keeps it."""
        self.values[name] = value

    def as_store(self) -> Store:
        """As the limiter's constructor wants it."""
        return cast("Store", self)


async def refused(limiter: Limiter, windows: tuple[Window, ...], tokens: int = 0) -> RateLimited:
    """The refusal of one more call."""
    with pytest.raises(RateLimited) as caught:
        await limiter.reserve(windows, tokens)
    return caught.value


async def attempt(limiter: Limiter, windows: tuple[Window, ...], tokens: int = 0) -> Reservation | RateLimited:
    """One call, admitted or refused."""
    try:
        return await limiter.reserve(windows, tokens)
    except RateLimited as error:
        return error


class LimiterSuite:
    """The contract of ports.Limiter. `make` is called again on the same store after `close`: a restart."""

    def make(self, store: Store, clock: Clock) -> Limiter:
        """A limiter whose windows are those that the store, or its own home, has kept."""
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock(NOON)

    @pytest.fixture
    def kept(self) -> KeptState:
        return KeptState()

    @pytest.fixture
    def limiter(self, kept: KeptState, clock: ManualClock) -> Limiter:
        return self.make(kept.as_store(), clock)

    async def test_admits_the_limit_and_no_more(self, limiter: Limiter, clock: ManualClock) -> None:
        for left in (4, 3, 2, 1, 0):
            (state,) = (await limiter.reserve((RPM,), 0)).states
            assert (state.remaining, state.reset_ms) == (left, 60_000)
            clock.advance(0.25)
        error = await refused(limiter, (RPM,))
        assert error.message == "5 requests per minute on paid tier; retry in 60s"
        assert (error.limit, error.tier, error.retry_after) == ("5 requests per minute", "paid", 60)
        assert error.should_retry is None
        assert [state.remaining for state in error.states] == [0]
        await limiter.close()

    async def test_what_is_reserved_at_once_is_reserved(self, limiter: Limiter) -> None:
        """`reserve_now` is `reserve`, or None where it must wait: it never admits more."""
        await limiter.reserve((RPM,), 0)
        admitted = [limiter.reserve_now((RPM,), 0) for _ in range(4)]
        left = admitted.count(None)
        (state,) = await limiter.peek((RPM,))
        assert state.remaining == left
        if not left:
            with pytest.raises(RateLimited):
                limiter.reserve_now((RPM,), 0)
        await limiter.close()

    async def test_the_window_slides(self, limiter: Limiter, clock: ManualClock) -> None:
        for _ in range(5):
            await limiter.reserve((RPM,), 0)
            clock.advance(10)
        assert (await refused(limiter, (RPM,))).retry_after == 10
        clock.advance(10)
        await limiter.reserve((RPM,), 0)
        assert (await refused(limiter, (RPM,))).retry_after == 10
        await limiter.close()

    async def test_waiting_as_told_succeeds(self, limiter: Limiter, clock: ManualClock) -> None:
        for step in range(40):
            clock.advance(0.7 + step % 3)
            result = await attempt(limiter, (RPM, TPM), 10 + step * 17)
            if isinstance(result, RateLimited):
                assert result.retry_after is not None
                assert 1 <= result.retry_after <= 60
                clock.advance(result.retry_after)
                await limiter.reserve((RPM, TPM), 10 + step * 17)
        await limiter.close()

    async def test_a_refusal_takes_nothing_anywhere(self, limiter: Limiter) -> None:
        await limiter.reserve((TPM,), 900)
        before = await limiter.peek((RPM, TPM))
        assert (await refused(limiter, (RPM, TPM), 101)).limit == "1000 tokens per minute"
        assert await limiter.peek((RPM, TPM)) == before
        assert before[0].remaining == 5
        await limiter.close()

    async def test_the_wait_is_enough_for_every_window(self, limiter: Limiter, clock: ManualClock) -> None:
        for _ in range(5):
            await limiter.reserve((RPM,), 0)
        clock.advance(20)
        await limiter.reserve((TPM,), 1000)
        error = await refused(limiter, (RPM, TPM), 1)
        assert (error.limit, error.retry_after) == ("5 requests per minute", 60)
        clock.advance(60)
        await limiter.reserve((RPM, TPM), 1)
        await limiter.close()

    async def test_unused_tokens_come_back(self, limiter: Limiter) -> None:
        reservation = await limiter.reserve((RPM, TPM), 800)
        limiter.settle(reservation, 300)
        requests, tokens = await limiter.peek((RPM, TPM))
        assert (requests.remaining, tokens.remaining) == (4, 700)
        limiter.settle(reservation, 0)
        limiter.cancel(reservation)
        assert await limiter.peek((RPM, TPM)) == (requests, tokens)
        await limiter.close()

    async def test_an_overrun_is_a_debt(self, limiter: Limiter, clock: ManualClock) -> None:
        reservation = await limiter.reserve((TPM,), 100)
        clock.advance(30)
        limiter.settle(reservation, 1600)
        error = await refused(limiter, (TPM,), 1)
        assert error.retry_after == 60
        assert error.states[0].remaining == 0
        clock.advance(59)
        assert (await refused(limiter, (TPM,), 1)).retry_after == 1
        clock.advance(1)
        await limiter.reserve((TPM,), 1000)
        await limiter.close()

    async def test_the_debt_of_a_long_call_counts_after_its_window_passed(
        self, limiter: Limiter, clock: ManualClock
    ) -> None:
        reservation = await limiter.reserve((TPM,), 100)
        for minute in range(10):
            clock.advance(61)
            await limiter.reserve((Window(f"other{minute}", "requests", 5),), 0)
        limiter.settle(reservation, 1100)
        assert (await limiter.peek((TPM,)))[0].remaining == 0
        await limiter.close()

    async def test_a_late_refund_gives_nothing_extra(self, limiter: Limiter, clock: ManualClock) -> None:
        reservation = await limiter.reserve((TPM,), 1000)
        clock.advance(60)
        await limiter.reserve((TPM,), 700)
        limiter.settle(reservation, 0)
        assert (await limiter.peek((TPM,)))[0].remaining == 300
        await limiter.close()

    async def test_a_call_that_reserves_no_tokens_is_counted_too(self, limiter: Limiter) -> None:
        reservation = await limiter.reserve((TPM,), 0)
        assert [state.remaining for state in reservation.states] == [1000]
        limiter.settle(reservation, 1000)
        assert (await refused(limiter, (TPM,), 0)).limit == "1000 tokens per minute"
        await limiter.close()

    async def test_what_never_fits_is_said_so(self, limiter: Limiter) -> None:
        error = await refused(limiter, (RPM, TPM), 1001)
        assert (error.retry_after, error.should_retry, error.limit) == (None, False, None)
        assert error.message.startswith(
            "1000 tokens per minute on paid tier: this call alone would reserve 1001 tokens"
        )
        error = await refused(limiter, (Window("acct_2", "requests", 0, tier="team"),))
        assert (error.message, error.should_retry) == ("0 requests per minute on team tier: no call is allowed", False)
        await limiter.close()

    async def test_a_cancelled_call_never_was(self, limiter: Limiter) -> None:
        before = [state.remaining for state in await limiter.peek((RPM, TPM, DAY))]
        limiter.cancel(await limiter.reserve((RPM, TPM, DAY), 500))
        assert [state.remaining for state in await limiter.peek((RPM, TPM, DAY))] == before
        await limiter.close()

    async def test_a_day_ends_at_midnight_in_utc(self, limiter: Limiter, clock: ManualClock) -> None:
        for _ in range(3):
            await limiter.reserve((DAY,), 0)
        error = await refused(limiter, (DAY,))
        assert error.message == "3 messages per day on anonymous tier; retry in 43200s"
        assert (error.should_retry, error.retry_after) == (False, 43_200)
        clock.advance(43_199)
        assert (await refused(limiter, (DAY,))).retry_after == 1
        clock.advance(1)
        assert (await limiter.reserve((DAY,), 0)).states[0].remaining == 2
        await limiter.close()

    async def test_a_full_day_is_named_before_a_full_minute(self, limiter: Limiter) -> None:
        minute = Window("addr_1", "requests", 3, tier="anonymous")
        for _ in range(3):
            await limiter.reserve((minute, DAY), 0)
        assert (await refused(limiter, (minute, DAY))).limit == "3 messages per day"
        await limiter.close()

    async def test_a_clock_that_jumps_back_gives_no_second_day(self, limiter: Limiter, clock: ManualClock) -> None:
        clock.advance(12 * 3600 - 1800)
        for jump in (0, 3600):
            clock.jump(jump)
            for _ in range(3):
                await limiter.reserve((DAY,), 0)
        for jump in (-3600, 3600, -7200):
            clock.jump(jump)
            assert (await refused(limiter, (DAY,))).limit == "3 messages per day"
        await limiter.close()

    async def test_a_clock_that_was_wrong_by_a_year_locks_nobody_out(
        self, limiter: Limiter, clock: ManualClock
    ) -> None:
        clock.jump(365 * 86_400)
        for _ in range(3):
            await limiter.reserve((DAY,), 0)
        clock.jump(-365 * 86_400)
        assert (await refused(limiter, (DAY,))).retry_after == 86_400
        clock.advance(86_400)
        await limiter.reserve((DAY,), 0)
        await limiter.close()

    async def test_minutes_do_not_care_for_the_wall_clock(self, limiter: Limiter, clock: ManualClock) -> None:
        for jump in (0, 3600, -7200, 86_400, -86_400):
            clock.jump(jump)
            await limiter.reserve((RPM,), 0)
        clock.jump(3600)
        assert (await refused(limiter, (RPM,))).retry_after == 60
        await limiter.close()

    async def test_peeking_takes_nothing(self, limiter: Limiter) -> None:
        for _ in range(20):
            await limiter.peek((RPM, TPM, DAY))
        states = await limiter.peek((RPM, TPM, DAY))
        assert [(state.remaining, state.reset_ms) for state in states] == [(5, 0), (1000, 0), (3, 0)]
        await limiter.close()

    async def test_windows_of_one_key_do_not_mix(self, limiter: Limiter) -> None:
        minute = Window("k", "requests", 2)
        hour = Window("k", "requests", 9, seconds=3600, label="requests per hour")
        tokens = Window("k", "tokens", 50)
        day = Window("k", "requests", 7, day=True)
        reservation = await limiter.reserve((minute, hour, tokens, day), 20)
        assert [state.remaining for state in reservation.states] == [1, 8, 30, 6]
        await limiter.close()

    async def test_no_windows_no_limit(self, limiter: Limiter) -> None:
        reservation = await limiter.reserve((), 10**9)
        limiter.settle(reservation, 10**9)
        limiter.cancel(reservation)
        assert reservation.states == ()
        await limiter.close()

    async def test_a_hundred_at_once(self, limiter: Limiter) -> None:
        results: list[Any] = await asyncio.gather(
            *(limiter.reserve((RPM, TPM), 1) for _ in range(100)), return_exceptions=True
        )
        assert sum(isinstance(result, RateLimited) for result in results) == 95
        await limiter.close()

    async def test_the_busiest_windows_come_first(self, kept: KeptState, clock: ManualClock) -> None:
        """By the share that is taken; after a restart as soon as a call says what the limit is."""
        first = self.make(kept.as_store(), clock)
        assert await first.busiest(5) == ()
        await first.reserve((RPM, TPM), 900)
        await first.reserve((DAY,), 0)
        states = await first.busiest(5)
        assert [(state.window, state.remaining) for state in states] == [(TPM, 100), (DAY, 2), (RPM, 4)]
        assert [state.window for state in await first.busiest(1)] == [TPM]
        clock.advance(61)
        assert [state.window for state in await first.busiest(5)] == [DAY]
        await first.reserve((RPM,), 0)
        await first.close()
        second = self.make(kept.as_store(), clock)
        await second.reserve((RPM,), 0)
        assert [(state.window, state.remaining) for state in await second.busiest(5)][:1] == [(RPM, 3)]
        await second.close()

    async def test_windows_survive_a_restart(self, kept: KeptState, clock: ManualClock) -> None:
        first = self.make(kept.as_store(), clock)
        for _ in range(3):
            await first.reserve((RPM, TPM, DAY), 100)
            clock.advance(2.5)
        await first.close()
        clock.advance(20)
        second = self.make(kept.as_store(), clock)
        states = await second.peek((RPM, TPM, DAY))
        assert [state.remaining for state in states] == [2, 700, 0]
        assert (await refused(second, (DAY,))).limit == "3 messages per day"
        await second.reserve((RPM,), 0)
        await second.reserve((RPM,), 0)
        assert (await refused(second, (RPM,))).retry_after == 33
        clock.advance(33)
        await second.reserve((RPM,), 0)
        await second.close()
