"""Counts and shows tokens: exactly where a vocabulary is published, by a stated rule elsewhere."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from gateway_core.tokens import approximate
from gateway_core.tokens.messages import Counted
from gateway_core.tokens.vocabulary import SLICE, VOCABULARIES, Vocabulary, slices
from gateway_core.types import Usage

T = TypeVar("T")

INLINE = 2_000
"""Characters that are counted at once, in a tenth of a millisecond: a thread would take as long to be asked."""

BATCH = 8_192
"""Tokens that `pieces` yields at once, at most."""


class Tokens:
    """A gateway's tokenizers. A vocabulary is loaded when it is first needed (a third of a second, 50 MB), off the
    loop, and kept. Texts that are not short are encoded in one thread, a slice at a time, so that short ones get in
    between."""

    def __init__(self) -> None:
        self._loads: dict[str, asyncio.Task[Vocabulary]] = {}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="tokens")

    async def count(self, vocabulary: str, texts: Sequence[str]) -> int:
        """Tokens of the texts, each encoded by itself. Raises ConfigError for a vocabulary that is not shipped."""
        loaded = await self._loaded(vocabulary)
        if sum(map(len, texts)) <= INLINE and len(texts) <= INLINE // 100:
            return sum(map(loaded.count, texts))
        batches = _batches(texts)
        total = 0
        while (batch := await self._off_loop(_next, batches, loaded.count)) is not None:
            total += batch
        return total

    async def encode(self, vocabulary: str, text: str) -> list[tuple[int, bytes]]:
        """Each token's id and bytes. The bytes of one token need not be valid UTF-8."""
        return [token async for batch in self.pieces(vocabulary, text) for token in batch]

    async def pieces(self, vocabulary: str, text: str) -> AsyncIterator[list[tuple[int, bytes]]]:
        """The same, some at a time."""
        loaded = await self._loaded(vocabulary)

        def tokens(start: int) -> list[tuple[int, bytes]]:
            some = ids[start : start + BATCH]
            return list(zip(some, loaded.bytes_of(some), strict=True))

        parts = slices(text)
        while (part := await self._off_loop(next, parts, None)) is not None:
            ids = await self._off_loop(loaded.encode, part)
            for start in range(0, len(ids), BATCH):
                yield await self._off_loop(tokens, start)

    def estimate(self, texts: Sequence[str]) -> int:
        """About how many tokens the texts have, where no vocabulary is published: `approximate` states the rule."""
        return approximate.estimate(texts)

    def split(self, text: str) -> list[str]:
        """The text in parts that stand for the tokens which `estimate` counts."""
        return approximate.split(text)

    async def count_messages(self, vocabulary: str | None, body: Mapping[str, Any]) -> Usage:
        """The input tokens of a chat request, without its images and files. Marked `estimated` where the vocabulary
        is None or the request has what OpenAI's published formula does not cover."""
        counted = Counted(body)
        if vocabulary is None:
            return Usage(input=counted.framing + self.estimate(counted.texts), estimated=True)
        tokens = await self.count(vocabulary, counted.texts)
        return Usage(input=counted.framing + tokens, estimated=not counted.exact)

    def close(self) -> None:
        """Lets the thread end once it has done what it was asked."""
        self._worker.shutdown(wait=False)

    async def _loaded(self, name: str) -> Vocabulary:
        load = self._loads.get(name)
        if load is None:
            load = self._loads[name] = asyncio.ensure_future(self._off_loop(Vocabulary.load, name))
            load.add_done_callback(lambda done: self._forget_failure(name, done))
        # Whoever is cancelled while it loads leaves it to those who wait, too.
        return load.result() if load.done() else await asyncio.shield(load)

    def _forget_failure(self, name: str, load: "asyncio.Future[Vocabulary]") -> None:
        if load.cancelled() or load.exception() is not None:
            self._loads.pop(name, None)

    async def _off_loop(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, function, *args)


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """Slices of all the texts, about SLICE characters or some hundred texts at a time."""
    batch: list[str] = []
    size = 0
    for text in texts:
        for part in slices(text):
            batch.append(part)
            size += len(part) + SLICE // 1000
            if size >= SLICE:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _next(batches: Iterator[list[str]], count: Callable[[str], int]) -> int | None:
    batch = next(batches, None)
    return None if batch is None else sum(map(count, batch))


__all__ = ["VOCABULARIES", "Tokens"]
