"""A run of deltas that differ in their text alone is read, written and counted as they would be one by one."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spl_provider_anthropic.provider import Reader
from spl_provider_anthropic.request import Reply
from spl_provider_anthropic.stream import StreamDecoder

from gateway_core.testing.pouring import Counting, Unlike, cut, received

START: dict[str, Any] = {
    "type": "message_start",
    "message": {"id": "msg_1", "content": [], "usage": {"input_tokens": 7, "output_tokens": 1}},
}
STOP: dict[str, Any] = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn"},
    "usage": {"output_tokens": 9},
}
FIELDS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
BLOCKS: dict[str, dict[str, Any]] = {
    "text_delta": {"type": "text", "text": ""},
    "thinking_delta": {"type": "thinking", "thinking": "", "signature": ""},
    "input_json_delta": {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
}


class NoMemory:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    async def keep(self, account_id: str, entries: Any) -> None:
        self.kept.append((account_id, dict(entries)))

    async def recall(self, account_id: str, keys: Any) -> Any:
        raise NotImplementedError


class OneByOne(Unlike, Reader):
    """Reads each event whole."""


class Counted(Counting, Reader):
    """Counts what it reads whole."""


def delta(kind: str, said: Any, index: int, **more: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **more, FIELDS[kind]: said}}


def block(index: int, kind: str, deltas: list[dict[str, Any]]) -> list[dict[str, Any]]:
    begun = {"type": "content_block_start", "index": index, "content_block": BLOCKS[kind]}
    return [begun, *deltas, {"type": "content_block_stop", "index": index}]


def framed(events: list[dict[str, Any]], end: str = "\n", *, ascii_only: bool = True) -> list[bytes]:
    return [
        f"event: {event['type']}{end}data: {json.dumps(event, ensure_ascii=ascii_only)}{end}{end}".encode()
        for event in events
    ]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
ODD = st.sampled_from(
    [
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "new_delta", "text": "x"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 5}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "sig"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "again"}},
        {"type": "error", "error": {"type": "overloaded_error", "message": "no"}},
    ]
)


@st.composite
def answers(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Some blocks of any kind, each with deltas that are mostly alike."""
    events = [START]
    for index in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(sorted(FIELDS)))
        more = draw(st.sampled_from([{}, {}, {"text": "once more"}, {"future": [1]}]))
        deltas = [delta(kind, text, index, **more) for text in draw(st.lists(TEXT, max_size=6))]
        if draw(st.integers(0, 4)) == 0:
            deltas.insert(draw(st.integers(0, len(deltas))), draw(ODD))
        events += block(index, kind, deltas)
    return [*events, STOP, {"type": "message_stop"}]


@given(
    answers(),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.sampled_from([Reply(), Reply(legacy=True), Reply(json_tool="f")]),
    st.sets(st.integers(0, 3_000), max_size=8),
    st.booleans(),
    st.integers(0, 6_000),
)
async def test_a_run_gives_its_client_what_its_events_would(
    events: list[dict[str, Any]],
    end: str,
    ascii_only: bool,
    reply: Reply,
    cuts: set[int],
    each: bool,
    takes: int,
) -> None:
    """Whatever the events are and however their bytes are cut into reads: the same bytes, the same account, and the
    same thinking to be said again."""
    pieces = framed(events, end, ascii_only=ascii_only)
    reads = pieces if each else cut(b"".join(pieces), cuts)
    memory, other = NoMemory(), NoMemory()
    by_runs = await received(reads, Reader(StreamDecoder(reply), memory, "a"), takes=takes)
    singly = await received(reads, OneByOne(StreamDecoder(reply), other, "a"), takes=takes)
    assert by_runs == singly
    assert memory.kept == other.kept


@pytest.mark.parametrize("kind", sorted(FIELDS))
@pytest.mark.parametrize("each", [False, True])
async def test_of_the_deltas_of_a_block_one_is_read_whole(kind: str, each: bool) -> None:
    events = [START, *block(0, kind, [delta(kind, f'"{at}"', 0) for at in range(9)]), STOP, {"type": "message_stop"}]
    reads = framed(events) if each else [framed(events)[0], b"".join(framed(events)[1:])]
    reader = Counted(StreamDecoder(Reply()), NoMemory(), "a")
    got = await received(reads, reader)
    assert got.texts == [f'"{at}"' for at in range(9)]
    # One more where each comes by itself: how the bytes stand is known by then only.
    assert reader.added == 6


@pytest.mark.parametrize(
    "other",
    [
        delta("text_delta", "x", 1),
        delta("text_delta", "x", 0) | {"type": "content_block_delta ", "more": 1},
        delta("text_delta", ["x"], 0),
        delta("text_delta", "x", 0, text2="y"),
        delta("thinking_delta", "x", 0),
    ],
)
def test_what_differs_in_more_than_its_text_is_looked_at_whole(other: dict[str, Any]) -> None:
    def seen(reader: Reader) -> Any:
        for event in [START, *block(0, "text_delta", [delta("text_delta", "a", 0)])[:-1]]:
            reader.read([json.dumps(event).encode()])
        batch, fault = reader.read([json.dumps(other).encode()])
        return batch, fault and (type(fault), fault.detail)

    decoders = StreamDecoder(Reply()), StreamDecoder(Reply())
    assert seen(Reader(decoders[0], NoMemory(), "a")) == seen(OneByOne(decoders[1], NoMemory(), "a"))


async def both(events: list[dict[str, Any]], *, each: bool) -> tuple[Any, Any, NoMemory]:
    """What the client gets by runs and event by event, and what was kept by runs."""
    reads = framed(events) if each else [framed(events)[0], b"".join(framed(events)[1:])]
    memory, other = NoMemory(), NoMemory()
    by_runs = await received(reads, Reader(StreamDecoder(Reply()), memory, "a"))
    singly = await received(reads, OneByOne(StreamDecoder(Reply()), other, "a"))
    assert memory.kept == other.kept
    return by_runs, singly, memory


@pytest.mark.parametrize("each", [False, True])
async def test_thinking_that_came_as_runs_is_kept_whole(each: bool) -> None:
    signed = {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "sig"}}
    thinking = [delta("thinking_delta", text, 0) for text in ("We ", "must ", "look ", "first.")]
    events = [START, *block(0, "thinking_delta", [*thinking, signed])]
    events += [*block(1, "input_json_delta", [delta("input_json_delta", text, 1) for text in ('{"a"', ":", "1}")])]
    by_runs, singly, memory = await both([*events, STOP, {"type": "message_stop"}], each=each)
    assert by_runs == singly
    ((_, entries),) = memory.kept
    assert b"We must look first." in b"".join(entries.values())


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize(
    "between",
    [
        [delta("text_delta", "By the way.", 0)],
        [*block(1, "thinking_delta", []), delta("thinking_delta", "a", 0)],
        [block(1, "thinking_delta", [])[0], delta("thinking_delta", "Also: ", 1)],
    ],
)
async def test_thinking_is_the_thinking_of_its_block_whatever_comes_between(
    each: bool, between: list[dict[str, Any]]
) -> None:
    signed = {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "sig"}}
    thinking = [delta("thinking_delta", text, 0) for text in ("We ", "must ", "look ", "first.")]
    deltas = [*thinking[:2], *between, *thinking[2:], signed]
    call = block(2, "input_json_delta", [delta("input_json_delta", "{}", 2)])
    events = [START, *block(0, "thinking_delta", deltas), *call, STOP, {"type": "message_stop"}]
    by_runs, singly, _ = await both(events, each=each)
    assert by_runs == singly


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("between", [[], [{"type": "content_block_start", "index": 0, "content_block": {"type": "x"}}]])
async def test_a_block_that_is_over_takes_nothing_more(each: bool, between: list[dict[str, Any]]) -> None:
    thinking = [delta("thinking_delta", text, 0) for text in "abc"]
    events = [START, *block(0, "thinking_delta", thinking), *between, *thinking]
    by_runs, singly, _ = await both([*events, STOP, {"type": "message_stop"}], each=each)
    assert by_runs == singly
