"""What every provider must do, as a test class: subclass it and give it a `provider` and a `route`.

    class TestMine(ProviderSuite):
        @pytest.fixture
        async def provider(self): ...
        @pytest.fixture
        def route(self): return Route("mine", "my-model")

The provider must answer any short prompt with at least one token, stream it in at least three events, and call the
tool `get_weather` where `tool_choice` demands it.
"""

import asyncio
import copy
import json
from typing import Any

import pytest

from gateway_core.ports import Provider
from gateway_core.testing.server import PATIENCE
from gateway_core.types import Batch, ChatRequest, Chunk, Route, events_of
from gateway_core.wire.chat import decode_request

VOCABULARIES = (None, "o200k_base", "cl100k_base")
ROUTE = Route("mine", "m")
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def chat(**fields: Any) -> ChatRequest:
    """A request as the gateway would decode it; by default a short prompt."""
    body = {"model": "asked-for", "messages": [{"role": "user", "content": "Say something short."}], **fields}
    return decode_request(json.dumps(body).encode())


async def stream_of(provider: Provider, request: ChatRequest, route: Route, limit: int | None = None) -> list[Chunk]:
    """All chunks of a stream, each event by itself."""
    return [chunk async for batch in await provider.stream(request, route, limit) for chunk in events_of(batch)]


async def ask(provider: Provider, request: ChatRequest, route: Route = ROUTE, limit: int | None = None) -> Any:
    """Asks in the way that the request says: its completion, or all its chunks."""
    if request.stream:
        return await stream_of(provider, request, route, limit)
    return await provider.complete(request, route, limit)


def choices_of(batch: Batch) -> list[dict[str, Any]]:
    """Every choice of every event, in order."""
    return [choice for chunk in events_of(batch) for choice in json.loads(bytes(chunk.choices))]


class ProviderSuite:
    """The contract of `gateway_core.ports.Provider`."""

    async def test_a_plain_answer_is_in_openais_shape(self, provider: Provider, route: Route) -> None:
        completion = await provider.complete(chat(), route, None)
        (choice,) = json.loads(bytes(completion.choices))
        assert choice["index"] == 0
        assert choice["message"]["role"] == "assistant"
        assert choice["finish_reason"] == "stop"
        assert "".join(completion.texts) == choice["message"]["content"] != ""
        assert completion.usage is not None
        assert completion.usage.input > 0
        assert completion.usage.output > 0
        assert not {"id", "object", "created", "model", "choices", "usage"} & set(completion.extra)

    async def test_a_stream_is_in_openais_shape(self, provider: Provider, route: Route) -> None:
        chunks = await stream_of(provider, chat(stream=True), route)
        choices = choices_of(chunks)
        assert choices[0]["delta"]["role"] == "assistant"
        assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["stop"]
        assert choices[-1]["finish_reason"] == "stop"
        assert [chunk.finish for chunk in chunks if bytes(chunk.choices) != b"[]"][-1]
        text = "".join(choice["delta"].get("content") or "" for choice in choices)
        assert "".join(piece for chunk in chunks for piece in chunk.texts) == text != ""
        assert len(choices) >= 3
        usage = [chunk.usage for chunk in chunks if chunk.usage is not None][-1]
        assert usage.input > 0
        assert usage.output > 0

    @pytest.mark.parametrize("stream", [False, True])
    async def test_several_answers_at_once(self, provider: Provider, route: Route, stream: bool) -> None:
        request = chat(n=3, stream=stream)
        if stream:
            choices = choices_of(await stream_of(provider, request, route))
        else:
            choices = json.loads(bytes((await provider.complete(request, route, None)).choices))
        assert {choice["index"] for choice in choices} == {0, 1, 2}
        assert sorted(choice["index"] for choice in choices if choice["finish_reason"]) == [0, 1, 2]

    @pytest.mark.parametrize("stream", [False, True])
    async def test_a_tool_that_is_demanded_is_called(self, provider: Provider, route: Route, stream: bool) -> None:
        choice = {"type": "function", "function": {"name": "get_weather"}}
        request = chat(tools=[WEATHER], tool_choice=choice, stream=stream)
        if stream:
            chunks = await stream_of(provider, request, route)
            texts = [text for chunk in chunks for text in chunk.texts]
            deltas = [choice["delta"] for choice in choices_of(chunks)]
            pieces = [piece for delta in deltas for piece in delta.get("tool_calls") or ()]
            assert {piece["index"] for piece in pieces} == {0}
            assert len([piece["id"] for piece in pieces if piece.get("id")]) == 1
            assert pieces[0]["function"]["name"] == "get_weather"
            arguments = "".join(piece["function"].get("arguments") or "" for piece in pieces)
            reason = choices_of(chunks)[-1]["finish_reason"]
        else:
            completion = await provider.complete(request, route, None)
            texts = list(completion.texts)
            (answer,) = json.loads(bytes(completion.choices))
            (call,) = answer["message"]["tool_calls"]
            assert (bool(call["id"]), call["type"], call["function"]["name"]) == (True, "function", "get_weather")
            arguments, reason = call["function"]["arguments"], answer["finish_reason"]
        assert isinstance(json.loads(arguments), dict)
        assert reason in ("tool_calls", "stop")
        assert "".join(texts) == arguments

    async def test_a_request_is_left_as_it_was(self, provider: Provider, route: Route) -> None:
        for stream in (False, True):
            request = chat(stream=stream, max_tokens=50, extra={"a": [1]})
            before = copy.deepcopy(request)
            if stream:
                await stream_of(provider, request, route, 20)
            else:
                await provider.complete(request, route, 20)
            assert request == before

    async def test_a_stream_can_be_left_at_any_time(self, provider: Provider, route: Route) -> None:
        for batches in range(3):
            stream = await provider.stream(chat(stream=True), route, None)
            for _ in range(batches):
                await anext(stream, None)  # one read may have brought all of it
            await stream.aclose()
            with pytest.raises(StopAsyncIteration):
                await anext(stream)

    async def test_a_stream_gives_way_to_its_cancellation(self, provider: Provider, route: Route) -> None:
        begun = asyncio.Event()

        async def read() -> None:
            stream = await provider.stream(chat(stream=True), route, None)
            try:
                while True:
                    await anext(stream)
                    begun.set()
                    await asyncio.sleep(0)
            finally:
                await stream.aclose()

        task = asyncio.create_task(read())
        await asyncio.wait_for(begun.wait(), PATIENCE)
        task.cancel()
        with pytest.raises((asyncio.CancelledError, StopAsyncIteration)):
            await task

    async def test_calls_at_once_do_not_mix(self, provider: Provider, route: Route) -> None:
        alone = choices_of(await stream_of(provider, chat(stream=True), route))
        together = await asyncio.gather(*(stream_of(provider, chat(stream=True), route) for _ in range(20)))
        assert [len(choices_of(chunks)) for chunks in together] == [len(alone)] * 20

    def test_its_tokenizer_is_one_that_is_published(self, provider: Provider, route: Route) -> None:
        assert provider.tokenizer(route.model) in VOCABULARIES
        assert provider.name
