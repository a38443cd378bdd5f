"""Events that differ in their text alone: what is taken for one, what it says, and how such events stand in a body."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.json import encode

from gateway_core.types import Shape
from gateway_core.upstream.alike import Alike, framing_of, said
from gateway_core.upstream.body import Events

ALIKE = Alike(b'{"t":', b',"n":null}', Shape(b"<", b">"))


async def _nothing() -> bytes:
    return b""


def event(token: bytes) -> bytes:
    return ALIKE.before + token + ALIKE.after


@given(st.lists(st.text(min_size=1), min_size=1))
def test_texts_are_said_as_they_were_written(texts: list[str]) -> None:
    assert said([encode(text) for text in texts]) == texts


@pytest.mark.parametrize(
    "token",
    [b"", b'""', b"null", b"1", b'["a"]', b'"a" "b"', b'"a', b'"a\n"', b'"a"\n', b'\r"a"', b'"\xff"',
     b'"\\ud800"', b'"\x00"'],
)  # fmt: skip
@pytest.mark.parametrize("others", [[], [b'"x"'], [b'"x"', b'"y"']])
def test_what_is_no_text_on_one_line_is_none_of_several_either(token: bytes, others: list[bytes]) -> None:
    assert said([*others, token]) is None
    assert said([token, *others]) is None


def test_tokens_end_at_the_first_event_that_differs() -> None:
    events = [event(b"1"), event(b"2"), event(b"3") + b" ", event(b"4"), b"", ALIKE.before, ALIKE.before[:-1]]
    assert [ALIKE.tokens(events, at) for at in range(len(events))] == [[b"1", b"2"], [b"2"], [], [b"4"], [], [], []]


@pytest.mark.parametrize("lead", [b"data: ", b"event: x\ndata: ", b"id: 1\r\nretry: 5\r\ndata: ", b": c\n\ndata: "])
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_a_framing_reads_one_event_as_the_standard_does(lead: bytes, end: bytes) -> None:
    framing = framing_of(ALIKE, lead + event(b'"a"') + end, event(b'"a"'), 1_000)
    assert framing is not None
    piece, token = lead + event(b'"other"') + end, b'"other"'
    assert framing.token(piece) == token
    assert Events(_nothing, 1_000).push(piece) == [event(token)]
    for at in range(1, len(piece)):
        assert framing.token(piece[:at]) != token
        assert framing.token(piece[at:]) is None
    assert framing.token(piece + piece) is None
    assert framing.token(piece + b": c" + end + piece) is None


@pytest.mark.parametrize(
    "piece",
    [
        b"data:" + event(b'"a"') + b"\n\n",
        b"data: " + event(b'"a"') + b"\n\n\n",
        b"data: " + event(b'"a"') + b"\n: c\n\n",
        b"data: " + event(b'"a"') + b"\n",
        b": data: " + event(b'"a"') + b"\n\n",
        b"data: " + event(b'"a"') + b"\n:" + event(b'"a"') + b"\n\n",
        b"data: something else\n\n",
    ],
)
def test_a_piece_whose_last_line_is_not_the_event_has_no_framing(piece: bytes) -> None:
    assert framing_of(ALIKE, piece, event(b'"a"'), 1_000) is None


def test_no_event_is_larger_than_it_may_be() -> None:
    framing = framing_of(ALIKE, b"data: " + event(b'"a"') + b"\n\n", event(b'"a"'), 100)
    assert framing is not None
    assert framing.token(b"data: " + event(b'"%b"' % (b"x" * 100)) + b"\n\n") is None
