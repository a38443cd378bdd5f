"""What a provider's conversions cost: python -m scripts.benchmark.conversions anthropic [gemini …]

A request of 20 messages with 10 tools, from the decoded body to the bytes for the upstream; a stream's event, from the
bytes of the upstream to a chunk, beside decoding it into objects and encoding the chunk from objects alone. CPU time of
this thread, the best of several rounds. No socket is opened.
"""

import asyncio
import gc
import importlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import msgspec

from gateway_core.ports import Provider, UpstreamRequest, UpstreamResponse, WholeAnswer
from gateway_core.testing.provider_parts import parts
from gateway_core.types import ChatRequest, Deadlines, Route
from gateway_core.upstream.body import Events
from gateway_core.upstream.unexpected import whole_answer
from gateway_core.wire.chat import decode_request

ROUNDS = 7
CALLS = 300
EVENTS = 5_000
REQUEST_LIMIT_US = 150
EVENT_LIMIT_US = 4


class Wire(msgspec.Struct, frozen=True):
    """One provider kind, and what its upstream says: a plain answer, and a stream's first, text and last events."""

    module: str
    model: str
    answer: bytes
    first: tuple[bytes, ...]
    text: bytes
    last: tuple[bytes, ...]


def _wire(module: str, model: str, answer: Any, first: Sequence[Any], text: Any, last: Sequence[Any]) -> Wire:
    def lines(events: Sequence[Any]) -> tuple[bytes, ...]:
        return tuple(event if isinstance(event, bytes) else msgspec.json.encode(event) for event in events)

    encoded = msgspec.json.encode
    return Wire(module, model, encoded(answer), lines(first), encoded(text), lines(last))


_ANTHROPIC_MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 900, "output_tokens": 20},
}
_OPENAI_CHUNK = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m"}

WIRES: Mapping[str, Wire] = {
    "anthropic": _wire(
        "spl_provider_anthropic",
        "claude-sonnet-4-5",
        {**_ANTHROPIC_MESSAGE, "content": [{"type": "text", "text": "Hello."}]},
        [
            {"type": "message_start", "message": {**_ANTHROPIC_MESSAGE, "stop_reason": None, "content": []}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        ],
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " several words"}},
        [
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": 4_000},
            },
            {"type": "message_stop"},
        ],
    ),
    "gemini": _wire(
        "spl_provider_gemini",
        "gemini-2.5-flash",
        {
            "candidates": [
                {"content": {"role": "model", "parts": [{"text": "Hello."}]}, "finishReason": "STOP", "index": 0}
            ],
            "usageMetadata": {"promptTokenCount": 900, "candidatesTokenCount": 20, "totalTokenCount": 920},
        },
        [],
        {
            "candidates": [{"content": {"role": "model", "parts": [{"text": " several words"}]}, "index": 0}],
            "usageMetadata": {"promptTokenCount": 900, "candidatesTokenCount": 20, "totalTokenCount": 920},
            "modelVersion": "gemini-2.5-flash",
            "responseId": "abc",
        },
        [
            {
                "candidates": [
                    {"content": {"role": "model", "parts": [{"text": "."}]}, "finishReason": "STOP", "index": 0}
                ],
                "usageMetadata": {"promptTokenCount": 900, "candidatesTokenCount": 4_000, "totalTokenCount": 4_900},
            }
        ],
    ),
    "openai": _wire(
        "spl_provider_openai",
        "gpt-4o",
        {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}]},
        [{**_OPENAI_CHUNK, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}],
        {**_OPENAI_CHUNK, "choices": [{"index": 0, "delta": {"content": " several words"}, "finish_reason": None}]},
        [{**_OPENAI_CHUNK, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, b"[DONE]"],
    ),
}


class _Answer:
    """An upstream's answer that is there already, each event a read of its own."""

    def __init__(self, wire: Wire, *, stream: bool) -> None:
        self._wire = wire
        events = (*wire.first, *((wire.text,) * EVENTS), *wire.last) if stream else ()
        self._pieces = iter([b"data: %b\n\n" % event for event in events])
        self._events = Events(self._next, 1024 * 1024)
        self.status = 200
        self.retry_after: float | None = None
        self.headers: Mapping[str, str] = {"content-type": "text/event-stream" if stream else "application/json"}

    async def read(self, limit: int | None = None) -> bytes:
        del limit
        return self._wire.answer

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._wire.answer

    async def _next(self) -> bytes:
        return next(self._pieces, b"")

    def events(self) -> Events:
        return self._events

    async def pour(self, take: Callable[[bytes], bool]) -> bool:
        return all(map(take, self._pieces))

    async def close(self, *, finished: bool = False) -> None:
        del finished


class _CannedUpstream:
    """Notes when it was asked, and answers at once."""

    deadlines = Deadlines()

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.asked_at = 0.0
        self.body = b""

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        self.asked_at = time.thread_time()
        self.body = request.body
        return _Answer(self._wire, stream=b'"stream":true' in request.body or "alt=sse" in request.url)

    async def ask(self, request: UpstreamRequest) -> WholeAnswer:
        return await whole_answer(await self.send(request))

    async def close(self) -> None:
        """Nothing is open."""


def request(*, stream: bool) -> ChatRequest:
    """20 messages, two of them calls of tools and two their results, and 10 tools."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": "You are a helpful assistant. " * 20}]
    for turn in range(4):
        call = {
            "id": f"call_{turn}",
            "type": "function",
            "function": {"name": "tool_3", "arguments": '{"city": "Bern"}'},
        }
        messages += [
            {"role": "user", "content": f"Question {turn}: " + "what is the weather like in these places? " * 10},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"call_{turn}", "content": '{"temperature": 21, "sky": "clear"}' * 5},
            {"role": "assistant", "content": f"Answer {turn}: " + "it is sunny in all of them. " * 10},
        ]
    messages += [{"role": "user", "content": "And tomorrow?"}, {"role": "assistant", "content": "Sunny, too."}]
    messages.append({"role": "user", "content": [{"type": "text", "text": "And after that?"}]})
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Where."},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            "days": {"type": "array", "items": {"type": "integer", "minimum": 1}},
            "place": {"type": "object", "properties": {"lat": {"type": "number"}, "lon": {"type": "number"}}},
        },
        "required": ["city"],
        "additionalProperties": False,
    }
    tools = [
        {"type": "function", "function": {"name": f"tool_{at}", "description": "A tool. " * 10, "parameters": schema}}
        for at in range(10)
    ]
    body = {"model": "m", "messages": messages, "tools": tools, "temperature": 0.5, "max_tokens": 4_000}
    return decode_request(json.dumps({**body, "stream": stream}).encode())


async def _request_us(provider: Provider, upstream: _CannedUpstream, route: Route) -> float:
    """Microseconds from a call of the provider to its request being ready; the best round's mean."""
    asked, rounds = request(stream=False), []
    for _ in range(ROUNDS):
        total = 0.0
        for _ in range(CALLS):
            began = time.thread_time()
            await provider.complete(asked, route, None)
            total += upstream.asked_at - began
        rounds.append(total / CALLS)
    return min(rounds) * 1e6


async def _event_us(provider: Provider, route: Route) -> float:
    asked, rounds = request(stream=True), []
    for _ in range(ROUNDS):
        stream = await provider.stream(asked, route, None)
        began = time.thread_time()
        async for _ in stream:
            pass
        rounds.append((time.thread_time() - began) / EVENTS)
    return min(rounds) * 1e6


async def _floor_us(wire: Wire) -> float:
    """Decoding such an event into objects, and encoding a chunk's choices from objects, in the same loop."""
    decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode
    delta = [{"index": 0, "delta": {"content": " several words"}, "logprobs": None, "finish_reason": None}]
    rounds = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        async for (event,) in _Answer(wire, stream=True).events():
            if event != b"[DONE]":
                decode(event)
            encode(delta)
        rounds.append((time.thread_time() - began) / EVENTS)
    return min(rounds) * 1e6


async def measure(name: str) -> dict[str, float]:
    """Request and event of one provider kind, in microseconds."""
    wire = WIRES[name]
    (kind,) = importlib.import_module(wire.module).Plugin().register_providers()
    upstream = _CannedUpstream(wire)
    provider: Provider = kind.build(kind.settings(), parts(name, "key", upstream=upstream))
    route = Route(name, wire.model)
    result = {"request": await _request_us(provider, upstream, route)}
    decoded = msgspec.json.decode(upstream.body)
    began = time.thread_time()
    for _ in range(CALLS):
        msgspec.json.encode(decoded)
    result["request_encode"] = (time.thread_time() - began) / CALLS * 1e6
    result["event"], result["event_floor"] = await _event_us(provider, route), await _floor_us(wire)
    return result


def main() -> None:
    """Prints a line for each provider kind that is named."""
    names = sys.argv[1:] or ["anthropic"]
    if unknown := set(names) - set(WIRES):
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(WIRES)}")
    gc.collect()
    gc.freeze()
    for name in names:
        found = asyncio.run(measure(name))
        beyond = found["event"] - found["event_floor"]
        print(
            f"{name}: request {found['request']:.1f} µs (limit {REQUEST_LIMIT_US}; encoding alone "
            f"{found['request_encode']:.1f}), event {found['event']:.2f} µs = decode and encode "
            f"{found['event_floor']:.2f} + {beyond:.2f} (limit {EVENT_LIMIT_US})"
        )


if __name__ == "__main__":
    main()
