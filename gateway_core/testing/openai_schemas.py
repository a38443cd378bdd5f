"""The rules of a strict JSON schema, as OpenAI's API states them."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway_core.testing.openai_types import Refused

_UNKNOWN = frozenset({"allOf", "not", "dependentRequired", "dependentSchemas", "if", "then", "else", "oneOf"})


def check_strict(schema: Any, what: str, param: str, code: str | None) -> None:
    """Raises Refused for a schema that strict mode does not take; `what` is whose it is, `param` where it stands."""
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        got = schema.get("type") if isinstance(schema, Mapping) else None
        text = f"Invalid schema for {what}: schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{got}\"'."
        raise Refused(text, param, code)
    for context, found in _schemas(schema, ()):
        if complaint := _complaint(found):
            words = ", ".join(f"'{step}'" for step in context)
            raise Refused(f"Invalid schema for {what}: In context=({words}), {complaint}", param, code)


def _schemas(
    schema: Mapping[str, Any], context: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Every schema in a schema, with the way to it."""
    yield context, schema
    for group in ("properties", "$defs", "definitions"):
        for name, child in schema.get(group, {}).items():
            yield from _schemas(child, (*context, group, name))
    if isinstance(items := schema.get("items"), Mapping):
        yield from _schemas(items, (*context, "items"))
    for index, child in enumerate(schema.get("anyOf", ())):
        yield from _schemas(child, (*context, "anyOf", str(index)))


def _complaint(schema: Mapping[str, Any]) -> str | None:
    """What strict mode has against one schema."""
    if unknown := sorted(_UNKNOWN & schema.keys()):
        return f"'{unknown[0]}' is not permitted."
    if schema.get("type") == "array" and "items" not in schema:
        return "array schema missing items."
    if schema.get("type") != "object":
        return None
    if schema.get("additionalProperties") is not False:
        return "'additionalProperties' is required to be supplied and to be false."
    names = list(schema.get("properties", {}))
    missing = [name for name in names if name not in schema.get("required", ())]
    if missing or len(schema.get("required", ())) != len(names):
        return (
            "'required' is required to be supplied and to be an array including every key in properties. "
            f"{'Missing' if missing else 'Extra'} '{(missing or schema['required'])[0]}'."
        )
    return None
