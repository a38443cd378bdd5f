"""What counts as delivered: text that left the process on an open connection."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.json import encode

from gateway_core.delivery import Delivery, Taken, whole
from gateway_core.types import Chunk, Run, Shape, Usage, events_of
from gateway_core.wire.answer import ChunkEncoder


def chunk(*texts: str, finish: bool = False, usage: Usage | None = None, choices: bool = False) -> Chunk:
    raw = Raw(encode([{"index": 0, "delta": {"content": "".join(texts)}}])) if choices else Raw(b"[]")
    return Chunk(choices=raw, texts=texts, finish=finish, usage=usage)


def test_nothing_written_is_nothing_begun() -> None:
    delivery = Delivery(1, 10)
    delivery.note_written([chunk()], b"", 80, 0, 1.0)
    assert not delivery.begun
    assert delivery.first_at == 1.0


def test_complete_needs_every_choice_finished() -> None:
    delivery = Delivery(2, 10)
    delivery.note_written([chunk("a", finish=True)], b"", 80, 0, 1.0)
    unfinished = not delivery.complete
    assert unfinished
    delivery.note_written([chunk("b", finish=True)], b"", 160, 0, 2.0)
    assert delivery.complete
    assert (delivery.first_at, delivery.last_at) == (1.0, 2.0)


def test_the_last_snapshot_of_usage_wins() -> None:
    delivery = Delivery(1, 10)
    delivery.note_usage([chunk(usage=Usage(input=3, output=1)), chunk(), chunk(usage=Usage(input=3, output=2))])
    delivery.note_usage([chunk("text")])
    assert delivery.usage == Usage(input=3, output=2)


ENCODER = ChunkEncoder("chatcmpl-1", "m", 1)


def run(texts: list[str]) -> Run:
    shape = Shape(b'[{"index":0,"delta":{"content":', b"}}]")
    return Run(shape, [encode(text) for text in texts], texts)


EVENTS = st.one_of(
    st.lists(st.text(min_size=1), max_size=2).map(lambda texts: chunk(*texts, choices=True)),
    st.lists(st.text(min_size=1), min_size=1, max_size=4).map(run),
)


@given(
    batches=st.lists(st.lists(EVENTS, min_size=1, max_size=5), min_size=1),
    stalled_from=st.integers(0, 10),
    taken=st.integers(0, 2000),
    sent=st.one_of(st.none(), st.integers(0, 4000)),
)
def test_what_the_kernel_never_took_was_not_delivered(
    batches: list[list[Chunk | Run]], stalled_from: int, taken: int, sent: int | None
) -> None:
    """After `stalled_from` writes the kernel takes `taken` more bytes and no more; then the connection is lost, and
    it is known that `sent` had left by then. What counts is each event that is whole in what was taken."""
    delivery = Delivery(1, 10)
    stream, ends = b"HTTP/1.1 200 OK\r\n\r\n", []
    stalled_at = None
    accepted = 0
    for index, batch in enumerate(batches):
        chunks = [*batch, chunk(usage=Usage(input=1, output=1))]
        if index == stalled_from:
            stalled_at = len(stream) + taken
        data = ENCODER.encode(chunks)
        stream += b"%x\r\n" % len(data)
        for each in events_of(batch):
            stream += ENCODER.encode([each])
            ends.append((len(stream), each.texts))
        stream += b"\r\n"
        accepted = len(stream) if stalled_at is None else min(len(stream), stalled_at)
        delivery.note_written(chunks, data, len(stream), len(stream) - accepted, float(index))
    delivery.forget_unsent(None if sent is None else Taken(min(sent, len(stream))))
    accepted = max(accepted, min(sent or 0, len(stream)))
    assert delivery.texts == [text for end, texts in ends if end <= accepted for text in texts]


@pytest.mark.parametrize("field", Usage.__struct_fields__)
def test_counts_that_cannot_be_meant_are_none(field: str) -> None:
    most = Usage(10**9, 10**9, 10**9, 10**9, 10**9, estimated=True)
    assert whole(most) is most
    for wrong in (1.5, "3", None, -1, 10**9 + 1, 2**64, *(() if field == "estimated" else (True,))):
        with pytest.raises((TypeError, ValueError)):
            whole(msgspec.structs.replace(most, **{field: wrong}))
