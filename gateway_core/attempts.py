"""Trying providers until one answers: retries with jitter, then fallback routes. Only before the first byte.

No attempt outlasts its call's deadlines, and none is made on a route that its breaker leaves alone.
"""

import asyncio
import logging
import math
import random
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from gateway_core.errors import (
    ContentRefused,
    GatewayError,
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
from gateway_core.ports import Chunks, Provider
from gateway_core.route_health import Health, RouteHealth
from gateway_core.types import Batch, ChatRequest, Completion, Route
from gateway_core.upstream.deadlines import TaskDeadlines
from gateway_core.upstream.faults import too_slow

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 4.0
"""Seconds before a retry: doubled each time from the first, with full jitter. A provider that asks for more is left."""
EARLY = 0.01
"""Seconds by which a timer may be early: added to a wait that the provider asked for."""

Started = tuple[Batch, Chunks]
"""The first chunks of a stream, and the rest of it."""


class Attempts:
    """Asks the routes of a call in order."""

    def __init__(self, providers: Mapping[str, Provider], retries: int, health: Health) -> None:
        self._providers = providers
        self._retries = retries
        self._health = health
        self._deadlines = TaskDeadlines()

    def complete(
        self, call_id: str, request: ChatRequest, routes: Sequence[Route], limit: int | None, task: asyncio.Task[Any]
    ) -> Coroutine[None, None, tuple[Route, Completion]]:
        """A plain answer from the first route that gives one. `task`: the one that waits for it."""
        return self._first(call_id, request, routes, limit, task, stream=False)

    def stream(
        self, call_id: str, request: ChatRequest, routes: Sequence[Route], limit: int | None, task: asyncio.Task[Any]
    ) -> Coroutine[None, None, tuple[Route, Started]]:
        """A stream from the first route that begins one; its first chunks are there: comments are none."""
        return self._first(call_id, request, routes, limit, task, stream=True)

    def broke_off(self, route: Route, fault: ProviderFault) -> None:
        """A stream that had begun failed: too late for another attempt, but it counts for the route."""
        self._health.of(route).broke_off(fault)

    async def _first(
        self,
        call_id: str,
        request: ChatRequest,
        routes: Sequence[Route],
        limit: int | None,
        task: asyncio.Task[Any],
        *,
        stream: bool,
    ) -> tuple[Route, Any]:
        """A stream's beginning, or a plain answer."""
        loop = task.get_loop()
        cancelled = task.cancelling()
        began = loop.time()
        faults: list[ProviderFault] = []
        for route in routes:
            health, provider = self._health.of(route), self._providers[route.provider]
            last = began + route.deadlines.total
            for attempt in range(self._retries + 1):
                asked = loop.time() if faults else began
                if asked >= last:
                    faults.append(_late(route, first=False))
                    break
                ticket = health.take()
                if ticket is None:
                    faults.append(health.refusal())
                    break
                due = min(asked + route.deadlines.first_byte, last) if stream else last
                try:
                    self._deadlines.begin(task, due, loop)
                    try:
                        if stream:
                            answer: Started | Completion = await _begun(provider, request, route, limit)
                        else:
                            answer = await provider.complete(request, route, limit)
                    finally:
                        # Where somebody else has cancelled it as well, it stays cancelled.
                        if self._deadlines.end(task) and task.uncancel() <= cancelled:
                            raise _late(route, first=due < last) from None
                except ProviderFault as fault:
                    _report(health, ticket, fault)
                    if isinstance(fault, ContentRefused):
                        raise _refusal(fault) from fault
                    log.warning("%s: %s, %s: %s", call_id, route.provider, type(fault).__name__, fault.detail)
                    faults.append(fault)
                    pause = _pause(fault, attempt)
                except BaseException:
                    health.dropped(ticket)
                    raise
                else:
                    health.succeeded(ticket, loop.time() - asked, stream=stream)
                    return route, answer
                if pause is None or attempt == self._retries or loop.time() + pause >= last:
                    break
                await asyncio.sleep(pause)
        raise _failure(faults)


def _late(route: Route, *, first: bool) -> Unavailable:
    """What is said of an attempt whose deadline has passed: a stream's for its first event, or the call's own."""
    if first:
        return Unavailable(f"sent no event within {route.deadlines.first_byte:g} s")
    return Unavailable(too_slow(route.deadlines, in_all=True, started=False))


async def _begun(provider: Provider, request: ChatRequest, route: Route, limit: int | None) -> Started:
    chunks = await provider.stream(request, route, limit)
    async for first in chunks:
        return first, chunks
    return (), chunks


def _report(health: RouteHealth, ticket: int, fault: ProviderFault) -> None:
    """What an attempt that brought no answer says of the route."""
    if isinstance(fault, ContentRefused):
        health.succeeded(ticket)
    elif isinstance(fault, NoConnectionFree | RouteDoubted):
        health.dropped(ticket)
    else:
        health.failed(ticket, fault)


def _pause(fault: ProviderFault, attempt: int) -> float | None:
    """Seconds until this route is worth another try; None: it is not."""
    if isinstance(fault, RouteRefused):
        return None
    jitter = random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt))  # noqa: S311  # it is no secret
    if not fault.retry_after:
        return jitter
    return None if fault.retry_after > LONGEST_PAUSE else fault.retry_after + EARLY + jitter


def _refusal(refused: ContentRefused) -> GatewayError:
    if refused.status == RequestTooLarge.status:
        return RequestTooLarge(refused.message, param=refused.param)
    return InvalidRequest(refused.message, param=refused.param)


def _failure(faults: Sequence[ProviderFault]) -> GatewayError:
    waits = [fault.retry_after for fault in faults if fault.retry_after]
    retry_after = max(1, math.ceil(min(waits))) if waits else None
    if faults and all(isinstance(fault, Throttled) for fault in faults):
        return ProviderRateLimited(
            "Every provider of this model is limiting our requests.", retry_after=retry_after or 1
        )
    return ProviderError(
        "The provider of this model failed; retry, or try another model.", retry_after=retry_after or 1
    )
