"""Schemas that are small and would take minutes, gigabytes or a stack without end, whoever converts them."""

from typing import Any

MANY = 30_000


def tool(schema: Any, **more: Any) -> dict[str, Any]:
    """The fields of a request with one tool of this schema."""
    return {"tools": [{"type": "function", "function": {"name": "f", "parameters": schema, **more}}]}


def form(schema: Any) -> dict[str, Any]:
    """The fields of a request whose answer must be of this schema."""
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "f", "strict": True, "schema": schema}}}


def _doubled(word: str) -> dict[str, Any]:
    """Each definition names the next one twice: two to the power of forty ways to the last one."""
    defs: dict[str, Any] = {f"d{at}": {word: [{"$ref": f"#/$defs/d{at + 1}"}] * 2} for at in range(40)}
    defs["d40"] = {"type": "object", "properties": {"x": {"type": "string"}}}
    return {"$ref": "#/$defs/d0", "$defs": defs}


def _circle(word: str) -> dict[str, Any]:
    again = {word: [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}
    return {**again, "$defs": {"a": again}}


def _types_in_types() -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(24):
        schema = {"type": ["string", "number", "integer", "boolean"], "anyOf": [schema]}
    return {"type": "object", "properties": {"a": schema}, "additionalProperties": False}


SCHEMAS: dict[str, Any] = {
    **{f"doubled {word}": _doubled(word) for word in ("anyOf", "oneOf", "allOf")},
    **{f"a circle of {word}": _circle(word) for word in ("anyOf", "oneOf", "allOf")},
    "types in types": _types_in_types(),
    "a chain of definitions": {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/d0"}},
        "additionalProperties": False,
        "$defs": {f"d{at}": {"$ref": f"#/$defs/d{at + 1}"} for at in range(MANY)},
    },
    "a chain of variants": {
        "anyOf": [{"$ref": "#/$defs/d0"}],
        "$defs": {f"d{at}": {"anyOf": [{"$ref": f"#/$defs/d{at + 1}"}]} for at in range(MANY)},
    },
    "the same type many times": {
        "type": "object",
        "properties": {"a": {"type": ["string"] * MANY, "pattern": "p" * MANY, "x-own": "y" * MANY}},
        "additionalProperties": False,
    },
    "as many types as there are words": {
        "type": "object",
        "properties": {"a": {"type": [f"t{at}" for at in range(MANY)], "x-own": "y" * MANY}},
        "additionalProperties": False,
    },
    "many fields, and many others required": {
        "anyOf": [{"type": "object", "properties": {f"p{at}": {} for at in range(MANY)}}],
        "required": [f"q{at}" for at in range(MANY)],
    },
}
"""By what they are."""
