"""Schemas that are small and would take minutes, gigabytes or a stack without end: what is made of them is bounded."""

from typing import Any

import msgspec
import pytest
from spl_provider_demo.schema import instance

MANY = 30_000


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
