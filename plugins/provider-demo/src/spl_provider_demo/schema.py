"""An instance of a JSON schema, always the same one for the same schema."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

import msgspec

# Beyond these only what is required is made, and null or nothing where that is allowed …
_ROOMY_DEPTH = 4
_ROOMY_NODES = 1_000
# … and beyond these nothing: the schema may have no finite instance.
_MOST_DEPTH = 64
_MOST_NODES = 4_000
_MOST_WORK = 100_000
"""Steps of looking at the schema, and characters of what is made: references can name the same over and over."""
_MOST_INSIDE = 16
"""Schemas that hold together, inside each other."""
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

_encode = msgspec.json.Encoder().encode


def instance(schema: Schema) -> Any:
    """A value that fits the schema, within what can be told without solving it (patterns are not looked at)."""
    return _Maker(schema).make(schema, "value", 0)


class _Maker:
    """Walks one schema, with a bound on the size of what comes of it."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._nodes = 0
        self._work = 0
        #: What is found twice is not looked for twice: references, and the sizes of values.
        self._targets: dict[str, Any] = {}
        self._sizes: dict[int, int] = {}

    def make(self, schema: Any, name: str, depth: int) -> Any:
        """A value for one place; `name` is what strings are made of."""
        self._nodes += 1
        schema = self._resolved(schema, 0, tight=self._tight(depth))
        for key in ("const", "default"):
            if key in schema:
                return self._given(schema[key])
        for key in ("enum", "examples"):
            if options := _list(schema.get(key)):
                return self._given(options[0])
        kind = _kind(schema, tight=self._tight(depth))
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, name, depth)
        if kind in ("integer", "number"):
            return _number(schema, whole=kind == "integer")
        if kind == "boolean":
            return True
        return None if kind == "null" else self._given(_text(schema, name))

    def _given(self, value: Any) -> Any:
        """A value that stands in the schema; null where there is no room left."""
        if isinstance(value, list | dict):
            if id(value) not in self._sizes:
                self._sizes[id(value)] = len(_encode(value))
            self._work += self._sizes[id(value)]
        elif isinstance(value, str):
            self._work += len(value)
        return value if self._work <= _MOST_WORK else None

    def _tight(self, depth: int) -> bool:
        return depth >= _ROOMY_DEPTH or self._nodes >= _ROOMY_NODES

    def _full(self, depth: int) -> bool:
        return depth >= _MOST_DEPTH or self._nodes >= _MOST_NODES or self._work >= _MOST_WORK

    def _resolved(self, schema: Any, inside: int, *, tight: bool) -> Schema:
        """The schema with its references followed and one alternative chosen; `inside` so many that hold together."""
        for _ in range(_MOST_DEPTH):
            if not isinstance(schema, dict) or self._work >= _MOST_WORK:
                return {}
            self._work += len(schema)
            if isinstance(schema.get("$ref"), str):
                schema = self._target(schema["$ref"])
            elif options := _list(schema.get("anyOf")) or _list(schema.get("oneOf")):
                self._work += len(options)
                rest = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
                schema = {**rest, **_preferred(options, tight=tight)}
            elif parts := _list(schema.get("allOf")):
                schema = self._merged({k: v for k, v in schema.items() if k != "allOf"}, parts, inside, tight=tight)
            else:
                return schema
        return {}

    def _merged(self, base: dict[str, Any], parts: list[Any], inside: int, *, tight: bool) -> dict[str, Any]:
        for part in parts if inside < _MOST_INSIDE else ():
            resolved = self._resolved(part, inside + 1, tight=tight)
            self._work += 1 + sum(len(_dict(one.get("properties"))) for one in (base, resolved))
            self._work += sum(len(_list(one.get("required"))) for one in (base, resolved))
            if self._work >= _MOST_WORK:
                break
            properties = {**_dict(base.get("properties")), **_dict(resolved.get("properties"))}
            required = [*_list(base.get("required")), *_list(resolved.get("required"))]
            base = {**base, **resolved, "properties": properties, "required": required}
        return base

    def _target(self, reference: str) -> Any:
        if reference in self._targets:
            return self._targets[reference]
        node: Any = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            if step:
                node = node.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(node, dict) else None
        self._targets[reference] = node
        return node

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        required = {name for name in _list(schema.get("required")) if isinstance(name, str)}
        self._work += len(required)
        result: dict[str, Any] = {}
        for name, child in _dict(schema.get("properties")).items():
            if self._full(depth):
                break
            if name in required or not self._tight(depth):
                result[name] = self.make(child, name, depth + 1)
        return result

    def _array(self, schema: Schema, name: str, depth: int) -> list[Any]:
        least = schema.get("minItems", 0)
        count = max(int(least), 0 if self._tight(depth) else 1) if isinstance(least, int) else 1
        prefix = _list(schema.get("prefixItems"))
        result = []
        for index in range(min(max(count, len(prefix)), 100)):
            if self._full(depth):
                break
            child = prefix[index] if index < len(prefix) else schema.get("items", {})
            result.append(self.make(child, name, depth + 1))
        return result


def _dict(value: Any) -> dict[str, Any]:
    """What stands where a schema should have an object; schemas come from clients, unchecked."""
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    """What stands where a schema should have an array."""
    return value if isinstance(value, list) else []


def _preferred(options: list[Any], *, tight: bool) -> dict[str, Any]:
    """The first alternative that is not null; null where there is no room left."""
    choices = [option for option in options if isinstance(option, dict)]
    wanted = [option for option in choices if (option.get("type") == "null") == tight]
    return next(iter(wanted or choices), {})


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
        stepped = -(-value // step) * step
        value = stepped if isfinite(stepped) else value
    return int(value) if whole else value


def _text(schema: Schema, name: str) -> str:
    text = _FORMATS.get(str(schema.get("format")), name)
    least, most = schema.get("minLength"), schema.get("maxLength")
    if isinstance(least, int):
        text = text.ljust(min(least, 10_000), "x")
    return text[:most] if isinstance(most, int) and most >= 0 else text
