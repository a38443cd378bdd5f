"""What Anthropic's API refuses in a JSON schema: of a tool's input, and of the stricter kind that it can hold to."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway_core.testing.anthropic_types import Refused

_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_CLOSED = frozenset({
    "type", "properties", "required", "additionalProperties", "items", "minItems", "enum", "const", "anyOf", "allOf",
    "$ref", "$defs", "description", "title", "format", "default",
})  # fmt: skip
_FORMATS = frozenset({
    "date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid",
})  # fmt: skip


def check_input_schema(schema: Any, place: str) -> None:
    """Raises Refused for what is no object's schema of draft 2020-12."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise Refused(f"{place}.type: Input should be 'object'")
    for name in ("oneOf", "allOf", "anyOf"):
        if name in schema:
            raise Refused(f"{place}: input_schema does not support oneOf, allOf, or anyOf at the top level")
    for node in _nodes(schema):
        kind = node.get("type")
        kinds = kind if isinstance(kind, list) else [kind] if kind is not None else []
        lists = [node[name] for name in ("required", "enum", "anyOf", "oneOf", "allOf") if name in node]
        objects = [node[name] for name in ("properties", "$defs") if name in node]
        numbers = [node[name] for name in ("exclusiveMinimum", "exclusiveMaximum") if name in node]
        if (
            not all(isinstance(one, str) and one in _TYPES for one in kinds)
            or not all(isinstance(one, list) for one in lists)
            or not all(isinstance(one, dict) for one in objects)
            or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers)
            or isinstance(node.get("items"), list)
        ):
            raise Refused(f"{place}: JSON schema is invalid. It must match JSON Schema draft 2020-12")


def check_closed(schema: Any, place: str) -> None:
    """Raises Refused for what the API cannot hold an answer to."""
    for node in _nodes(schema):
        for name in node.keys() - _CLOSED:
            raise Refused(f"{place}: For '{node.get('type')}' type, property '{name}' is not supported")
        kind = node.get("type")
        if kind == "object" and node.get("additionalProperties") is not False:
            raise Refused(f"{place}: For 'object' type, 'additionalProperties' must be explicitly set to false")
        if node.get("minItems", 0) not in (0, 1):
            raise Refused(f"{place}: For 'array' type, 'minItems' values other than 0 or 1 are not supported")
        if "format" in node and node["format"] not in _FORMATS:
            raise Refused(f"{place}: format '{node['format']}' is not supported")
        if kind is None and not node.keys() & {"anyOf", "allOf", "$ref", "enum", "const"}:
            raise Refused(f"{place}: Schema type is missing")
    if "$defs" in schema and _leads_to_itself(schema):
        raise Refused(f"{place}: Recursive schemas are not supported")


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema in a schema."""
    if not isinstance(schema, dict):
        return
    yield schema
    for name in ("properties", "$defs", "definitions", "patternProperties"):
        if isinstance(schema.get(name), dict):
            for child in schema[name].values():
                yield from _nodes(child)
    for name in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if isinstance(schema.get(name), list):
            for child in schema[name]:
                yield from _nodes(child)
    for name in ("items", "additionalProperties", "not"):
        yield from _nodes(schema.get(name))


def _leads_to_itself(schema: Mapping[str, Any]) -> bool:
    leads = {
        name: {node["$ref"].rpartition("/")[2] for node in _nodes(value) if "$ref" in node}
        for name, value in schema["$defs"].items()
    }
    for start in leads:
        reached, todo = set[str](), set(leads[start])
        while todo:
            one = todo.pop()
            if one == start:
                return True
            if one not in reached:
                reached.add(one)
                todo |= leads.get(one, set())
    return False
