"""Faults 13 and 14: a success that is none, and usage that cannot be meant."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway_core.testing.line import Line, events, line
from gateway_core.testing.openai_fixture import UpstreamHandle

ERROR = json.dumps({"error": {"message": "upstream secret detail", "type": "server_error", "code": "overloaded"}})


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, openai_upstream_process: UpstreamHandle) -> Iterator[Line]:
    with line(tmp_path_factory.mktemp("untrue") / "home", openai_upstream_process) as made:
        yield made


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "script",
    [
        {"body": "<html><body>Welcome</body></html>", "content_type": "text/html"},
        {"body": "<html><body>Welcome</body></html>", "content_type": "application/json"},
        {"body": ERROR, "content_type": "application/json"},
        {"body": "", "content_type": "application/json"},
        {"body": '{"choices": []}', "content_type": "application/json"},
        {"body": "null", "content_type": "application/json"},
        {"events": (ERROR,)},
    ],
)
def test_13_a_200_that_is_no_answer_is_a_provider_error(strict: Line, script: dict[str, Any], stream: bool) -> None:
    if "events" in script and not stream:
        script = {"body": ERROR}
    strict.upstream.reset()
    strict.upstream.script("priced", **script)
    answer = strict.call(stream=stream)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "provider_error")
    assert "secret" not in answer.text
    row = strict.row(answer.headers["x-request-id"])
    assert (row["charge"], row["outcome"], row["error_code"]) == (0, "failed", "provider_error")


def test_13_an_error_in_the_middle_of_a_stream_is_its_last_event(strict: Line) -> None:
    strict.upstream.reset()
    good = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    choice = {"index": 0, "delta": {"role": "assistant", "content": "So"}, "finish_reason": None}
    strict.upstream.script("priced", events=(json.dumps({**good, "choices": [choice]}), ERROR))
    answer = strict.call(stream=True)
    *_, last = events(answer.text)
    assert last["error"]["code"] == "provider_error"
    assert "secret" not in answer.text
    row = strict.row(answer.headers["x-request-id"])
    assert (row["stream_state"], row["output"]) == ("provider_error", 1)


def usage(prompt: Any, completion: Any, **details: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": 0, **details}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "reported",
    [
        "none",
        usage(-5, 3),
        usage(5, -3),
        usage(10**15, 3),
        usage(5, 10**30),
        usage("7", 3),
        usage(5.5, 3),
        usage(True, False),
        usage(0, 0),
        {},
        {"prompt_tokens": 7},
    ],
)
def test_14_usage_that_cannot_be_meant_is_counted_here_and_marked(strict: Line, reported: Any, stream: bool) -> None:
    strict.upstream.reset()
    strict.upstream.script("priced", text="one two three", usage=reported)
    answer = strict.call(stream=stream)
    assert answer.status_code == 200
    row = strict.row(answer.headers["x-request-id"])
    assert (row["output"], row["estimated"], row["outcome"]) == (3, 1, "ok")
    assert 0 < row["input"] < 30
    assert row["charge"] == row["input"] * 10**6 + row["output"] * 10**7


@pytest.mark.parametrize("stream", [False, True])
def test_14_an_enormous_report_is_clamped_to_the_hold_and_the_rest_is_our_loss(strict: Line, stream: bool) -> None:
    strict.upstream.reset()
    strict.upstream.script("priced", usage=usage(900_000_000, 900_000_000))
    answer = strict.call(stream=stream)
    row = strict.row(answer.headers["x-request-id"])
    assert row["charge"] == row["hold_amount"]
    assert row["loss"] > 0
    assert row["owed"] == row["charge"] + row["loss"]


@pytest.mark.parametrize("stream", [False, True])
def test_14_parts_that_exceed_their_whole_are_clamped_and_marked(strict: Line, stream: bool) -> None:
    strict.upstream.reset()
    strict.upstream.script("priced", usage=usage(10, 5, prompt_tokens_details={"cached_tokens": 10**6}))
    answer = strict.call(stream=stream)
    row = strict.row(answer.headers["x-request-id"])
    assert (row["input"], row["cached"], row["output"], row["estimated"]) == (10, 10, 5, 1)


def test_14_of_many_reports_the_last_counts(strict: Line) -> None:
    strict.upstream.reset()
    strict.upstream.script("priced", usage=[usage(10, 1), usage(10, 2), usage(10, 9), usage(10, 5)])
    answer = strict.call(stream=True, stream_options={"include_usage": True})
    told = [event["usage"] for event in events(answer.text) if event != "[DONE]" and event.get("usage")]
    row = strict.row(answer.headers["x-request-id"])
    assert (row["input"], row["output"], row["estimated"]) == (10, 5, 0)
    assert [one["completion_tokens"] for one in told] == [5]
