"""Fault 9: the provider resets, or ends, at any byte: what was written is billed, and nothing is made up."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from gateway_core.testing.http2_front import asked_by
from gateway_core.testing.line import Line, events, line, text_of
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.tokens import Tokens

STEP = 11
"""Every so many bytes: all of them take minutes, and a prime reaches each kind of place."""


@pytest.fixture(scope="module", params=["native", "httpx2", "http2"])
def broken(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    openai_upstream_process: UpstreamHandle,
) -> Iterator[Line]:
    openai_upstream_process.reset()
    folder = tmp_path_factory.mktemp("broken")
    with (
        asked_by(request.param, folder, openai_upstream_process) as ((upstream,), how),
        line(folder / "home", upstream, **how) as made,
    ):
        yield made


def size_of(broken: Line, **fields: Any) -> int:
    broken.upstream.reset()
    assert broken.call(**fields).status_code == 200
    sent: int = broken.upstream.log()[0]["sent"]
    return sent


def broken_at(broken: Line, how: str, places: range, **fields: Any) -> list[httpx2.Response]:
    broken.upstream.reset()
    for at in places:
        broken.upstream.script("priced", **{how: at, "times": 1})
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda _: broken.call(**fields), places))


@pytest.mark.parametrize("how", ["reset_at", "close_at"])
async def test_09_a_stream_that_breaks_off_at_any_byte_bills_what_was_received(broken: Line, how: str) -> None:
    answers = broken_at(broken, how, range(1, size_of(broken, stream=True), STEP), stream=True)
    tokens, rows = Tokens(), broken.rows()
    ends = set()
    for answer in answers:
        row = rows[answer.headers["x-request-id"]]
        if answer.status_code != 200:
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "provider_error")
            assert (row["charge"], row["output"], row["stream_state"]) == (0, 0, "provider_error")
            continue
        found = events(answer.text)
        finished = any(choice["finish_reason"] for event in found[:-1] for choice in event["choices"])
        ends.add(row["stream_state"])
        text = text_of(found)
        if finished:
            assert found[-1] == "[DONE]"
            assert row["stream_state"] == "completed"
        else:
            assert found[-1]["error"]["code"] == "provider_error"
            assert sum("error" in event for event in found) == 1
            assert (row["stream_state"], row["error_code"]) == ("provider_error", "provider_error")
            assert row["output"] == (await tokens.count("o200k_base", [text]) if text else 0)
        assert (row["charge"] > 0) == bool(text)
    assert ends == {"provider_error", "completed"}
    assert broken.reconciles()


@pytest.mark.parametrize("how", ["reset_at", "close_at"])
def test_09_a_plain_answer_that_breaks_off_is_none_and_costs_nothing(broken: Line, how: str) -> None:
    answers = broken_at(broken, how, range(1, size_of(broken), STEP))
    rows = broken.rows()
    for answer in answers:
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "provider_error")
        row = rows[answer.headers["x-request-id"]]
        assert (row["charge"], row["outcome"], row["error_code"]) == (0, "failed", "provider_error")
