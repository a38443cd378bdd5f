"""Fault 11: every dialect of line ends and splits gives the same answer; a stream that is none is no success."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway_core.testing.http2_front import asked_by
from gateway_core.testing.line import Line, events, line, text_of
from gateway_core.testing.openai_fixture import UpstreamHandle

TEXT = "Grüße, 世界! 🙂 \u2028 end"


@pytest.fixture(scope="module", params=["native", "httpx2", "http2"])
def strict(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    openai_upstream_process: UpstreamHandle,
) -> Iterator[Line]:
    folder = tmp_path_factory.mktemp("malformed")
    with (
        asked_by(request.param, folder, openai_upstream_process) as ((upstream,), how),
        line(folder / "home", upstream, **how) as made,
    ):
        yield made


def chunk(text: str, finish: str | None = None) -> str:
    delta = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return json.dumps({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [delta]})


def outcome(strict: Line, **script: Any) -> tuple[str, str, int, int, str]:
    strict.upstream.reset()
    strict.upstream.script("priced", **script)
    answer = strict.call(stream=True)
    assert answer.status_code == 200, answer.text
    found = events(answer.text)
    row = strict.row(answer.headers["x-request-id"])
    last = found[-1] if found[-1] == "[DONE]" else found[-1]["error"]["code"]
    return text_of(found), last, row["output"], row["charge"], row["stream_state"]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("comments", [False, True])
def test_11_every_split_and_every_line_end_gives_the_same(strict: Line, line_end: str, comments: bool) -> None:
    expected = outcome(strict, text=TEXT)
    assert expected[:2] == (TEXT, "[DONE]")
    for split in (1, 2, 3, 5, 7, 64, 1000):
        assert outcome(strict, text=TEXT, line_end=line_end, comments=comments, split=split) == expected, split


@pytest.mark.parametrize("until_close", [False, True])
def test_11_an_end_without_a_finish_is_an_error_event(strict: Line, until_close: bool) -> None:
    text, last, tokens, _, state = outcome(
        strict, words=3, finish_reason=None, done=False, usage="none", until_close=until_close
    )
    assert (text, last, state) == ("word0 word1 word2", "provider_error", "provider_error")
    assert tokens > 0


@pytest.mark.parametrize(
    "nonsense",
    [
        "{",
        "nonsense",
        "[]",
        "null",
        '"text"',
        "{}{}",
        '{"choices": 1}',
        '{"choices": [{"delta": 1}]}',
        '{"choices": [{"delta": {"content": "a"}, "index": "x"}]}',
        "[" * 5000,
        '{"choices": [{"index": 0, "delta": {"content": "\\ud800"}}]}',
    ],
)
def test_11_nonsense_in_a_stream_is_never_a_success(strict: Line, nonsense: str) -> None:
    text, last, _, _, state = outcome(strict, events=(chunk("before"), nonsense, chunk("after", "stop"), "[DONE]"))
    if last == "[DONE]":  # it said nothing, so nothing of the answer was lost
        assert (text, state) == ("beforeafter", "completed")
        assert nonsense in ("{}", "null")
    else:
        assert (text, last, state) == ("before", "provider_error", "provider_error")


def test_11_nonsense_as_the_first_event_has_its_real_status(strict: Line) -> None:
    strict.upstream.reset()
    strict.upstream.script("priced", events=("nonsense",))
    answer = strict.call(stream=True)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "provider_error")
    assert strict.row(answer.headers["x-request-id"])["charge"] == 0


@pytest.mark.parametrize("found", [(), ("[DONE]",)])
def test_11_a_stream_without_an_event_is_no_answer(strict: Line, found: tuple[str, ...]) -> None:
    strict.upstream.reset()
    strict.upstream.script("priced", events=found)
    answer = strict.call(stream=True)
    last = events(answer.text)[-1] if answer.status_code == 200 else answer.json()
    assert last["error"]["code"] == "provider_error"
    assert strict.row(answer.headers["x-request-id"])["charge"] == 0
