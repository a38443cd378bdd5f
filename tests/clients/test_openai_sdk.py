"""The real OpenAI SDK for Python against the real program: what it accepts is the contract."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from gateway_core.testing.server import PATIENCE, ServedGateway, serving

HELLO: list[Any] = [{"role": "user", "content": "Say hello to the gateway"}]
WEATHER: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Current weather of a place",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
]
LIMITED = """
include = ["shipped:self-host.toml"]

[tiers.self-host]
requests_per_minute = 3
"""


@pytest.fixture
def client(running_server: ServedGateway) -> Iterator[OpenAI]:
    with OpenAI(base_url=running_server.base_url, api_key=running_server.key, max_retries=0) as made:
        yield made


@pytest.fixture
async def async_client(running_server: ServedGateway) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=running_server.base_url, api_key=running_server.key, max_retries=0) as made:
        yield made


# ---------------------------------------------------------------- plain


def test_plain(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="demo", messages=HELLO)
    assert answer.id.startswith("chatcmpl-")
    assert answer.object == "chat.completion"
    assert answer.model == "demo"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


async def test_plain_async(async_client: AsyncOpenAI) -> None:
    answer = await async_client.chat.completions.create(model="demo", messages=HELLO)
    assert answer.choices[0].message.content


def test_raw_response_has_the_headers_of_every_answer(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="demo", messages=HELLO)
    request_id = raw.headers["x-syncropic-request-id"]
    assert request_id.startswith("req_")
    assert raw.headers["x-request-id"] == raw.request_id == request_id
    assert raw.headers["x-syncropic-tier"] == "self-host"
    assert Decimal(raw.headers["x-syncropic-cost-cents"]) == 0
    assert raw.parse().choices[0].message.content


def test_several_choices(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="demo", messages=HELLO, n=2)
    assert [choice.index for choice in answer.choices] == [0, 1]


def test_tools(client: OpenAI) -> None:
    question: list[Any] = [{"role": "user", "content": "What is the weather in Lisbon?"}]
    answer = client.chat.completions.create(model="demo", messages=question, tools=WEATHER, tool_choice="required")
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    assert message.tool_calls is not None
    call = message.tool_calls[0]
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert set(json.loads(call.function.arguments)) == {"city"}

    result = {"role": "tool", "tool_call_id": call.id, "content": "22 degrees and sunny"}
    followed: list[Any] = [*question, message.model_dump(exclude_none=True), result]
    final = client.chat.completions.create(model="demo", messages=followed, tools=WEATHER)
    assert final.choices[0].finish_reason == "stop"
    assert final.choices[0].message.content


def test_json_object(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="demo",
        messages=[{"role": "user", "content": "Answer in JSON"}],
        response_format={"type": "json_object"},
    )
    assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)


def test_json_schema(client: OpenAI) -> None:
    schema: dict[str, object] = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model="demo",
        messages=[{"role": "user", "content": "Invent a person"}],
        response_format={"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": schema}},
    )
    person = json.loads(answer.choices[0].message.content or "")
    assert set(person) == {"name", "age"}
    assert isinstance(person["age"], int)


# ---------------------------------------------------------------- streamed


def test_stream(client: OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="demo", messages=HELLO, stream=True))
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.model for chunk in chunks} == {"demo"}
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk for chunk in chunks if not chunk.choices] == []
    assert chunks[-1].choices[0].finish_reason == "stop"
    whole = client.chat.completions.create(model="demo", messages=HELLO).choices[0].message.content
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole


def test_stream_with_usage(client: OpenAI) -> None:
    options: Any = {"include_usage": True}
    chunks = list(client.chat.completions.create(model="demo", messages=HELLO, stream=True, stream_options=options))
    last = chunks[-1]
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens > 0
    assert Decimal(getattr(last.usage, "cost_cents", "none")) == 0
    assert [chunk.usage for chunk in chunks[:-1] if chunk.usage is not None] == []


async def test_stream_async(async_client: AsyncOpenAI) -> None:
    stream = await async_client.chat.completions.create(model="demo", messages=HELLO, stream=True)
    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    assert "".join(pieces)


def test_streamed_tool_call(client: OpenAI) -> None:
    with client.chat.completions.stream(
        model="demo",
        messages=[{"role": "user", "content": "What is the weather in Oslo?"}],
        tools=WEATHER,
        tool_choice="required",
    ) as stream:
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert set(json.loads(calls[0].function.arguments)) == {"city"}


def test_a_cut_stream_is_on_record(client: OpenAI, running_server: ServedGateway) -> None:
    stream = client.chat.completions.create(
        model="demo", messages=[{"role": "user", "content": "Give me 200000 words"}], stream=True
    )
    request_id = stream.response.headers["x-syncropic-request-id"]
    next(chunk for chunk in stream if chunk.choices[0].delta.content)
    stream.close()
    body = _record(running_server, request_id)
    assert body["stream_state"] == "client_disconnect"
    assert 0 < body["tokens_output"] < 200_000


def _record(server: ServedGateway, request_id: str) -> Any:
    """A call's record: read again until it is there, for it is written after the client has gone."""
    with OpenAI(base_url=server.base_url, api_key=server.key) as client:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with suppress(openai.NotFoundError):
                return client.get(f"/requests/{request_id}", cast_to=dict[str, Any])
    raise AssertionError(f"{request_id} left no record")


# ---------------------------------------------------------------- models and errors


def test_models(client: OpenAI) -> None:
    assert "demo" in {model.id for model in client.models.list()}
    model = client.models.retrieve("demo")
    assert (model.id, model.object) == ("demo", "model")


def test_wrong_key(running_server: ServedGateway) -> None:
    with (
        OpenAI(base_url=running_server.base_url, api_key="sk-wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.chat.completions.create(model="demo", messages=HELLO)
    assert caught.value.code == "invalid_bearer"
    assert caught.value.request_id is not None
    assert caught.value.request_id.startswith("req_")


def test_unknown_model(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="no-such-model", messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize("stream", [False, True])
def test_bad_request_names_the_field(client: OpenAI, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="demo", messages=HELLO, temperature=17, stream=stream)
    assert (caught.value.code, caught.value.param) == ("invalid_request", "temperature")


def test_insufficient_scope(client: OpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.get("/admin/accounts", cast_to=object)
    assert caught.value.code == "insufficient_scope"


# ---------------------------------------------------------------- limits and retries


def test_limit(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "home", config=LIMITED) as server,
        OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0) as client,
    ):
        for left in (2, 1, 0):
            raw = client.chat.completions.with_raw_response.create(model="demo", messages=HELLO)
            assert raw.headers["x-ratelimit-limit-requests"] == "3"
            assert raw.headers["x-ratelimit-remaining-requests"] == str(left)
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="demo", messages=HELLO)
    assert caught.value.code == "rate_limited"
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
