"""Several answers to one request (`n`): each is a request of its own, told as choices of one."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from typing import Any, TypeVar

import msgspec

from gateway_core.ports import Chunks
from gateway_core.types import Batch, Chunk, Run, Usage
from spl_provider_anthropic.usage import total

T = TypeVar("T")


async def all_of(asked: Sequence[Coroutine[Any, Any, T]], undo: Any = None) -> list[T]:
    """The results of all, run together. Where one fails the others are called off; `undo` gets what is there."""
    tasks = [asyncio.ensure_future(one) for one in asked]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        for done in await asyncio.gather(*tasks, return_exceptions=True):
            if undo is not None and not isinstance(done, BaseException):
                await undo(done)
        raise


async def merged(streams: Sequence[Chunks]) -> AsyncGenerator[Batch]:
    """What any of the streams brings, at once, with the sum of their usages. One that breaks off breaks all."""
    latest: list[Usage | None] = [None] * len(streams)
    waiting: dict[asyncio.Future[Batch], int] = {}
    try:
        for index, stream in enumerate(streams):
            waiting[asyncio.ensure_future(stream.__anext__())] = index
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                index = waiting.pop(task)
                try:
                    chunks = task.result()
                except StopAsyncIteration:
                    continue
                yield [_summed(chunk, index, latest) for chunk in chunks]
                waiting[asyncio.ensure_future(streams[index].__anext__())] = index
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for stream in streams:
            await stream.aclose()


def _summed(chunk: Chunk | Run, index: int, latest: list[Usage | None]) -> Chunk | Run:
    """The chunk with the usage of all choices so far, each of which was billed with the whole prompt."""
    if chunk.usage is None:
        return chunk
    latest[index] = chunk.usage
    return msgspec.structs.replace(chunk, usage=total([usage for usage in latest if usage is not None]))
