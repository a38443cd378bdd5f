"""An event that is like the one before it is read as it would be without that one."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spl_provider_openai.answer import ChunkDecoder
from spl_provider_openai.reader import Reader

from gateway_core.testing.pouring import Counting, Received, Unlike, cut, received
from gateway_core.types import Run, events_of

BEGUN = {"role": "assistant", "content": ""}


def event(delta: dict[str, Any], index: int = 0, reason: str | None = None, **fields: Any) -> bytes:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return json.dumps(body | fields).encode()


def seen(reader: Reader, data: bytes) -> list[tuple[Any, ...]]:
    batch, fault = reader.read([data])
    told: list[tuple[Any, ...]] = [
        (msgspec.json.decode(each.choices), each.texts, each.finish, each.usage, dict(each.extra))
        for each in events_of(batch)
    ]
    return told if fault is None else [*told, (type(fault), fault.detail)]


def begun(*before: bytes) -> Reader:
    reader = Reader(ChunkDecoder(), accepts_missing_done=False)
    for data in (event(BEGUN), *before):
        reader.read([data])
    return reader


TEXTS = st.text()


@given(TEXTS, st.lists(TEXTS, max_size=4))
def test_texts_are_read_the_same_with_a_template_and_without(first: str, rest: list[str]) -> None:
    with_template = begun(event({"content": first}))
    for text in rest:
        data = event({"content": text})
        assert seen(with_template, data) == seen(begun(), data)


STRANGE = [
    event({"content": ""}),
    event({"content": "x"}, reason="stop"),
    event({"content": "x"}, index=1),
    event({"content": None}),
    event({"content": ["x"]}),
    event({"content": "x", "refusal": "no"}),
    event({"content": "x"}, usage={"prompt_tokens": 3, "completion_tokens": 4}),
    event({"content": "x"}, system_fingerprint="fp"),
    event({"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
    event({"content": "x"}, error={"message": "no"}),
    event({"content": "x"}).replace(b'"x"', b'"x", "content": "y"'),
    event({"content": "x"}).replace(b'"x"', b'"x"}, "finish_reason": "stop"}, {"delta": {"content": "y"'),
    event({"content": "x"}).replace(b'"x"', b'"x" "y"'),
    event({"content": "x"}).replace(b'"x"', b'"x'),
    event({"content": "x"}).replace(b'"x"', b'\n"x"'),
    event({"content": "x"}).replace(b'"x"', b'"x"\r'),
    event({"content": "x"}).replace(b'"x"', b' "x" '),
    event({"content": "x"}).replace(b'"x"', b'"\xff"'),
    event({"content": "x"}).replace(b'"x"', b'"\xf0\x9f\x98\x80"'),
    event({"content": "x"}).replace(b'"x"', b'"\\ud800"'),
    event({"content": "x"}).replace(b'"x"', b'"\x01"'),
    event({"content": "x"})[:-1],
    b"{}",
    b"[1]",
    b"",
]


@pytest.mark.parametrize("data", STRANGE)
def test_what_differs_in_more_than_its_text_is_looked_at_whole(data: bytes) -> None:
    assert seen(begun(event({"content": "before"})), data) == seen(begun(), data)


def test_a_text_that_stands_elsewhere_too_is_not_taken_for_the_text() -> None:
    odd = {"content": "same", "annotations": {"content": "same"}}
    reader = begun(event({"annotations": {"content": "same"}, "content": "same"}), event(odd))
    other = event({"annotations": {"content": "else"}, "content": "same"})
    assert seen(reader, other) == seen(begun(), other)
    assert seen(reader, event(odd | {"content": "new"})) == seen(begun(), event(odd | {"content": "new"}))


def test_choices_that_are_repeated_in_another_field_are_looked_at_whole() -> None:
    first = event({"content": "a"}, more={"choices": json.loads(event({"content": "a"}))["choices"]})
    other = event({"content": "b"}, more={"choices": json.loads(event({"content": "a"}))["choices"]})
    assert seen(begun(first), other) == seen(begun(), other)


def test_events_that_are_never_alike_cost_a_look_each_and_no_more() -> None:
    reader = begun(*[event({"content": "x"}, obfuscation="y" * at) for at in range(9)])
    data = event({"content": "z"}, obfuscation="w")
    assert seen(reader, data) == seen(begun(), data)


def test_texts_that_say_nothing_use_up_no_look() -> None:
    reader = begun(event({"content": "x"}), *[event({"content": ""})] * 9, event({"content": "y"}, seed=1))
    batch, _ = reader.read([event({"content": text}, seed=1) for text in "abc"])
    assert [type(each) for each in batch] == [Run]


# ---------------------------------------------------------------- runs of them


class OneByOne(Unlike, Reader):
    """Reads each event whole."""


class Counted(Counting, Reader):
    """Counts what it reads whole."""


async def every_way(reads: list[bytes], takes: int) -> list[Received]:
    """What the client gets by runs and event by event, as it comes and where each write is waited for."""
    return [
        await received(reads, kind(ChunkDecoder(), accepts_missing_done=False), takes=takes, limit=2_000, pours=pours)
        for kind in (OneByOne, Reader)
        for pours in (True, False)
    ]


LIKE = st.text(max_size=5).map(lambda text: event({"content": text}))
OTHERS = st.sampled_from([*STRANGE, event({"content": "big" * 800}), b"[DONE]"])
EVENTS = st.lists(st.one_of(LIKE, LIKE, LIKE, LIKE, OTHERS), max_size=12)
FRAMES = st.sampled_from(
    [(b"data: ", b"\n\n"), (b"data:", b"\n\n"), (b"data: ", b"\r\n\r\n"), (b"data: ", b"\r\r"), (b"data: ", b"\n\n\n"),
     (b": ping\n\ndata: ", b"\n\n"), (b"id: 1\ndata: ", b"\n\n"), (b"data: ", b"\n: data: {}\n\n")]
)  # fmt: skip


@given(EVENTS, FRAMES, st.sets(st.integers(0, 3_000), max_size=8), st.booleans(), st.integers(0, 6_000))
async def test_a_run_gives_its_client_what_its_events_would(
    events: list[bytes], frame: tuple[bytes, bytes], cuts: set[int], each: bool, takes: int
) -> None:
    """Whatever the events are and however their bytes are cut into reads: the same bytes, and the same account."""
    lead, end = frame
    framed = [lead + data + end for data in (event(BEGUN), event({"content": "a"}), *events)]
    framed += [lead + event({}, reason="stop") + end, lead + b"[DONE]" + end]
    reads = framed if each else cut(b"".join(framed), cuts)
    slowly, *others = await every_way(reads, takes)
    assert others == [slowly] * 3


@given(st.lists(st.text(min_size=1, max_size=5), min_size=1), st.booleans())
async def test_one_event_a_read_is_read_by_its_frame(texts: list[str], crlf: bool) -> None:
    """And what only looks like such a read is not."""
    end = b"\r\n\r\n" if crlf else b"\n\n"
    reads = [b"data: %b%b" % (data, end) for data in (event(BEGUN), *[event({"content": text}) for text in texts])]
    inside = event({"content": "x"}).replace(b'"x"', b'"x"' + end + b'data: "y"')
    reads += [b"data: %b%b" % (inside, end)]
    reader = Counted(ChunkDecoder(), accepts_missing_done=False)
    assert await received(reads, reader) == await received(reads, OneByOne(ChunkDecoder(), accepts_missing_done=False))
    assert reader.added == 3  # the beginning, the first text, and what has no frame
