"""Which of the server's counts are believed."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spl_provider_openai.provider import OpenAIProvider
from spl_provider_openai.usage import of_any_report, usage_of

from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.provider_suite import ask, chat
from gateway_core.types import Chunk, Usage

USAGES = [
    (None, None),
    ({}, None),
    ({"prompt_tokens": 5}, None),
    ({"prompt_tokens": 5, "completion_tokens": -1}, None),
    ({"prompt_tokens": "5", "completion_tokens": 1}, None),
    ({"prompt_tokens": 5, "completion_tokens": 10**9 + 1}, None),
    ({"prompt_tokens": 0, "completion_tokens": 0}, None),
    ({"prompt_tokens": True, "completion_tokens": 1}, None),
    ([1], None),
    ({"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 99}, Usage(5, 6)),
    (
        {"prompt_tokens": 5, "completion_tokens": 6, "prompt_tokens_details": {"cached_tokens": 4},
         "completion_tokens_details": {"reasoning_tokens": 3}},
        Usage(5, 6, cached=4, reasoning=3),
    ),
    (
        {"prompt_tokens": 5, "completion_tokens": 6, "prompt_tokens_details": {"cached_tokens": 50},
         "completion_tokens_details": {"reasoning_tokens": 60}},
        Usage(5, 6, cached=5, reasoning=6, estimated=True),
    ),
    (
        {"prompt_tokens": 5, "completion_tokens": 6, "prompt_tokens_details": {"cached_tokens": -5}},
        Usage(5, 6, estimated=True),
    ),
    (
        {"prompt_tokens": 9, "completion_tokens": 6,
         "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 5}},
        Usage(9, 6, cached=4, cache_write=5),
    ),
    ({"prompt_tokens": 5, "completion_tokens": 6, "prompt_tokens_details": None}, Usage(5, 6)),
]  # fmt: skip


@pytest.mark.parametrize(("report", "expected"), USAGES)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_usage_report_is_believed_only_where_it_can_be(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle, report: Any, expected: Usage | None, stream: bool
) -> None:
    answer = {"choices": [{"message": {"content": "hi"}, "delta": {"content": "hi"}, "finish_reason": "stop"}]}
    text = json.dumps({**answer, "usage": report})
    if stream:
        openai_upstream.script("m", events=(text, "[DONE]"))
        (chunk,) = await ask(provider, chat(stream=True))
        assert chunk.usage == expected
    else:
        openai_upstream.script("m", body=text)
        assert (await ask(provider, chat())).usage == expected


async def test_usage_sent_many_times_stands_in_each_chunk(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle
) -> None:
    reports = [{"prompt_tokens": 5, "completion_tokens": count} for count in (1, 2, 3)]
    openai_upstream.script("m", usage=reports)
    chunks: list[Chunk] = await ask(provider, chat(stream=True))
    assert [chunk.usage for chunk in chunks if chunk.usage] == [Usage(5, 1), Usage(5, 2), Usage(5, 3)]


STRANGE: list[Any] = [None, -1, 2.0, 2.5, True, "3", 10**9, 10**9 + 1, [], {}]
COUNTS = st.integers(0, 9) | st.sampled_from(STRANGE)


def reports(**parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional=parts)


@settings(max_examples=1000, deadline=None)
@given(
    reports(
        prompt_tokens=COUNTS,
        completion_tokens=COUNTS,
        total_tokens=COUNTS | st.integers(0, 30),
        prompt_tokens_details=reports(cached_tokens=COUNTS, cache_write_tokens=COUNTS, audio_tokens=COUNTS) | COUNTS,
        completion_tokens_details=reports(reasoning_tokens=COUNTS, audio_tokens=COUNTS) | COUNTS,
        prompt_cache_hit_tokens=COUNTS,
        queue_time=COUNTS,
    ),
    st.booleans(),
)
def test_a_report_as_openai_writes_it_is_read_at_once_and_means_the_same(report: Any, summed: bool) -> None:
    counts = report.get("prompt_tokens"), report.get("completion_tokens")
    if summed and all(type(count) is int for count in counts):
        report["total_tokens"] = sum(counts)
    raw = msgspec.Raw(json.dumps(report).encode())
    assert usage_of(raw) == of_any_report(raw)
