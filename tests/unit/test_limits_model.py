"""The limiter against an exact model: a list of what was taken and when. More than 100,000 steps.

After every step: what was admitted never passes a limit in any 60 seconds (or day); a refusal takes nothing, was
needed but for the grain of one second, and ends when it says; and a settlement gives back exactly what was not used.
"""

import asyncio
import copy
from collections.abc import Iterator

import msgspec
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from gateway_core.errors import RateLimited
from gateway_core.limits import MemoryLimiter
from gateway_core.limits.windows import Windows
from gateway_core.testing.clock import ManualClock
from gateway_core.testing.limiter_suite import KeptState, attempt
from gateway_core.types import Reservation, Window

STEPS = 700
EXAMPLES = 300

DAY_MS = 86_400_000
RPM = Window("k", "requests", 5)
TPM = Window("k", "tokens", 100, label="tokens per minute")
DAY = Window("k", "requests", 9, day=True, label="messages per day")
CHOICES = ((RPM,), (TPM,), (RPM, TPM), (RPM, DAY), (TPM, RPM, DAY), (DAY,))
#: Milliseconds that pass, chosen by a byte: mostly less than a second, at times whole windows, to the millisecond.
PAUSES = (0, 1, 7, 250, 333, 500, 999, 1000, 1001, 2500, 7777, 12_000, 29_999, 30_000, 59_999, 60_000, 60_001, 61_000)
#: Minutes that the wall clock is set by.
JUMPS = (-60, 60, -1440, 1440, -90, 30, -525_600, 525_600)


class Took(msgspec.Struct):
    """One entry of the model: when it was taken (monotonic, ms), in which allowance, and how much still counts."""

    at: int
    allowance: int
    amount: int


class Model:
    """What was taken, exactly."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.taken: dict[Window, list[Took]] = {RPM: [], TPM: [], DAY: []}
        #: Which of the days' allowances is being used, the latest day it has seen, and since when.
        self.allowance = self.latest = self.since = 0

    def now(self) -> int:
        return round(self.clock.seconds * 1000)

    def look_at_the_day(self) -> None:
        """A new allowance begins with a day later than any before, or with another day after 24 hours."""
        day = self.clock.wall_ms // DAY_MS
        if day > self.latest or (day < self.latest and self.now() - self.since >= DAY_MS):
            self.allowance += 1
            self.latest, self.since = day, self.now()

    def take(self, window: Window, amount: int) -> Took:
        entry = Took(self.now(), self.allowance, amount)
        kept = DAY_MS * 2 if window.day else 130_000
        self.taken[window] = [old for old in self.taken[window] if self.now() - old.at <= kept] + [entry]
        return entry

    def used(self, window: Window, ms: int = 60_000) -> int:
        """What was taken in the last `ms` milliseconds, or of this day's allowance."""
        if window.day:
            return sum(old.amount for old in self.taken[window] if old.allowance == self.allowance)
        return sum(old.amount for old in self.taken[window] if self.now() - old.at < ms)

    def full(self, windows: tuple[Window, ...], tokens: int) -> bool:
        """Whether a refusal is right: a day is used up, or a minute is full but for the grain of one second."""
        return any(
            self.used(window, 61_000) + (1 if window.unit == "requests" else max(1, tokens)) > window.limit
            for window in windows
        )


class Run:
    """One example: steps read from bytes, played to the limiter and to the model."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.clock = ManualClock()
        self.kept = KeptState()
        self.limiter = MemoryLimiter("memory", self.kept.as_store(), self.clock)
        self.model = Model(self.clock)
        self.open: list[tuple[Reservation, dict[Window, Took], int]] = []
        self.admitted = self.refused = 0

    async def play(self) -> None:
        steps = iter(self.data)
        for op in steps:
            await self.step(op, steps)
        await self.limiter.close()

    async def step(self, op: int, more: Iterator[int]) -> None:
        argument, second = next(more, 0), next(more, 0)
        match op % 16:
            case 0 | 1 | 2 | 3 | 4 | 5 | 6:
                await self.reserve(CHOICES[argument % len(CHOICES)], second % 120)
            case 7 | 8:
                self.settle(argument, second)
            case 9:
                self.cancel(argument)
            case 10:
                self.clock.jump(60 * JUMPS[argument % len(JUMPS)])
            case 11 if argument < 32:
                await self.restart()
            case _:
                self.clock.advance(PAUSES[argument % len(PAUSES)] / 1000)

    async def reserve(self, windows: tuple[Window, ...], tokens: int) -> None:
        before = await self.limiter.peek(windows)
        if DAY in windows:
            self.model.look_at_the_day()
        reservation = await attempt(self.limiter, windows, tokens)
        if isinstance(reservation, RateLimited):
            self.refused += 1
            assert await self.limiter.peek(windows) == before
            assert self.model.full(windows, tokens), f"{reservation} though there was room"
            self.promise(reservation, windows, tokens)
            return
        self.admitted += 1
        entries = {w: self.model.take(w, 1 if w.unit == "requests" else tokens) for w in windows}
        for window, state in zip(windows, reservation.states, strict=True):
            used = self.model.used(window)
            assert used <= window.limit, f"{used} of {window.limit} {window.label}"
            assert state.remaining <= window.limit - used
            assert window.day is False or state.remaining == window.limit - used
        self.open.append((reservation, entries, tokens))

    def promise(self, error: RateLimited, windows: tuple[Window, ...], tokens: int) -> None:
        """Who waits as long as he was told gets in, if nobody else comes."""
        if error.retry_after is None:
            assert any(w.unit == "tokens" and tokens > w.limit for w in windows)
            return
        if not error.limit or "day" not in error.limit:
            assert 1 <= error.retry_after <= 60
        later: Windows = copy.deepcopy(self.limiter._windows)
        clock = later._clock
        assert isinstance(clock, ManualClock)
        clock.advance(error.retry_after)
        later.reserve(windows, tokens)

    def settle(self, which: int, used: int) -> None:
        if not self.open:
            return
        reservation, entries, tokens = self.open.pop(which % len(self.open))
        self.limiter.settle(reservation, used)
        if TPM not in entries:
            return
        if used <= tokens:
            entries[TPM].amount = used
        else:
            self.model.take(TPM, used - tokens)

    def cancel(self, which: int) -> None:
        if not self.open:
            return
        reservation, entries, _ = self.open.pop(which % len(self.open))
        self.limiter.cancel(reservation)
        for entry in entries.values():
            entry.amount = 0

    async def restart(self) -> None:
        await self.limiter.close()
        self.limiter = MemoryLimiter("memory", self.kept.as_store(), self.clock)
        await self.limiter.open()
        # What was open when the process ended stays taken.
        self.open.clear()


def test_never_more_than_the_limit_and_hardly_less() -> None:
    totals = {"steps": 0, "admitted": 0, "refused": 0}

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        # Shrinking thousands of bytes takes minutes, and the failing step's message says what is wrong.
        phases=(Phase.explicit, Phase.generate),
    )
    @given(st.binary(min_size=3 * STEPS, max_size=3 * STEPS))
    @example(bytes([0, 0, 0] * STEPS))
    def model(data: bytes) -> None:
        run = Run(data)
        asyncio.run(run.play())
        totals["steps"] += STEPS
        totals["admitted"] += run.admitted
        totals["refused"] += run.refused

    model()
    assert totals["steps"] >= 100_000, totals
    assert totals["admitted"] >= 10_000, totals
    assert totals["refused"] >= 10_000, totals


@settings(max_examples=200, deadline=None, database=None)
@given(
    st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 60)), max_size=40),
    st.integers(0, 90_000),
    st.integers(-7200, 7200),
    st.booleans(),
)
def test_a_restart_admits_no_more_unless_a_reboot_hides_a_clock_set_forward(
    calls: list[tuple[int, int]], down: int, jump: int, reboot: bool
) -> None:
    asyncio.run(_over_a_restart(calls, down, jump if not reboot else min(jump, 0), reboot))


async def _over_a_restart(calls: list[tuple[int, int]], down: int, jump: int, reboot: bool) -> None:
    kept, clock = KeptState(), ManualClock()
    first = MemoryLimiter("memory", kept.as_store(), clock)
    model = Model(clock)
    for pause, tokens in calls:
        clock.advance(pause / 1000)
        try:
            await first.reserve((RPM, TPM), tokens)
        except RateLimited:
            continue
        model.take(RPM, 1)
        model.take(TPM, tokens)
    await first.close()
    clock.advance(down / 1000)
    clock.jump(jump)
    exact = [window.limit - model.used(window) for window in (RPM, TPM)]
    if reboot:
        clock.seconds = 1.0
    second = MemoryLimiter("memory", kept.as_store(), clock)
    left = [state.remaining for state in await second.peek((RPM, TPM))]
    assert all(found <= there_is for found, there_is in zip(left, exact, strict=True))
    clock.advance(60)
    await second.reserve((RPM, TPM), 100)
    await second.close()
