"""Events that are alike are read as runs: to a client they are what they would be one by one, and what is not alike is
never taken for it."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spl_provider_gemini.stream import StreamDecoder

from gateway_core.errors import ProviderFault
from gateway_core.types import Run, Usage, events_of
from gateway_core.upstream.event_chunks import EventReader

Read = tuple[list[Any], Usage | None]


class Reader(EventReader):
    """As the provider's own."""

    def __init__(self, decoder: StreamDecoder) -> None:
        super().__init__(decoder.decode)
        self._decoder = decoder
        self.in_runs = 0

    def run_from(self, events: Sequence[bytes], at: int) -> tuple[Run | None, int]:
        run, many = self._decoder.run(events, at)
        self.in_runs += many if run is not None else 0
        return run, many


class OneByOne(Reader):
    """Each event by itself."""

    def run_from(self, events: Sequence[bytes], at: int) -> tuple[Run | None, int]:
        return None, 0


def read(reader: EventReader, reads: list[list[bytes]]) -> tuple[list[Read], str | None]:
    """What a client reads of each read, and the count after it; and what ended the stream."""
    found: list[Read] = []
    usage: Usage | None = None
    for events in reads:
        batch, fault = reader.read(events)
        said: list[Any] = []
        for chunk in events_of(batch):
            usage = chunk.usage or usage
            choices = json.loads(bytes(chunk.choices))
            if choices or chunk.texts:
                said.append((choices, chunk.texts, chunk.finish))
        found.append((said, usage))
        if fault is not None:
            return found, f"{type(fault).__name__} {fault.detail}"
    return found, None


def event(text: str = "word", spoken: int = 1, total: int = 10, **changes: Any) -> bytes:
    """One of Google's, spaces and all."""
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    counts = {"promptTokenCount": 9, "candidatesTokenCount": spoken, "totalTokenCount": total}
    return json.dumps({"candidates": [candidate], "usageMetadata": counts, "modelVersion": "g"} | changes).encode()


def both(*reads: list[bytes]) -> int:
    """Reads them both ways, which say the same; how many were in runs."""
    reader = Reader(StreamDecoder(1, {}))
    assert read(reader, list(reads)) == read(OneByOne(StreamDecoder(1, {})), list(reads))
    return reader.in_runs


def test_X7_events_that_differ_in_text_and_counts_are_one_run_whatever_the_lengths_of_these() -> None:
    events = [event(f'wörd {"漢" * n} " \\ 😀', n, n + 9) for n in range(1, 130)]
    assert both(events) == 128
    assert both(*[[one] for one in events]) == 128


def test_U1_a_run_has_the_count_of_its_last_event() -> None:
    reader = Reader(StreamDecoder(1, {}))
    batch, _ = reader.read([event(spoken=n, total=n + 9) for n in (1, 5, 7)])
    assert [one.usage for one in batch] == [Usage(9, 1), Usage(9, 7)]


TEXT = event(spoken=2, total=11)


@pytest.mark.parametrize(
    "other",
    [
        event(""),
        event(modelVersion="h"),
        event(error={"code": 500, "message": "no", "status": "INTERNAL"}),
        TEXT.replace(b'"index": 0', b'"index": 1'),
        TEXT.replace(b'"index": 0', b'"finishReason": "STOP", "index": 0'),
        TEXT.replace(b'"text": "word"', b'"text": "word", "thought": true'),
        TEXT.replace(b'"text": "word"', b'"text": "word", "text": "other"'),
        TEXT.replace(b'"word"', b'"word"}, {"text": "more"'),
        TEXT.replace(b'"word"', b'"wo\\ud800rd"'),
        TEXT.replace(b'"word"', b'"wo\xffrd"'),
        TEXT.replace(b'"word"', b'"wo\nrd"'),
        TEXT.replace(b'"word"', b"null"),
        TEXT.replace(b'"candidatesTokenCount": 2', b'"candidatesTokenCount": 02'),
        TEXT.replace(b'"candidatesTokenCount": 2', b'"candidatesTokenCount": 2.5'),
        TEXT.replace(b'"candidatesTokenCount": 2', b'"candidatesTokenCount": -2'),
        TEXT.replace(b'"candidatesTokenCount": 2', b'"candidatesTokenCount": 99999999999'),
        TEXT.replace(b'"candidatesTokenCount": 2', b'"candidatesTokenCount": 2, "candidatesTokenCount": 3'),
        TEXT.replace(b'"totalTokenCount": 11', b'"totalTokenCount": 1,1'),
        TEXT.replace(b'"totalTokenCount": 11', b'"totalTokenCount": 11, "thoughtsTokenCount": 4'),
        TEXT[:-1],
        TEXT + b"}",
        b"{}",
        b"[DONE]",
        b"",
    ],
)
def test_E4_what_is_not_alike_is_read_as_it_is(other: bytes) -> None:
    first = [event("a", 1, 10), event(" b", 2, 11)]
    last = [event(" c", 3, 12), event(" d", 4, 13)]
    assert both([*first, other, *last]) <= 3
    both(first, [other], last)
    both([other, *first], last)


def test_a_place_that_is_not_the_one_that_counts_is_not_taken_for_it() -> None:
    """The second of two fields with the same name is the one that holds, so the first place says nothing."""
    twice = event().replace(b'"candidatesTokenCount": 1', b'"candidatesTokenCount": 1, "candidatesTokenCount": 5')
    assert both([twice, twice.replace(b": 1,", b": 2,"), twice]) == 0
    text = event().replace(b'"text": "word"', b'"text": "old", "text": "word"')
    assert both([text, text.replace(b"old", b"older"), text]) == 0


def test_answers_that_take_turns_are_read_one_by_one_after_a_few_tries() -> None:
    events = [event(f"w{n}", n, n + 9).replace(b'"index": 0', b'"index": %d' % (n % 2)) for n in range(1, 40)]
    both(events)
    both(*[[one] for one in events])


COUNTS = st.sampled_from([0, 1, 9, 10, 11, 99, 100, 12345, 10**9, 10**9 + 1])
EVENTS = st.builds(event, st.text(max_size=8), COUNTS, COUNTS) | st.builds(
    lambda data, old, new: data.replace(old, new),
    st.builds(event, st.text(max_size=3), COUNTS, COUNTS),
    st.sampled_from([b'": ', b"0", b"1", b'"', b"}", b"index", b"text", b"candidatesTokenCount", b"parts", b" "]),
    st.sampled_from([b"", b'":', b"1", b'"text": "x", "', b"}}", b"promptTokenCount", b"thought", b"\n"]),
)


@given(st.lists(st.lists(EVENTS, max_size=6), max_size=4))
def test_any_events_are_read_as_they_would_be_one_by_one(reads: list[list[bytes]]) -> None:
    both(*reads)


def test_a_fault_behind_a_run_comes_after_it() -> None:
    reader = Reader(StreamDecoder(1, {}))
    batch, fault = reader.read([event(), event(" b"), event(" c"), b"{"])
    assert isinstance(fault, ProviderFault)
    assert [text for one in batch for text in one.texts] == ["word", " b", " c"]
