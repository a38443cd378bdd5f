"""Retries and fallbacks before the first byte, and what the client hears when all of them failed."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec
import pytest

from gateway_core import attempts
from gateway_core.attempts import Attempts
from gateway_core.clock import SystemClock
from gateway_core.config import UpstreamConfig
from gateway_core.errors import (
    ContentRefused,
    InvalidRequest,
    NoConnectionFree,
    ProviderError,
    ProviderFault,
    ProviderRateLimited,
    RequestTooLarge,
    RouteDoubted,
    RouteRefused,
    Throttled,
    Unavailable,
)
from gateway_core.ports import Clock
from gateway_core.route_health import Health
from gateway_core.testing.clock import ManualClock
from gateway_core.types import ChatRequest, Chunk, Completion, Deadlines, Route

REQUEST = ChatRequest(model="m", body={}, size=2)
ROUTES = (Route("first", "m1"), Route("second", "m2"))
ANSWER = Completion(choices=msgspec.Raw(b"[]"), usage=None)


class Scripted:
    """A provider that meets these faults in turn, then answers."""

    def __init__(self, name: str, *faults: ProviderFault) -> None:
        self.name = name
        self.faults = list(faults)
        self.asked = 0
        self.hangs = False
        self.asked_again = asyncio.Event()
        self.closed = 0

    async def _meet(self) -> None:
        self.asked += 1
        if self.faults:
            raise self.faults.pop(0)
        if self.hangs:
            self.asked_again.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.closed += 1

    async def complete(self, request: ChatRequest, route: Route, output_limit: int | None) -> Completion:
        await self._meet()
        return ANSWER

    async def stream(self, request: ChatRequest, route: Route, output_limit: int | None) -> AsyncGenerator[list[Chunk]]:
        return self._chunks()

    async def _chunks(self) -> AsyncGenerator[list[Chunk]]:
        await self._meet()
        yield [Chunk(texts=("one",))]
        yield [Chunk(texts=("two",))]

    def tokenizer(self, model: str) -> str | None:
        return None


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "FIRST_PAUSE", 0.0)


def health(clock: Clock | None = None, **config: Any) -> Health:
    return Health(UpstreamConfig(**config), {}, clock or SystemClock())


def mine() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def complete(*providers: Scripted, retries: int = 2, routes: Sequence[Route] = ROUTES) -> Route:
    tried = Attempts({provider.name: provider for provider in providers}, retries, health())
    route, answer = await tried.complete("req_1", REQUEST, routes, None, mine())
    assert answer is ANSWER
    return route


async def test_a_fault_is_retried_on_the_same_route() -> None:
    first = Scripted("first", Unavailable("reset"), Throttled("busy"))
    assert await complete(first, Scripted("second")) == ROUTES[0]
    assert first.asked == 3


async def test_a_route_that_keeps_failing_falls_back() -> None:
    first, second = Scripted("first", *[Unavailable("down")] * 3), Scripted("second")
    assert await complete(first, second) == ROUTES[1]
    assert (first.asked, second.asked) == (3, 1)


async def test_a_refused_route_is_not_retried() -> None:
    first = Scripted("first", RouteRefused("401"))
    assert await complete(first, Scripted("second")) == ROUTES[1]
    assert first.asked == 1


async def test_a_provider_that_asks_for_a_long_pause_is_left() -> None:
    first = Scripted("first", Throttled("busy", retry_after=60))
    assert await complete(first, Scripted("second")) == ROUTES[1]
    assert first.asked == 1


@pytest.mark.parametrize(("status", "error"), [(400, InvalidRequest), (413, RequestTooLarge)])
async def test_what_is_said_of_the_content_reaches_the_client(status: int, error: type[Exception]) -> None:
    first, second = Scripted("first", ContentRefused("bad image", status=status, param="messages")), Scripted("second")
    with pytest.raises(error, match="bad image") as refused:
        await complete(first, second)
    assert refused.value.param == "messages"  # type: ignore[attr-defined]  # both errors have one
    assert second.asked == 0


async def test_only_throttled_is_a_429_with_the_providers_own_wait() -> None:
    first = Scripted("first", Throttled("busy", retry_after=30.2))
    with pytest.raises(ProviderRateLimited) as refused:
        await complete(first, routes=ROUTES[:1])
    assert refused.value.retry_after == 31


async def test_anything_else_is_a_503_that_tells_nothing_of_the_provider() -> None:
    first = Scripted("first", *[Unavailable("https://secret.example/ key sk-123")] * 3)
    with pytest.raises(ProviderError) as failed:
        await complete(first, routes=ROUTES[:1])
    assert "secret" not in failed.value.message
    assert failed.value.retry_after == 1


async def test_a_stream_falls_back_until_its_first_event_is_there() -> None:
    first, second = Scripted("first", *[Unavailable("reset")] * 3), Scripted("second")
    tried = Attempts({"first": first, "second": second}, 2, health())
    route, (begun, rest) = await tried.stream("req_1", REQUEST, ROUTES, None, mine())
    assert route == ROUTES[1]
    assert [chunk.texts for chunk in begun] == [("one",)]
    assert [chunk.texts for batch in [await anext(rest)] for chunk in batch] == [("two",)]
    await rest.aclose()


# ---------------------------------------------------------------- the breaker


def ask(*providers: Scripted, health: Health, routes: Sequence[Route] = ROUTES) -> Any:
    tried = Attempts({provider.name: provider for provider in providers}, 0, health)
    return tried.complete("req_1", REQUEST, routes, None, mine())


async def test_a_route_that_is_open_is_passed_by_until_one_probe_closes_it() -> None:
    clock = ManualClock()
    known = health(clock, breaker_failures=2, breaker_seconds=5.0)
    first, second = Scripted("first", *[Unavailable("down")] * 2), Scripted("second")
    for _ in range(4):
        assert (await ask(first, second, health=known))[0] == ROUTES[1]
    assert (first.asked, second.asked) == (2, 4)
    clock.advance(5)
    assert (await ask(first, second, health=known))[0] == ROUTES[0]
    assert [route.state for route in known.report()] == ["closed", "closed"]


async def test_where_every_route_is_open_the_wait_until_the_next_probe_is_told() -> None:
    clock = ManualClock()
    known = health(clock, breaker_failures=1, breaker_seconds=30.0)
    first = Scripted("first", Unavailable("down"))
    for wait in (1, 30):
        with pytest.raises(ProviderError) as failed:
            await ask(first, health=known, routes=ROUTES[:1])
        assert (failed.value.retry_after, first.asked) == (wait, 1)


async def test_a_throttled_route_is_left_alone_for_as_long_as_it_asked() -> None:
    clock = ManualClock()
    known = health(clock)
    first = Scripted("first", Throttled("busy", retry_after=20))
    for _ in range(2):
        with pytest.raises(ProviderRateLimited) as refused:
            await ask(first, health=known, routes=ROUTES[:1])
        assert refused.value.retry_after == 20
    assert (first.asked, known.report()[0].state) == (1, "throttled")
    clock.advance(20)
    assert (await ask(first, health=known))[0] == ROUTES[0]


async def test_refused_content_is_a_sound_route() -> None:
    known = health(ManualClock(), breaker_failures=1)
    first = Scripted("first", *[ContentRefused("bad image")] * 3)
    for _ in range(3):
        with pytest.raises(InvalidRequest):
            await ask(first, health=known)
    assert known.report()[0].state == "closed"


async def test_words_that_may_be_a_clients_leave_no_route_alone() -> None:
    known = health(ManualClock(), breaker_failures=1)
    first = Scripted("first", *[RouteDoubted("answered 400")] * 3)
    for _ in range(3):
        with pytest.raises(ProviderError):
            await ask(first, health=known, routes=ROUTES[:1])
    assert (first.asked, known.report()[0].state) == (3, "closed")
    assert await complete(Scripted("first", RouteDoubted("answered 400")), Scripted("second")) == ROUTES[1]


async def test_a_lack_of_our_own_connections_says_nothing_of_the_route() -> None:
    known = health(ManualClock(), breaker_failures=1)
    first = Scripted("first", *[NoConnectionFree("none free")] * 3)
    for _ in range(3):
        with pytest.raises(ProviderError):
            await ask(first, health=known, routes=ROUTES[:1])
    assert (first.asked, known.report()[0].state) == (3, "closed")


async def test_a_probe_whose_client_leaves_is_free_for_the_next() -> None:
    clock = ManualClock()
    known = health(clock, breaker_failures=1, breaker_seconds=5.0)
    first = Scripted("first", Unavailable("down"))
    with pytest.raises(ProviderError):
        await ask(first, health=known, routes=ROUTES[:1])
    clock.advance(5)
    first.hangs = True
    probe = asyncio.create_task(ask(first, health=known, routes=ROUTES[:1]))
    await first.asked_again.wait()
    with pytest.raises(ProviderError):
        await ask(first, health=known, routes=ROUTES[:1])
    assert first.asked == 2
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    first.hangs = False
    assert (await ask(first, health=known))[0] == ROUTES[0]


# ---------------------------------------------------------------- deadlines


@pytest.mark.parametrize("stream", [False, True])
async def test_attempts_and_their_pauses_end_with_the_calls_time(stream: bool) -> None:
    first = Scripted("first")
    first.hangs = True
    tried = Attempts({"first": first}, 1000, health(breaker_failures=0))
    routes = [Route("first", "m", Deadlines(first_byte=0.1 if stream else 60, total=1.0))]
    with pytest.raises(ProviderError):
        await (tried.stream if stream else tried.complete)("req_1", REQUEST, routes, None, mine())
    assert 1 < first.asked <= 11 if stream else first.asked == 1
    assert first.closed == first.asked


async def test_a_route_that_there_is_no_time_left_for_is_not_asked() -> None:
    first, second = Scripted("first"), Scripted("second")
    first.hangs = True
    known = health(breaker_failures=1)
    tried = Attempts({"first": first, "second": second}, 0, known)
    routes = [Route("first", "m", Deadlines(total=0.1)), Route("second", "m", Deadlines(total=0.1))]
    with pytest.raises(ProviderError):
        await tried.complete("req_1", REQUEST, routes, None, mine())
    assert (first.asked, first.closed, second.asked) == (1, 1, 0)
    assert [report.state for report in known.report()] == ["open", "closed"]


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    first = Scripted("first")
    first.hangs = True
    tried = Attempts({"first": first}, 2, health())
    routes = [Route("first", "m", Deadlines(total=60))]

    async def ask() -> None:
        await tried.complete("req_1", REQUEST, routes, None, mine())

    call = asyncio.create_task(ask())
    await first.asked_again.wait()
    # Its deadline passes, too.
    for task in tried._deadlines._due:
        tried._deadlines._due[task] = 0.0
    tried._deadlines._look(asyncio.get_running_loop())
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (first.asked, first.closed, tried._deadlines._due) == (1, 1, {})


async def test_nothing_is_looked_at_once_the_calls_are_over() -> None:
    tried = Attempts({"first": Scripted("first")}, 2, health())
    await tried.complete("req_1", REQUEST, ROUTES[:1], None, mine())
    deadlines = tried._deadlines
    assert deadlines._timer is not None
    deadlines._timer.cancel()
    deadlines._look(asyncio.get_running_loop())
    assert not deadlines._due
    assert deadlines._timer is None
