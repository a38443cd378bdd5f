"""The two kinds of schemas that the Gemini API takes, and what each refuses."""

from typing import Any

_OPENAPI = frozenset(
    {
        "type", "format", "title", "description", "nullable", "enum", "maxItems", "minItems", "properties", "required",
        "minProperties", "maxProperties", "minLength", "maxLength", "pattern", "example", "anyOf", "propertyOrdering",
        "default", "items", "minimum", "maximum",
    }
)  # fmt: skip
_TYPES = frozenset({"STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT"})
_FORMATS = {
    "STRING": {"enum", "date-time"},
    "NUMBER": {"float", "double"},
    "INTEGER": {"int32", "int64"},
}
_JSON = frozenset(
    {
        "$id", "$defs", "$ref", "$anchor", "type", "format", "title", "description", "enum", "items", "prefixItems",
        "minItems", "maxItems", "minimum", "maximum", "anyOf", "oneOf", "properties", "additionalProperties",
        "required", "propertyOrdering", "minLength", "maxLength", "pattern", "default", "nullable", "minProperties",
        "maxProperties",
    }
)  # fmt: skip


def check_openapi_schema(schema: Any, place: str, refused: Any) -> None:
    """One schema of Google's dialect and all in it. Raises `refused`."""
    if not isinstance(schema, dict):
        raise refused(f"{place}: a schema must be an object.", place)
    for name in schema:
        if name not in _OPENAPI:
            text = f"Invalid JSON payload received. Unknown name \"{name}\" at '{place}': Cannot find field."
            raise refused(text, place)
    if "anyOf" in schema:
        if extra := set(schema) - {"anyOf", "nullable"}:
            raise refused(f"{place}: when using any_of, it must be the only field set, not {sorted(extra)}.", place)
        for index, child in enumerate(schema["anyOf"]):
            check_openapi_schema(child, f"{place}.any_of[{index}]", refused)
        return
    _check_plain(schema, place, refused)
    for name, child in schema.get("properties", {}).items():
        check_openapi_schema(child, f"{place}.properties[{name}]", refused)
    if "items" in schema:
        check_openapi_schema(schema["items"], f"{place}.items", refused)


def _check_plain(schema: dict[str, Any], place: str, refused: Any) -> None:
    """A schema of one type, without what is in it."""
    kind = schema.get("type")
    if kind not in _TYPES:
        raise refused(f"{place}.type: {kind!r} is none.", place)
    if "format" in schema and schema["format"] not in _FORMATS.get(kind, set()):
        raise refused(f"{place}.format: only {sorted(_FORMATS.get(kind, set()))} are supported for {kind} type", place)
    if "enum" in schema and (
        kind != "STRING" or not schema["enum"] or not all(isinstance(one, str) and one for one in schema["enum"])
    ):
        raise refused(f"{place}.enum: only non-empty strings, and only for STRING type", place)
    if set(schema.get("required", ())) - set(schema.get("properties", ())):
        raise refused(f"{place}.required: property is not defined", place)
    if kind == "ARRAY" and "items" not in schema:
        raise refused(f"{place}.items: missing field.", place)


def check_json_schema(schema: Any, place: str, refused: Any, defs: frozenset[str] | None = None) -> None:
    """One JSON Schema and all in it: only the keywords that Google documents. Raises `refused`."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise refused(f"{place}: a schema must be an object.", place)
    if defs is None:
        defs = frozenset(schema.get("$defs", {}))
    for name in schema:
        if name not in _JSON:
            raise refused(f"{place}: the keyword {name!r} is not supported.", place)
    if "$ref" in schema:
        _check_reference(schema, place, refused, defs)
    for group in ("properties", "$defs"):
        for name, child in schema.get(group, {}).items():
            check_json_schema(child, f"{place}.{group}[{name}]", refused, defs)
    for group in ("anyOf", "oneOf", "prefixItems"):
        for index, child in enumerate(schema.get(group, ())):
            check_json_schema(child, f"{place}.{group}[{index}]", refused, defs)
    if "items" in schema:
        check_json_schema(schema["items"], f"{place}.items", refused, defs)


def _check_reference(schema: dict[str, Any], place: str, refused: Any, defs: frozenset[str]) -> None:
    if any(not name.startswith("$") for name in schema):
        raise refused(f"{place}: if $ref is set, no other properties may be set.", place)
    ref = schema["$ref"]
    if ref != "#" and (not ref.startswith("#/$defs/") or ref.removeprefix("#/$defs/") not in defs):
        raise refused(f"{place}: reference {ref} to an undefined schema.", place)
