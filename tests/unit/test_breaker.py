"""The breaker of a route, against what it promises, under any order of calls, outcomes and time."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway_core.breaker import Breaker, BreakerSettings

SETTINGS = BreakerSettings(failures=3, ratio=0.5, window=8, pause=5.0, longest_pause=20.0)


class BreakerModel(RuleBasedStateMachine):
    """Callers that come, succeed, fail, are throttled or go away, while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(SETTINGS)
        self.now = 100.0
        #: Tickets that are out, those of probes apart.
        self.tickets: list[int] = []
        self.probe: int | None = None
        self.throttled = 0.0
        self.longest = 0.0

    def state(self) -> str:
        return self.breaker.state(self.now)

    @rule(seconds=st.floats(0.01, 30))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def somebody_comes(self) -> None:
        before = self.state()
        ticket = self.breaker.take(self.now)
        if before in ("open", "throttled"):
            assert ticket is None
        elif before == "closed":
            assert ticket is not None
            self.tickets.append(ticket)
        elif self.probe is not None:
            assert ticket is None, "a second probe"
        else:
            assert ticket is not None, "nobody may probe"
            self.probe = ticket

    @precondition(lambda self: self.tickets)
    @rule(data=st.data(), outcome=st.sampled_from(["succeed", "fail", "drop"]))
    def an_attempt_ends(self, data: st.DataObject, outcome: str) -> None:
        ticket = self.tickets.pop(data.draw(st.integers(0, len(self.tickets) - 1)))
        before = self.state()
        self.end(ticket, outcome)
        if before != "closed":
            assert self.state() == before, "what began before says nothing of now"

    @precondition(lambda self: self.probe is not None)
    @rule(outcome=st.sampled_from(["succeed", "fail", "drop"]))
    def the_probe_ends(self, outcome: str) -> None:
        ticket, self.probe = self.probe, None
        assert ticket is not None
        self.end(ticket, outcome)
        if self.now >= self.throttled:
            assert self.state() == {"succeed": "closed", "fail": "open", "drop": "half_open"}[outcome]

    def end(self, ticket: int, outcome: str) -> None:
        if outcome == "fail":
            self.breaker.fail(ticket, self.now)
        else:
            {"succeed": self.breaker.succeed, "drop": self.breaker.drop}[outcome](ticket)

    @precondition(lambda self: self.tickets)
    @rule(seconds=st.floats(0.1, 100))
    def a_provider_asks_for_a_pause(self, seconds: float) -> None:
        self.breaker.throttle(self.tickets.pop(), self.now, seconds)
        self.throttled = max(self.throttled, self.now + seconds)
        assert self.state() == "throttled"

    @rule()
    def a_stream_breaks_off(self) -> None:
        before = self.state()
        self.breaker.break_off(self.now)
        if before in ("open", "half_open"):
            assert self.state() == before

    @rule()
    def three_fail_in_a_row(self) -> None:
        if self.state() == "closed":
            tickets = [self.breaker.take(self.now) for _ in range(SETTINGS.failures)]
            for ticket in tickets:
                assert ticket is not None
                self.breaker.fail(ticket, self.now)
            assert self.state() == "open"
            assert self.breaker.wait(self.now) >= SETTINGS.pause - 1e-6

    @invariant()
    def its_wait_is_bounded_and_true(self) -> None:
        wait = self.breaker.wait(self.now)
        assert 0 <= wait <= max(SETTINGS.longest_pause, self.throttled - self.now) + 1e-9
        assert self.breaker.state(self.now + wait + 1e-6) in ("closed", "half_open")


TestBreakerModel = BreakerModel.TestCase


def opened(breaker: Breaker, now: float, times: int) -> float:
    """Opens it, and fails so many probes after; the time of the last opening."""
    while breaker.state(now) == "closed":
        breaker.break_off(now)
    for _ in range(times):
        now += breaker.wait(now)
        ticket = breaker.take(now)
        assert ticket is not None
        breaker.fail(ticket, now)
    return now


@pytest.mark.parametrize(("probes", "pause"), [(0, 5.0), (1, 10.0), (2, 20.0), (3, 20.0), (50, 20.0)])
def test_every_probe_that_fails_doubles_the_pause_up_to_the_longest(probes: int, pause: float) -> None:
    breaker = Breaker(SETTINGS)
    now = opened(breaker, 0.0, probes)
    assert breaker.wait(now) == pytest.approx(pause)


def test_half_of_the_last_attempts_failing_opens_it_without_a_row_of_them() -> None:
    breaker = Breaker(SETTINGS)
    for _ in range(SETTINGS.window // 2):
        assert breaker.state(0.0) == "closed"
        for outcome in (breaker.succeed, lambda ticket: breaker.fail(ticket, 0.0)):
            ticket = breaker.take(0.0)
            assert ticket is not None
            outcome(ticket)
    assert breaker.state(0.0) == "open"


def test_failures_0_never_leaves_a_route_alone() -> None:
    breaker = Breaker(BreakerSettings(failures=0))
    for _ in range(100):
        ticket = breaker.take(0.0)
        assert ticket is not None
        breaker.fail(ticket, 0.0)
        breaker.throttle(ticket, 0.0, 60.0)
    assert breaker.state(0.0) == "closed"
