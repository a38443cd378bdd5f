"""A provider's events as chunks: waited for and poured, in every way that reads may cut them."""

import asyncio
from collections.abc import Sequence

import pytest
from msgspec import Raw

from gateway_core.errors import ProviderFault, Unavailable
from gateway_core.testing.pouring import ReadAnswer
from gateway_core.types import Batch, Chunk, Run, events_of
from gateway_core.upstream.event_chunks import EventChunks

FAULT = Unavailable("broke off")


class Reader:
    """Events are texts; `!` is a fault, `$` the last word, `?` must be kept before it is seen."""

    alike = None

    def __init__(self) -> None:
        self.finished = False
        self.keeping = False
        self.log: list[str] = []

    def read(self, events: Sequence[bytes]) -> tuple[list[Chunk], ProviderFault | None]:
        chunks: list[Chunk] = []
        for event in events:
            if event == b"!":
                return chunks, FAULT
            if event == b"$":
                self.finished = True
                break
            self.keeping = self.keeping or event == b"?"
            chunks.append(Chunk(Raw(event)))
        return chunks, None

    def run(self, tokens: Sequence[bytes]) -> Run | None:
        raise NotImplementedError

    def keeps(self) -> bool:
        return self.keeping

    async def keep(self) -> None:
        await asyncio.sleep(0)
        self.keeping = False
        self.log.append("kept")

    def end(self) -> Sequence[Chunk]:
        if not self.finished:
            raise FAULT
        return [Chunk(Raw(b"end"))]


def framed(events: Sequence[bytes]) -> bytes:
    return b"".join([b"data: %b\n\n" % event for event in events])


async def told(reads: Sequence[Sequence[bytes]], *, pours: bool, patience: int = 100) -> tuple[list[str], ReadAnswer]:
    """What a consumer sees of it, in order, and how it ended."""
    reader, answer = Reader(), ReadAnswer([framed(events) for events in reads])
    chunks = EventChunks(answer, reader)
    seen = reader.log

    def give(batch: Batch) -> bool:
        seen.extend(bytes(chunk.choices).decode() for chunk in events_of(batch))
        return len(seen) % patience != 0

    async def drained() -> None:
        await asyncio.sleep(0)

    try:
        async for first in chunks:
            give(first)
            if pours:
                await chunks.pour(give, drained)
                break
        seen.append("over")
    except ProviderFault as fault:
        seen.append(fault.detail)
    await chunks.aclose()
    return seen, answer


ANSWERS = [b"ab$", b"a", b"a!b$", b"!", b"ab!", b"a?b$", b"?$", b"a?!b$", b"abcdefg$", b"$", b"a$b!"]


@pytest.mark.parametrize("events", ANSWERS)
@pytest.mark.parametrize("patience", [1, 2, 100])
async def test_poured_or_waited_for_it_says_the_same_however_it_is_cut(events: bytes, patience: int) -> None:
    singles = [events[at : at + 1] for at in range(len(events))]
    whole, _ = await told([singles], pours=False)
    stop = min(found for found in (events.find(b"!"), events.find(b"$"), len(events)) if found >= 0)
    expected = [text.decode() for text in singles[:stop]]
    assert [text for text in whole if text != "kept"][: len(expected)] == expected
    assert whole[-1] == ("over" if events[stop : stop + 1] == b"$" else "broke off")
    for cut in range(len(singles)):
        reads = [part for part in (singles[:cut], singles[cut:]) if part]
        for pours in (False, True):
            seen, answer = await told(reads, pours=pours, patience=patience)
            assert [text for text in seen if text != "kept"] == [text for text in whole if text != "kept"]
            assert ("kept" in seen) == ("?" in expected)
            assert answer.closed is not None
            if "?" in expected:
                assert seen.index("kept") < seen.index("?")


async def test_what_is_closed_says_nothing_more() -> None:
    chunks = EventChunks(ReadAnswer([framed([b"a"]), framed([b"b"])]), Reader())
    await chunks.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(chunks)
