"""The demo as a `Provider`: plain answers, and streams that can be cut between any two words."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

import msgspec

from gateway_core.ports import Chunks
from gateway_core.types import ChatRequest, Chunk, Completion, Route, Usage
from spl_provider_demo.script import Answer, ToolCall, answer, input_tokens, pieces

_encode = msgspec.json.Encoder().encode


class DemoSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[providers.NAME]` with `plugin = "provider-demo"`."""

    #: Milliseconds before each streamed piece.
    delay_ms: float = 0


class DemoProvider:
    """Answers every model, offline, the same each time, and counts its own tokens."""

    def __init__(self, name: str, settings: DemoSettings) -> None:
        self.name = name
        self._delay = settings.delay_ms / 1000

    async def complete(self, request: ChatRequest, route: Route, output_limit: int | None) -> Completion:
        """The whole answer at once."""
        del route  # every model is the same here
        return await asyncio.to_thread(_completion, request, output_limit)

    async def stream(self, request: ChatRequest, route: Route, output_limit: int | None) -> Chunks:
        """The answer piece by piece, each with the usage so far."""
        del route  # every model is the same here
        return self._events(*await asyncio.to_thread(_counted_answers, request, output_limit))

    async def _events(self, answers: Sequence[Answer], prompt: int) -> AsyncGenerator[Sequence[Chunk]]:
        output = 0
        for index, one in enumerate(answers):
            for delta, text in _deltas(one):
                await asyncio.sleep(self._delay)  # also at 0: lets the loop run, so that a stream can be cut
                output += bool(text)
                yield (_chunk(index, delta, None, text, Usage(input=prompt, output=output)),)
            yield (_chunk(index, {}, one.finish_reason, "", Usage(input=prompt, output=output)),)

    def tokenizer(self, model: str) -> str | None:
        """None: the demo counts in words, and says so with every event."""
        del model  # all the same
        return None


# What is asked for and what is counted may be megabytes: it is made beside the loop, which serves everybody else.


def _counted_answers(request: ChatRequest, output_limit: int | None) -> tuple[list[Answer], int]:
    return _answers(request, output_limit), input_tokens(request)


def _completion(request: ChatRequest, output_limit: int | None) -> Completion:
    answers, prompt = _counted_answers(request, output_limit)
    output = sum(one.tokens() for one in answers)
    return Completion(
        choices=msgspec.Raw(_encode([_choice(index, one) for index, one in enumerate(answers)])),
        usage=Usage(input=prompt, output=output),
        texts=tuple(text for one in answers for text in (one.text, *(call.input for call in one.calls)) if text),
    )


def _answers(request: ChatRequest, output_limit: int | None) -> list[Answer]:
    limit = request.output_limit if output_limit is None else output_limit
    return [answer(request, index, limit) for index in range(request.choices)]


def _choice(index: int, one: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None if one.calls else one.text, "refusal": None}
    if one.calls:
        message["tool_calls"] = [_tool_call(call, call.input) for call in one.calls]
    return {"index": index, "message": message, "logprobs": None, "finish_reason": one.finish_reason}


def _tool_call(call: ToolCall, text: str) -> dict[str, Any]:
    return {"id": call.id, "type": call.field, call.field: {"name": call.name, call.input_name: text}}


def _deltas(one: Answer) -> Iterator[tuple[dict[str, Any], str]]:
    """Each delta of the choice with the billable text in it: at most one token."""
    yield {"role": "assistant", "content": None if one.calls else ""}, ""
    for piece in pieces(one.text):
        yield {"content": piece}, piece
    for at, call in enumerate(one.calls):
        yield {"tool_calls": [{"index": at, **_tool_call(call, "")}]}, ""
        for piece in pieces(call.input):
            yield {"tool_calls": [{"index": at, call.field: {call.input_name: piece}}]}, piece


def _chunk(index: int, delta: dict[str, Any], finish: str | None, text: str, usage: Usage) -> Chunk:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    return Chunk(
        choices=msgspec.Raw(_encode([choice])),
        texts=(text,) if text else (),
        finish=finish is not None,
        usage=usage,
    )
