"""Requests that are small and would take minutes, gigabytes or a stack without end: what is made of them is bounded,
and what takes long is made beside the loop."""

import asyncio
from typing import Any

import msgspec
import pytest
from spl_provider_demo.provider import DemoProvider, DemoSettings
from spl_provider_demo.schema import instance

from gateway_core.testing import samples
from gateway_core.types import ChatRequest, Route

MANY = 30_000
ROUTE = Route("demo", "demo")


def _doubled(word: str) -> dict[str, Any]:
    """Each definition names the next one twice: two to the power of forty ways to the last one."""
    defs: dict[str, Any] = {f"d{at}": {word: [{"$ref": f"#/$defs/d{at + 1}"}] * 2} for at in range(40)}
    defs["d40"] = {"type": "object", "properties": {"x": {"type": "string"}}}
    return {"$ref": "#/$defs/d0", "$defs": defs}


def _everywhere(schema: Any) -> dict[str, Any]:
    """Ten thousand places for it."""
    return {"type": "array", "minItems": 100, "items": {"type": "array", "minItems": 100, "items": schema}}


SCHEMAS: dict[str, Any] = {
    **{f"doubled {word}": _doubled(word) for word in ("anyOf", "oneOf", "allOf")},
    "a circle of allOf": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
    "a long default": _everywhere({"default": ["x" * MANY]}),
    "a long constant": _everywhere({"const": "x" * MANY}),
    "a long text": _everywhere({"type": "string", "minLength": MANY}),
    "many alternatives": _everywhere({"anyOf": [{"type": "null"}] * MANY}),
    "a long reference": {**_everywhere({"$ref": "#/" + "/".join(["$defs"] * MANY)}), "$defs": {}},
    "many others required": {
        "properties": {f"p{at}": {"type": "null"} for at in range(MANY)},
        "required": [f"q{at}" for at in range(MANY)],
    },
    "many that hold together": {
        "allOf": [{"properties": {f"p{at}": {}}, "required": [f"p{at}"]} for at in range(MANY)],
    },
    "no such number": {"type": "integer", "maximum": -1e308, "multipleOf": 5e-324},
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_that_is_a_bomb(name: str) -> None:
    assert len(msgspec.json.encode(instance(SCHEMAS[name]))) < 300_000


def asking(text: str, **fields: Any) -> ChatRequest:
    """A request with one message."""
    body = {"model": "demo", "messages": [{"role": "user", "content": text}], **fields}
    return msgspec.structs.replace(samples.request(), body=body, choices=fields.get("n", 1))


CUSTOM = [{"type": "custom", "custom": {"name": f"weather{number}"}} for number in range(100)]


@pytest.mark.parametrize(
    "request_",
    [
        asking("Write 999999 words", n=128),
        asking("x" * 2_000_000, n=128),
        asking("weather " * 300_000, tools=CUSTOM, n=20),
    ],
    ids=["words", "echo", "calls"],
)
async def test_many_answers_are_no_larger_than_one(request_: ChatRequest) -> None:
    answer = await DemoProvider("demo", DemoSettings()).complete(request_, ROUTE, None)
    assert len(bytes(answer.choices)) < 5_000_000


@pytest.mark.parametrize("streams", [True, False])
async def test_the_loop_goes_on_while_a_large_request_is_counted(streams: bool) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    provider = DemoProvider("demo", DemoSettings())
    made = (provider.stream if streams else provider.complete)(asking("word " * 400_000), ROUTE, 10)
    beside = asyncio.create_task(others())
    await made
    beside.cancel()
    assert turns > 5
