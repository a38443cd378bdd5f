"""Retries and fallbacks before the first byte, and what the client hears when all of them failed."""

from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest

from gateway_core import attempts
from gateway_core.attempts import Attempts
from gateway_core.errors import (
    ContentRefused,
    InvalidRequest,
    ProviderError,
    ProviderFault,
    ProviderRateLimited,
    RequestTooLarge,
    RouteRefused,
    Throttled,
    Unavailable,
)
from gateway_core.types import ChatRequest, Chunk, Completion, Route

REQUEST = ChatRequest(model="m", body={}, size=2)
ROUTES = (Route("first", "m1"), Route("second", "m2"))
ANSWER = Completion(choices=msgspec.Raw(b"[]"), usage=None)


class Scripted:
    """A provider that meets these faults in turn, then answers."""

    def __init__(self, name: str, *faults: ProviderFault) -> None:
        self.name = name
        self.faults = list(faults)
        self.asked = 0

    def _meet(self) -> None:
        self.asked += 1
        if self.faults:
            raise self.faults.pop(0)

    async def complete(self, request: ChatRequest, route: Route, output_limit: int | None) -> Completion:
        self._meet()
        return ANSWER

    async def stream(self, request: ChatRequest, route: Route, output_limit: int | None) -> AsyncIterator[list[Chunk]]:
        return self._chunks()

    async def _chunks(self) -> AsyncIterator[list[Chunk]]:
        self._meet()
        yield [Chunk(texts=("one",))]
        yield [Chunk(texts=("two",))]

    def tokenizer(self, model: str) -> str | None:
        return None


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "FIRST_PAUSE", 0.0)


async def complete(*providers: Scripted, retries: int = 2, routes: Sequence[Route] = ROUTES) -> Route:
    tried = Attempts({provider.name: provider for provider in providers}, retries)
    route, answer = await tried.complete("req_1", REQUEST, routes, None)
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
    route, (begun, rest) = await Attempts({"first": first, "second": second}, 2).stream("req_1", REQUEST, ROUTES, None)
    assert route == ROUTES[1]
    assert [chunk.texts for chunk in begun] == [("one",)]
    assert [chunk.texts for batch in [await anext(rest)] for chunk in batch] == [("two",)]
    await rest.aclose()
