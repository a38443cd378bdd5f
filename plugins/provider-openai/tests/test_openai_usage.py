"""Which of the server's counts are believed."""

import json
from typing import Any

import pytest
from spl_provider_openai.provider import OpenAIProvider

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
