"""JSON Schemas in the API's own dialect of OpenAPI, as `parameters` and `responseSchema` take them.

References are inlined, each schema has one type, only strings are enumerated.
"""

from typing import Any

import msgspec

from gateway_core.errors import InvalidRequest
from spl_provider_gemini.given import Json
from spl_provider_gemini.schemas import (
    ANNOTATIONS,
    MAX_NODES,
    SILENT,
    Weight,
    describe,
    merged,
    note,
    target,
    too_large,
)

_DEEPEST = 2
"""How often a schema may stand inside itself before it is cut short."""

_A_SCHEMA = 8
"""The least that a schema weighs."""

_MOST_INSIDE = 100
"""References inside each other."""

_encode = msgspec.json.Encoder().encode

_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object"})
_FORMATS = {
    "string": frozenset({"date-time", "enum"}),
    "number": frozenset({"float", "double"}),
    "integer": frozenset({"int32", "int64"}),
}
_WORDS = frozenset({"title", "description", "default"})
_ROOT_ONLY = frozenset({"$defs", "definitions"})


def openapi_schema(schema: Json, param: str, weight: Weight) -> Json:
    """The schema in the API's own dialect. Raises InvalidRequest where a reference leads nowhere, or too far."""
    try:
        return _Conversion(schema, param, weight).schema(schema, ())
    except RecursionError:
        raise too_large(param) from None


class _Conversion:
    """One conversion: the root that references are of, and the number of its nodes."""

    def __init__(self, root: Json, param: str, weight: Weight) -> None:
        self._root = root
        self._param = param
        self._weight = weight
        self._nodes = 0
        #: Keyword and value, as it is in the root → the note of it: an inlined one is not written each time.
        self._notes: dict[tuple[str, int], str] = {}
        #: The same for the lengths of lists and objects.
        self._lengths: dict[int, int] = {}

    def schema(self, schema: Any, inside: tuple[str, ...]) -> Json:
        """One schema and all in it; `inside`: the references that it is in."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise too_large(self._param)
        if not isinstance(schema, dict):
            return {"type": "STRING"}  # true: anything
        self._weigh(_A_SCHEMA + len(schema))
        if "$ref" in schema:
            schema, inside = self._followed(schema, inside)
        if isinstance(parts := schema.get("allOf"), list):
            together: Json = {name: value for name, value in schema.items() if name != "allOf"}
            for part in parts:
                found, inside = self._followed(part, inside)
                self._weigh(_size(found) + _size(together))
                together = merged(found, together)
            return self.schema(together, inside)
        for name in ("anyOf", "oneOf"):
            if isinstance(choices := schema.get(name), list) and choices:
                return self._choice(schema, name, choices, inside)
        if isinstance(schema.get("type"), list):
            return self._several_types(schema, inside)
        return self._plain(schema, inside)

    def _followed(self, schema: Any, inside: tuple[str, ...]) -> tuple[Json, tuple[str, ...]]:
        """A schema without a reference in its place, and what it is in then: cut short where that is itself."""
        while isinstance(schema, dict) and isinstance(ref := schema.get("$ref"), str):
            found = target(self._root, ref)
            if not isinstance(found, dict):
                raise InvalidRequest(f"{self._param}: the reference {ref[:100]!r} leads nowhere.", param=self._param)
            own = {name: value for name, value in schema.items() if name != "$ref"}
            if len(inside) >= _MOST_INSIDE:
                raise too_large(self._param)
            if inside.count(ref) >= _DEEPEST:
                words: Json = {name: value for name, value in {**found, **own}.items() if name in _WORDS}
                kind = found.get("type")
                self._weigh(sum(map(self._length, words.values())))
                return {**words, "type": kind if isinstance(kind, str) else "object"}, inside
            inside = (*inside, ref)
            self._weigh(len(found) + len(own))
            schema = {**found, **own}
        return (schema if isinstance(schema, dict) else {}), inside

    def _choice(self, schema: Json, name: str, choices: list[Any], inside: tuple[str, ...]) -> Json:
        """anyOf stands alone here: what stood beside it goes into each alternative."""
        words: Json = {key: value for key, value in schema.items() if key in _WORDS}
        beside: Json = {key: value for key, value in schema.items() if key != name and key not in _WORDS | _ROOT_ONLY}
        real = [one for one in choices if not _is_null(one)]
        self._weigh(len(real) * _size(beside) + sum(map(self._length, words.values())))
        nullable: Json = {"nullable": True} if len(real) < len(choices) else {}
        if not real:
            return {"type": "STRING", "nullable": True, **words}
        if len(real) == 1:
            only, inside = self._followed(real[0], inside)
            return {**self.schema({**merged(only, beside), **words}, inside), **nullable}
        converted: list[Json] = []
        for one in real:
            found, within = self._followed(one, inside) if beside else (one, inside)
            converted.append(self.schema(merged(found, beside) if beside else one, within))
        if isinstance(text := words.get("description"), str):
            first = converted[0]
            while "anyOf" in first:
                first = first["anyOf"][0]
            describe(first, [text])
        return {"anyOf": converted, **nullable}

    def _several_types(self, schema: Json, inside: tuple[str, ...]) -> Json:
        given = list(dict.fromkeys(kind for kind in schema["type"] if isinstance(kind, str)))
        types = [kind for kind in given if kind in _TYPES]
        nullable: Json = {"nullable": True} if "null" in given else {}
        if not types:
            return {**self._plain({**schema, "type": "string"}, inside), **nullable}
        if len(types) == 1:
            return {**self._plain({**schema, "type": types[0]}, inside), **nullable}
        return {"anyOf": [self._plain({**schema, "type": kind}, inside) for kind in types], **nullable}

    def _plain(self, schema: Json, inside: tuple[str, ...]) -> Json:
        """A schema of one type."""
        kind = schema.get("type")
        if kind == "null":
            return {"type": "STRING", "nullable": True}
        values = [schema["const"]] if "const" in schema else schema.get("enum")
        if not isinstance(kind, str) or kind not in _TYPES:
            kind = _type_of(schema, values)
        out: Json = {"type": kind.upper()}
        notes: list[str] = []
        for name, value in schema.items():
            if name in ANNOTATIONS and (name != "format" or _known_format(kind, value)):
                out[name] = value
                self._weigh(self._length(value))
            elif name not in SILENT:
                notes.append(self._note(name, value))
        if isinstance(values, list):
            self._weigh(sum(len(value) if isinstance(value, str) else 1 for value in values))
            if rest := _enumerate(out, kind, values):
                notes.append(self._note("enum", rest, schema.get("const", values)))
        if kind == "object":
            self._object(out, schema, inside)
        elif kind == "array":
            self._array(out, schema, inside, notes)
        if notes:
            describe(out, notes)
        return out

    def _object(self, out: Json, schema: Json, inside: tuple[str, ...]) -> None:
        properties = schema.get("properties")
        if not isinstance(properties, dict) or not properties:
            return
        out["properties"] = {name: self.schema(child, inside) for name, child in properties.items()}
        required = schema.get("required")
        if not isinstance(required, list):
            return
        self._weigh(len(required))
        if there := [name for name in required if isinstance(name, str) and name in properties]:
            out["required"] = there

    def _array(self, out: Json, schema: Json, inside: tuple[str, ...], notes: list[str]) -> None:
        """An array needs items, be it of what its places may be."""
        items, places = schema.get("items"), schema.get("prefixItems")
        if isinstance(items, list):  # older drafts say it so
            places = items
        if isinstance(items, dict) and items:
            out["items"] = self.schema(items, inside)
        elif isinstance(places, list) and places:
            distinct: list[Json] = []
            for place in places:
                one = self.schema(place, inside)
                self._weigh(len(distinct))
                if one not in distinct:
                    distinct.append(one)
            out["items"] = distinct[0] if len(distinct) == 1 else {"anyOf": distinct}
        else:
            out["items"] = {"type": "STRING"}
        if places:
            notes.append(self._note("prefixItems", places))

    def _note(self, name: str, value: Any, of: Any = None) -> str:
        """`of`: what it is made of, where `value` is not itself in the root."""
        key = (name, id(value if of is None else of))
        if key not in self._notes:
            self._notes[key] = note(name, value)
        self._weigh(len(self._notes[key]))
        return self._notes[key]

    def _length(self, value: Any) -> int:
        """The characters of an annotation."""
        if not isinstance(value, list | dict):
            return len(value) if isinstance(value, str) else 1
        if id(value) not in self._lengths:
            self._lengths[id(value)] = len(_encode(value))
        return self._lengths[id(value)]

    def _weigh(self, more: int) -> None:
        self._weight.add(more, self._param)


def _size(schema: Json) -> int:
    """The steps of putting a schema together with another one."""
    inner = (schema.get("properties"), schema.get("required"))
    return len(schema) + sum(len(each) for each in inner if isinstance(each, list | dict))


def _known_format(kind: str, value: Any) -> bool:
    return isinstance(value, str) and value in _FORMATS.get(kind, ())


def _enumerate(out: Json, kind: str, values: list[Any]) -> list[Any]:
    """Only strings can be listed; gives other values, to be told of."""
    if None in values:
        out["nullable"] = True
        values = [value for value in values if value is not None]
    if kind == "string" and values and all(isinstance(value, str) and value for value in values):
        out["enum"] = values
        return []
    return values


def _is_null(schema: Any) -> bool:
    if not isinstance(schema, dict):
        return False
    return schema.get("type") == "null" or ("const" in schema and schema["const"] is None)


def _type_of(schema: Json, values: Any) -> str:
    """The type of a schema that names none."""
    if "properties" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    if isinstance(values, list) and values:
        kinds = {type(value) for value in values if value is not None}
        if kinds == {bool}:
            return "boolean"
        if kinds == {int}:
            return "integer"
        if kinds and kinds <= {int, float}:
            return "number"
        return "string"
    return "string" if schema.keys() & {"pattern", "minLength", "maxLength", "format"} else "object"
