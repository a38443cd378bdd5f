"""What counts as delivered: text that left the process on an open connection."""

from hypothesis import given
from hypothesis import strategies as st

from gateway_core.delivery import Delivery
from gateway_core.types import Chunk, Usage


def chunk(*texts: str, finish: bool = False, usage: Usage | None = None) -> Chunk:
    return Chunk(texts=texts, finish=finish, usage=usage)


def test_nothing_written_is_nothing_begun() -> None:
    delivery = Delivery(1, 10)
    delivery.note_written([chunk()], 80, 0, 1.0)
    assert not delivery.begun
    assert delivery.first_at == 1.0


def test_complete_needs_every_choice_finished() -> None:
    delivery = Delivery(2, 10)
    delivery.note_written([chunk("a", finish=True)], 80, 0, 1.0)
    assert not delivery.complete
    delivery.note_written([chunk("b", finish=True)], 80, 0, 2.0)
    assert delivery.complete
    assert (delivery.first_at, delivery.last_at) == (1.0, 2.0)


def test_the_last_snapshot_of_usage_wins() -> None:
    delivery = Delivery(1, 10)
    delivery.note_usage([chunk(usage=Usage(input=3, output=1)), chunk(), chunk(usage=Usage(input=3, output=2))])
    delivery.note_usage([chunk("text")])
    assert delivery.usage == Usage(input=3, output=2)


@given(
    writes=st.lists(st.tuples(st.text(min_size=1), st.integers(1, 500)), min_size=1, max_size=40),
    stalled_from=st.integers(0, 40),
    taken=st.integers(0, 2000),
)
def test_what_the_kernel_never_took_was_not_delivered(
    writes: list[tuple[str, int]], stalled_from: int, taken: int
) -> None:
    """After `stalled_from` writes the kernel takes `taken` more bytes and no more; then the connection is lost."""
    delivery = Delivery(1, 10)
    written = 0
    before = sum(size for _, size in writes[:stalled_from])
    for index, (text, size) in enumerate(writes):
        written += size
        accepted = written if index < stalled_from else min(written, before + taken)
        delivery.note_written([chunk(text)], size, written - accepted, float(index))
    delivery.forget_unsent()
    accepted = min(written, before + taken) if len(writes) > stalled_from else written
    expected, end = [], 0
    for text, size in writes:
        end += size
        if end <= accepted:
            expected.append(text)
    assert delivery.texts == expected
