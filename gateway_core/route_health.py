"""What is known of each route from the calls that it served: whether it may be asked, its failures, how fast it is."""

import logging
from collections import deque
from collections.abc import Iterable, Mapping

import msgspec

from gateway_core.breaker import Breaker, BreakerSettings
from gateway_core.config import UpstreamConfig
from gateway_core.errors import ProviderFault, Throttled, Unavailable
from gateway_core.ports import Clock
from gateway_core.types import ModelFacts, Route

log = logging.getLogger(__name__)

REMEMBERED = 100
"""The latest answers of each kind that percentiles are taken from."""
MOST_ROUTES = 10_000
"""Routes that are remembered: a plugin may make them up."""


class RouteReport(msgspec.Struct, frozen=True):
    """One route as operators see it. Times in milliseconds, None where nothing was measured."""

    provider: str
    model: str
    #: The models of this gateway that it serves.
    serves: tuple[str, ...]
    state: str
    #: Seconds until it may be asked again.
    retry_in: float
    attempts: int
    failures: int
    failures_in_a_row: int
    #: The kind of the last failure, e.g. "Unavailable", and when it was.
    last_failure: str | None
    last_failure_at: int | None
    first_event_p50: int | None
    first_event_p95: int | None
    answer_p50: int | None
    answer_p95: int | None


class RouteHealth:
    """One route. Every ticket that it gives is answered for: succeeded, failed or dropped."""

    __slots__ = ("_answers", "_attempts", "_breaker", "_clock", "_failures", "_first_events", "_last", "_name")

    def __init__(self, name: str, settings: BreakerSettings, clock: Clock) -> None:
        self._name = name
        self._breaker = Breaker(settings)
        self._clock = clock
        self._attempts = 0
        self._failures = 0
        self._last: tuple[str, int] | None = None
        self._first_events: deque[float] = deque(maxlen=REMEMBERED)
        self._answers: deque[float] = deque(maxlen=REMEMBERED)

    def take(self) -> int | None:
        """A ticket for one attempt; None: it is left alone for now."""
        ticket = self._breaker.free
        if ticket is None:
            ticket = self._breaker.take(self._clock.monotonic())
        if ticket is not None:
            self._attempts += 1
        return ticket

    def refusal(self) -> ProviderFault:
        """What an attempt met that was not made."""
        now = self._clock.monotonic()
        kind = Throttled if self._last is not None and self._last[0] == Throttled.__name__ else Unavailable
        return kind("is left alone for a while", retry_after=self._breaker.wait(now))

    def succeeded(self, ticket: int, seconds: float | None = None, *, stream: bool = False) -> None:
        """It answered, or began to, after so many seconds; None: it refused what it was asked, as a sound one does."""
        if seconds is not None:
            (self._first_events if stream else self._answers).append(seconds)
        if self._breaker.succeed(ticket):
            self._tell("half_open")

    def failed(self, ticket: int, fault: ProviderFault) -> None:
        """It failed; where it said how long it wants to be left alone, it is."""
        now = self._clock.monotonic()
        before = self._breaker.state(now)
        self._note(fault)
        if isinstance(fault, Throttled) and fault.retry_after:
            self._breaker.throttle(ticket, now, fault.retry_after)
        else:
            self._breaker.fail(ticket, now)
        self._tell(before)

    def broke_off(self, fault: ProviderFault) -> None:
        """It failed in the middle of an answer."""
        now = self._clock.monotonic()
        before = self._breaker.state(now)
        self._note(fault)
        self._breaker.break_off(now)
        self._tell(before)

    def dropped(self, ticket: int) -> None:
        """The attempt says nothing of the route: its caller left, or asked what cannot be served."""
        self._breaker.drop(ticket)

    def report(self, route: Route, serves: Iterable[str]) -> RouteReport:
        """How it stands."""
        now = self._clock.monotonic()
        failure, at = self._last or (None, None)
        return RouteReport(
            provider=route.provider,
            model=route.model,
            serves=tuple(serves),
            state=self._breaker.state(now),
            retry_in=round(self._breaker.wait(now), 1),
            attempts=self._attempts,
            failures=self._failures,
            failures_in_a_row=self._breaker.failures_in_a_row,
            last_failure=failure,
            last_failure_at=at,
            first_event_p50=_percentile(self._first_events, 50),
            first_event_p95=_percentile(self._first_events, 95),
            answer_p50=_percentile(self._answers, 50),
            answer_p95=_percentile(self._answers, 95),
        )

    def _note(self, fault: ProviderFault) -> None:
        self._failures += 1
        self._last = (type(fault).__name__, self._clock.now_ms())

    def _tell(self, before: str) -> None:
        """Says it once when the state changes, not with every call."""
        now = self._clock.monotonic()
        state = self._breaker.state(now)
        if state == before:
            return
        if state == "closed":
            log.info("%s answers again", self._name)
        else:
            log.warning("%s is %s: not asked for %.1f s", self._name, state, self._breaker.wait(now))


class Health:
    """All routes of one gateway."""

    def __init__(self, config: UpstreamConfig, models: Mapping[str, ModelFacts], clock: Clock) -> None:
        self._settings = BreakerSettings(
            failures=config.breaker_failures,
            ratio=config.breaker_ratio,
            window=config.breaker_window,
            pause=config.breaker_seconds,
            longest_pause=config.breaker_longest_seconds,
        )
        self._clock = clock
        self._models = models
        self._routes: dict[tuple[str, str], RouteHealth] = {}
        for facts in models.values():
            for route in facts.routes:
                self.of(route)

    def of(self, route: Route) -> RouteHealth:
        """What is known of a route."""
        key = (route.provider, route.model)
        known = self._routes.get(key)
        if known is None:
            if len(self._routes) >= MOST_ROUTES:
                del self._routes[next(iter(self._routes))]
            known = self._routes[key] = RouteHealth(f"{route.provider}/{route.model}", self._settings, self._clock)
        return known

    def report(self) -> list[RouteReport]:
        """Every route, in the order of the configuration."""
        serves: dict[tuple[str, str], list[str]] = {}
        for name, facts in self._models.items():
            for route in facts.routes:
                serves.setdefault((route.provider, route.model), []).append(name)
        return [health.report(Route(*key), serves.get(key, ())) for key, health in self._routes.items()]


def _percentile(seconds: Iterable[float], percent: int) -> int | None:
    ordered = sorted(seconds)
    return round(ordered[(len(ordered) - 1) * percent // 100] * 1000) if ordered else None
