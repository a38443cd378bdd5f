"""Trying providers until one answers: retries with jitter, then fallback routes. Only before the first byte."""

import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from gateway_core.errors import (
    ContentRefused,
    GatewayError,
    InvalidRequest,
    ProviderError,
    ProviderFault,
    ProviderRateLimited,
    RequestTooLarge,
    RouteRefused,
    Throttled,
)
from gateway_core.ports import Chunks, Provider
from gateway_core.types import ChatRequest, Chunk, Completion, Route

log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 4.0
"""Seconds before a retry: doubled each time from the first, with full jitter. A provider that asks for more is left."""

Started = tuple[Sequence[Chunk], Chunks]
"""The first chunks of a stream, and the rest of it."""


class Attempts:
    """Asks the routes of a call in order."""

    def __init__(self, providers: Mapping[str, Provider], retries: int) -> None:
        self._providers = providers
        self._retries = retries

    async def complete(
        self, call_id: str, request: ChatRequest, routes: Sequence[Route], limit: int | None
    ) -> tuple[Route, Completion]:
        """A plain answer from the first route that gives one."""

        async def ask(provider: Provider, route: Route) -> Completion:
            return await provider.complete(request, route, limit)

        return await self._first(call_id, routes, ask)

    async def stream(
        self, call_id: str, request: ChatRequest, routes: Sequence[Route], limit: int | None
    ) -> tuple[Route, Started]:
        """A stream from the first route that begins one; its first chunks are there."""

        async def ask(provider: Provider, route: Route) -> Started:
            chunks = await provider.stream(request, route, limit)
            async for first in chunks:
                return first, chunks
            return (), chunks

        return await self._first(call_id, routes, ask)

    async def _first(
        self, call_id: str, routes: Sequence[Route], ask: Callable[[Provider, Route], Awaitable[T]]
    ) -> tuple[Route, T]:
        faults: list[ProviderFault] = []
        for route in routes:
            for attempt in range(self._retries + 1):
                try:
                    return route, await ask(self._providers[route.provider], route)
                except ContentRefused as refused:
                    raise _refusal(refused) from refused
                except ProviderFault as fault:
                    log.warning("%s: %s, %s: %s", call_id, route.provider, type(fault).__name__, fault.detail)
                    faults.append(fault)
                    pause = _pause(fault, attempt)
                    if pause is None or attempt == self._retries:
                        break
                    await asyncio.sleep(pause)
        raise _failure(faults)


def _pause(fault: ProviderFault, attempt: int) -> float | None:
    """Seconds until this route is worth another try; None: it is not."""
    if isinstance(fault, RouteRefused):
        return None
    pause = random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt))  # noqa: S311  # jitter is no secret
    asked = fault.retry_after or 0
    return None if asked > LONGEST_PAUSE else max(pause, asked)


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
