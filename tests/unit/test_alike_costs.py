"""What is looked for in many events, or in a large one, costs no more than these are long."""

import re
import tracemalloc
from collections.abc import Sequence
from typing import SupportsIndex, overload

import pytest
from msgspec import Raw

from gateway_core.types import Chunk, Run, Shape
from gateway_core.upstream.alike import AT_ONCE, STRING, Alike
from gateway_core.upstream.event_chunks import RunReader

MANY = 20_000
SIZE = 2**20


class Counted(list[bytes]):
    """Counts the events that were copied out of it."""

    copied = 0

    @overload
    def __getitem__(self, at: SupportsIndex) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> list[bytes]: ...
    def __getitem__(self, at: SupportsIndex | slice) -> bytes | list[bytes]:
        found = super().__getitem__(at)
        if isinstance(found, list):
            self.copied += len(found)
        return found


class Reader(RunReader):
    """Of events that are a text in brackets, or anything."""

    def __init__(self) -> None:
        super().__init__()
        self.alike = Alike(b"[", b"]", Shape(b"[", b"]"))

    def add(self, data: bytes, batch: list[Chunk | Run]) -> None:
        batch.append(Chunk(Raw(data)))


def texts(reader: Reader, events: Sequence[bytes]) -> int:
    """The events that came as runs."""
    batch, fault = reader.read(events)
    assert fault is None
    assert sum(len(one.texts) if isinstance(one, Run) else 1 for one in batch) == len(events)
    return sum(len(one.texts) for one in batch if isinstance(one, Run))


@pytest.mark.parametrize("events", [[b"{}"], [b'["a"]', b"{}"], [b'[""]', b"{}"], [b'["a"]', b'["b"]', b"[1]", b"{}"]])
def test_what_follows_an_event_that_is_not_alike_is_not_copied_for_it(events: list[bytes]) -> None:
    read = Counted(events * (MANY // len(events)))
    texts(Reader(), read)
    assert read.copied <= AT_ONCE * MANY


def test_a_run_of_any_length_is_read_as_runs() -> None:
    assert texts(Reader(), [b"{}", *[b'["a"]'] * (3 * AT_ONCE + 1)]) == 3 * AT_ONCE + 1


@pytest.mark.parametrize("text", [b"x", b"\\n", b'\\"\\\\ '])
def test_a_large_text_is_found_in_little_memory(text: bytes) -> None:
    data = b'{"text":"%b"}' % (text * (SIZE // len(text)))
    pattern = re.compile(b'"text":' + STRING)
    tracemalloc.start()
    try:
        found = pattern.search(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found is not None
    assert found.group(1) == data[8:-1]
    assert peak < SIZE


@pytest.mark.parametrize("broken", [b'"text":"a', b'"text":"a\\"', b'"text":"\\', b'"text": 5', b'"text":'])
def test_what_is_no_string_is_not_found(broken: bytes) -> None:
    assert re.search(b'"text":' + STRING, broken) is None
