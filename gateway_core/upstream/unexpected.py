"""Answers read to their end, and those that are not what was asked for: of another status, or of another type."""

from collections.abc import Callable, Mapping
from typing import NoReturn

from gateway_core.errors import ProviderFault, Unavailable
from gateway_core.ports import UpstreamResponse, WholeAnswer

_MOST_READ = 256 * 1024
"""Bytes of an error that are read."""
_EVENTS = "text/event-stream"


async def whole_answer(response: UpstreamResponse) -> WholeAnswer:
    """An answer with all of its body, which is closed then."""
    if response.status != 200:
        return WholeAnswer(response.status, await failure_body(response), response.retry_after)
    try:
        return WholeAnswer(200, await response.read(), response.retry_after)
    finally:
        await response.close()


async def failure_body(response: UpstreamResponse) -> bytes:
    """The body of an answer that is no success, which is closed then; b"" where it does not come: its status says
    enough."""
    try:
        return await response.read(_MOST_READ)
    except ProviderFault:
        return b""
    finally:
        await response.close()


def has_events(headers: Mapping[str, str]) -> bool:
    """Whether an answer's body has server-sent events, which is believed where it does not say."""
    return headers.get("content-type", _EVENTS).lower().startswith(_EVENTS)


async def raise_without_events(response: UpstreamResponse, decode: Callable[[bytes], object]) -> NoReturn:
    """The fault for an answer without events to a request for some: most often it is an error, which `decode`, that
    of a plain answer, raises as what it is. Closes it."""
    try:
        if "json" in response.headers.get("content-type", "").lower():
            decode(await response.read())
        raise Unavailable("answered a request for a stream with something else")
    finally:
        await response.close()
