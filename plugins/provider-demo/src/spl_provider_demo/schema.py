"""An instance of a JSON schema, always the same one for the same schema."""

from collections.abc import Mapping
from typing import Any

_MAX_NODES = 2_000
_MAX_DEPTH = 12
_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "demo@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}

Schema = Mapping[str, Any]


def instance(schema: Schema) -> Any:
    """A value that fits the schema, within what can be told without solving it (patterns are not looked at)."""
    return _Maker(schema).make(schema, "value", 0)


class _Maker:
    """Walks one schema, with a bound on the size of what comes of it."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._nodes = 0

    def make(self, schema: Any, name: str, depth: int) -> Any:
        """A value for one place; `name` is what strings are made of."""
        self._nodes += 1
        schema = self._resolved(schema)
        for key in ("const", "default"):
            if key in schema:
                return schema[key]
        for key in ("enum", "examples"):
            if isinstance(schema.get(key), list) and schema[key]:
                return schema[key][0]
        kind = _kind(schema, tight=self._tight(depth))
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, name, depth)
        if kind in ("integer", "number"):
            return _number(schema, whole=kind == "integer")
        if kind == "boolean":
            return True
        return None if kind == "null" else _text(schema, name)

    def _tight(self, depth: int) -> bool:
        return depth >= _MAX_DEPTH or self._nodes >= _MAX_NODES

    def _resolved(self, schema: Any) -> Schema:
        """The schema with its references followed and one alternative chosen."""
        for _ in range(_MAX_DEPTH):
            if not isinstance(schema, dict):
                return {}
            if isinstance(schema.get("$ref"), str):
                schema = self._target(schema["$ref"])
            elif options := schema.get("anyOf") or schema.get("oneOf"):
                rest = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
                schema = {**rest, **_preferred(options)}
            elif parts := schema.get("allOf"):
                schema = self._merged({k: v for k, v in schema.items() if k != "allOf"}, parts)
            else:
                return schema
        return {}

    def _merged(self, base: dict[str, Any], parts: Any) -> dict[str, Any]:
        for part in parts if isinstance(parts, list) else ():
            resolved = self._resolved(part)
            properties = {**base.get("properties", {}), **resolved.get("properties", {})}
            required = [*base.get("required", []), *resolved.get("required", [])]
            base = {**base, **resolved, "properties": properties, "required": required}
        return base

    def _target(self, reference: str) -> Any:
        node: Any = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            if step:
                node = node.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(node, dict) else None
        return node

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        required = schema.get("required") or []
        result: dict[str, Any] = {}
        for name, child in properties.items() if isinstance(properties, dict) else ():
            if depth >= 2 * _MAX_DEPTH or self._nodes >= 2 * _MAX_NODES:
                break  # a schema without a finite instance
            if name in required or not self._tight(depth + 6):
                result[name] = self.make(child, name, depth + 1)
        return result

    def _array(self, schema: Schema, name: str, depth: int) -> list[Any]:
        least = schema.get("minItems", 0)
        count = max(int(least), 0 if self._tight(depth + 6) else 1) if isinstance(least, int) else 1
        prefix = schema.get("prefixItems") or []
        result = []
        for index in range(min(max(count, len(prefix)), 100)):
            if self._nodes >= 2 * _MAX_NODES or depth >= 2 * _MAX_DEPTH:
                break
            child = prefix[index] if index < len(prefix) else schema.get("items", {})
            result.append(self.make(child, name, depth + 1))
        return result


def _preferred(options: Any) -> dict[str, Any]:
    """The first alternative that is not null."""
    choices = [option for option in options if isinstance(option, dict)] if isinstance(options, list) else []
    return next((option for option in choices if option.get("type") != "null"), choices[0] if choices else {})


def _kind(schema: Schema, *, tight: bool) -> str:
    """The type to make; null where it is allowed and there is no room left."""
    kind = schema.get("type")
    if isinstance(kind, list):
        if tight and "null" in kind:
            return "null"
        kind = next((option for option in kind if option != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema else "string"


def _number(schema: Schema, *, whole: bool) -> float:
    """The smallest number from 1 up that the bounds and the step allow."""

    def bound(name: str) -> float | None:
        value = schema.get(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    value: float = 1
    if (least := bound("minimum")) is not None:
        value = max(value, least)
    if (above := bound("exclusiveMinimum")) is not None and value <= above:
        value = above + 1
    if (most := bound("maximum")) is not None:
        value = min(value, most)
    if (below := bound("exclusiveMaximum")) is not None and value >= below:
        value = below - 1
    if step := bound("multipleOf"):
        value = -(-value // step) * step
    return int(value) if whole else value


def _text(schema: Schema, name: str) -> str:
    text = _FORMATS.get(str(schema.get("format")), name)
    least, most = schema.get("minLength"), schema.get("maxLength")
    if isinstance(least, int):
        text = text.ljust(min(least, 10_000), "x")
    return text[:most] if isinstance(most, int) and most >= 0 else text
