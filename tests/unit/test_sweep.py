"""One timer for every deadline: each is kept, no later than a look is apart, and what is put off costs no look."""

import math
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway_core.upstream.deadlines import INTERVAL, Sweep


class Timer:
    def __init__(self, at: float, call: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.at = at
        self.call = call
        self.arguments = arguments
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """Time that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[Timer] = []
        self.fired = 0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., None], *arguments: Any) -> Timer:
        timer = Timer(when, callback, arguments)
        self.timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [timer for timer in self.timers if not timer.cancelled and timer.at <= end]:
            timer = min(due, key=lambda timer: timer.at)
            self.timers.remove(timer)
            self.now = max(self.now, timer.at)
            self.fired += 1
            timer.call(*timer.arguments)
        self.now = end

    def armed(self) -> bool:
        return any(not timer.cancelled for timer in self.timers)


class Wait:
    def __init__(self, loop: Loop, then: Callable[[], None] | None = None) -> None:
        self.loop: Any = loop
        self.due = math.inf
        self.looked_at = math.inf
        self.expired_at: float | None = None
        self._then = then

    def expire(self) -> None:
        assert self.expired_at is None
        self.expired_at = self.loop.time()
        if self._then is not None:
            self._then()


STEPS = st.lists(
    st.tuples(st.sampled_from(["new", "off", "sooner", "end", "wait"]), st.floats(0.01, 100.0), st.integers(0, 9)),
    max_size=40,
)


@given(STEPS)
def test_every_deadline_is_kept(steps: list[tuple[str, float, int]]) -> None:
    loop, sweep = Loop(), Sweep()
    waits: list[Wait] = []
    for step, seconds, number in steps:
        if step == "new":
            wait = Wait(loop)
            wait.due = loop.now + seconds
            sweep.add(wait)
            waits.append(wait)
        elif step == "wait":
            loop.advance(seconds)
        elif number < len(waits) and waits[number].expired_at is None:
            wait = waits[number]
            if step == "off":
                wait.due = max(wait.due, loop.now + seconds)
            elif step == "sooner":
                wait.due = loop.now + seconds
                if wait.due < wait.looked_at:
                    sweep.add(wait)
            else:
                sweep.discard(wait)
                del waits[number]
    loop.advance(300.0)
    for wait in waits:
        assert wait.expired_at is not None
        assert wait.due <= wait.expired_at <= wait.due + INTERVAL + 1e-6
    assert not loop.armed()


def test_what_is_put_off_again_and_again_is_looked_at_when_it_was_first_due_and_no_more_often() -> None:
    loop, sweep = Loop(), Sweep()
    wait = Wait(loop)
    wait.due = loop.now + 40.0
    sweep.add(wait)
    for _ in range(390):
        loop.advance(1.0)
        wait.due = loop.now + 40.0
    assert wait.expired_at is None
    assert loop.fired <= 10


def test_what_another_ones_end_has_ended_does_not_expire() -> None:
    loop, sweep = Loop(), Sweep()
    second = Wait(loop)
    first = Wait(loop, lambda: sweep.discard(second if first.expired_at else first))
    second._then = lambda: sweep.discard(first)
    for wait in (first, second):
        wait.due = loop.now + 1.0
        sweep.add(wait)
    loop.advance(10.0)
    assert [first.expired_at, second.expired_at].count(None) == 1
    assert not loop.armed()
