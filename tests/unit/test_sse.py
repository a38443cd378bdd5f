"""The SSE decoder: the same events however the bytes are split, and a bound on one event."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_core.errors import Unavailable
from gateway_core.wire.sse import SSEDecoder

LINES = st.sampled_from(
    ["data: a", "data:b", "data", "data: ", "data:  two", "", "", ": comment", ":", "event: x", "id: 1", "retry: 5",
     "datas: no", "data: é漢😀", "data: [DONE]", 'data: {"a": "b: c"}']
)  # fmt: skip
STREAMS = st.tuples(
    st.booleans(), st.lists(st.tuples(LINES, st.sampled_from(["\n", "\r\n", "\r"])), max_size=20), LINES
).map(lambda s: (("\ufeff" if s[0] else "") + "".join(a + b for a, b in s[1]) + s[2]).encode())
BLOCKS = st.sampled_from(
    ["event: x\ndata: a", "event: y\ndata: b: c", "event: x\ndata: a\ndata: b", "event: x", "event: x\ndata:no",
     "data: a", "event: x\ndata: ", "event: x\nid: 2\ndata: a", "data: b\nevent: x", "event: x\ndata: a\rdata: b", "",
     ": ping"]
)  # fmt: skip
NAMED = st.lists(BLOCKS, min_size=1, max_size=4).map(lambda blocks: "".join(each + "\n\n" for each in blocks).encode())


def decoded(pieces: list[bytes], limit: int = 10_000) -> list[bytes]:
    decoder = SSEDecoder(limit)
    return [event for piece in pieces for event in decoder.push(piece)] + decoder.finish()


def by_the_book(stream: bytes) -> list[bytes]:
    """The standard's algorithm, one line at a time; an event that only lacks its line ends counts."""
    events, data = [], None
    text = stream.decode().removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    for line in [*text.split("\n"), ""]:
        name, _, value = line.partition(":")
        if not line:
            if data is not None:
                events.append(data.removesuffix("\n").encode())
            data = None
        elif name == "data":
            data = (data or "") + value.removeprefix(" ") + "\n"
    return events


@given(st.one_of(STREAMS, NAMED))
def test_reads_what_the_standard_reads(stream: bytes) -> None:
    assert decoded([stream]) == by_the_book(stream)


@given(
    st.lists(st.sampled_from(["a", "", "b\n", "c\r", "\r\nd", "data: e", '{"f":1}', "\n"]), min_size=1, max_size=5),
    st.sampled_from(["\n\n", "\r\n\r\n", "\r\r", "\r\n\n", "\n\r\n"]),
)
def test_a_read_of_whole_events_is_read_as_the_standard_reads(events: list[str], end: str) -> None:
    """What is split at once is nothing but data, whatever its lines end with."""
    stream = "".join(f"data: {event}{end}" for event in events).encode()
    assert decoded([stream]) == by_the_book(stream)


@given(st.one_of(STREAMS, NAMED), st.data())
def test_any_split_gives_the_same_events(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert decoded(pieces) == decoded([stream])
    assert decoded([bytes([byte]) for byte in stream]) == decoded([stream])


@given(STREAMS, st.integers(1, 40), st.data())
def test_any_split_finds_the_same_events_too_large(stream: bytes, limit: int, data: st.DataObject) -> None:
    def outcome(pieces: list[bytes]) -> list[bytes] | None:
        try:
            return decoded(pieces, limit)
        except Unavailable:
            return None

    stream = stream.removeprefix("\ufeff".encode())  # counted as long as it is there
    cut = data.draw(st.integers(0, len(stream)))
    assert outcome([stream[:cut], stream[cut:]]) == outcome([stream])


def test_an_event_comes_out_as_soon_as_it_is_whole() -> None:
    decoder = SSEDecoder(100)
    assert decoder.push(b"data: one\n") == []
    assert decoder.push(b"\ndata: two") == [b"one"]
    assert decoder.push(b"\r") == []
    assert decoder.push(b"\n\r") == [b"two"]
    assert decoder.push(b"\ndata: three\n\n") == [b"three"]


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 30, b": " + b"x" * 30, b"data: x\n", b": x\n"])
def test_nothing_without_end_is_held(piece: bytes) -> None:
    decoder = SSEDecoder(1000)

    def push_forever() -> None:
        for _ in range(1000):
            decoder.push(piece)

    with pytest.raises(Unavailable, match="larger than 1000 bytes"):
        push_forever()


def test_many_small_events_at_once_are_not_one_large_one() -> None:
    assert len(SSEDecoder(20).push(b"data: x\n\n" * 1000)) == 1000
