"""JSON schemas: as a tool's input, and as the form of an answer, each as the API takes it."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

Schema = dict[str, Any]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_decode_top = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_OBJECT = msgspec.Raw(b'"object"')
_COMBINED = ("allOf", "anyOf", "oneOf")
_LARGEST_KEPT = 32_768

EMPTY: Schema = {"type": "object", "properties": {}}


MOST_MERGED = 20_000
"""Variants, and names of fields in them, that are put together at the tops of a request's schemas: more would be a
bomb."""
_MOST_INSIDE = 32
"""Combinations inside each other at the top."""


class NotAnObject(ValueError):
    """A tool's parameters are no object, or cannot be made one: says why."""


class Merged:
    """What the schemas of one request may still put together."""

    def __init__(self) -> None:
        self._left = MOST_MERGED

    def count(self, more: int) -> None:
        """Raises NotAnObject where it is too much."""
        self._left -= more
        if self._left < 0:
            raise NotAnObject("too many schemas are put together at its top")

    @property
    def spent(self) -> int:
        """What was put together so far."""
        return MOST_MERGED - self._left


def input_schema(parameters: Mapping[str, Any] | None, merged: Merged) -> msgspec.Raw:
    """A tool's `input_schema`. Raises NotAnObject where its parameters cannot be one."""
    raw = _encode(parameters or EMPTY)
    # A client sends the same tools again and again.
    made, spent = _input_schema(raw) if len(raw) <= _LARGEST_KEPT else _input_schema.__wrapped__(raw)
    if spent:
        merged.count(spent)
    return msgspec.Raw(made)


# What a walk might have to change below the top; a schema without is as it must be.
_ODD = re.compile(
    rb'"(?:items":\[|exclusiveM(?:in|ax)imum":[tf]|(?:required|enum|anyOf|oneOf|allOf)":[^\[]|properties":[^{]|'
    rb'(?:type|description|title|\$ref)":[^"\[{])'
)
_NOT_AT_TOP = frozenset({*_COMBINED, "$ref"})


@lru_cache(maxsize=512)  # a pure function
def _input_schema(raw: bytes) -> tuple[bytes, int]:
    top = _decode_top(raw)
    if top.get("type") == _OBJECT and "properties" in top and _NOT_AT_TOP.isdisjoint(top) and not _ODD.search(raw):
        return raw, 0  # what nearly every client sends
    modern = _modern(_decode(raw))
    flattening = _Flattening(modern)
    schema = _with_one_type(flattening.flat(modern, ()))
    if schema["type"] != "object":
        raise NotAnObject("a tool's parameters must be of the type `object`")
    schema.setdefault("properties", {})
    return _encode(schema), flattening.merged.spent


def _with_one_type(schema: Schema) -> Schema:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = "object" if "object" in kind else (kind[0] if kind else None)
    return {**schema, "type": kind or "object"}


class _Flattening:
    """One schema without combinations at its top, which the API refuses there: what they say is put together.

    References are followed, so that a few of them may name the same schemas over and over: what is put together is
    counted, and a schema that is within itself says nothing there.
    """

    def __init__(self, schema: Schema) -> None:
        self._defs: Mapping[str, Any] = schema.get("$defs") or schema.get("definitions") or {}
        self.merged = Merged()

    def flat(self, schema: Schema, inside: tuple[str, ...]) -> Schema:
        """`inside`: the references that it is in. Raises NotAnObject where it is a bomb."""
        schema = dict(schema)
        while (target := _target(schema.get("$ref"), self._defs)) is not None:
            ref = schema.pop("$ref")
            if ref in inside:
                break  # a circle ends here
            inside = self._entered(inside, ref)
            schema = {**target, **schema}
        schema.pop("$ref", None)
        for name in _COMBINED:
            variants = schema.pop(name, None)
            if variants:
                self._merge(schema, name, [self._resolved(variant, inside) for variant in variants])
        return schema

    def _merge(self, schema: Schema, name: str, variants: list[Schema]) -> None:
        """Puts variants of an object into one: all properties, and as required what every way to fit requires."""
        objects = [variant for variant in variants if variant.get("type", "object") == "object"]
        properties = dict(schema.get("properties") or {})
        for variant in objects:
            properties.update(variant.get("properties") or {})
        required = [set(variant.get("required") or ()) for variant in objects]
        wanted = set(schema.get("required") or ())
        if required:
            wanted |= set.union(*required) if name == "allOf" else set.intersection(*required)
        schema["type"] = "object"
        schema["properties"] = properties
        if needed := [one for one in properties if one in wanted]:
            schema["required"] = needed
        if name != "allOf" and len(objects) > 1:
            told = "one of these fits: " if name == "oneOf" else "at least one of these fits: "
            _tell(schema, told + json.dumps([variant.get("required") or [] for variant in objects], ensure_ascii=False))
            schema.pop("additionalProperties", None)

    def _resolved(self, variant: Any, inside: tuple[str, ...]) -> Schema:
        self.merged.count(1)
        if not isinstance(variant, dict):
            return {}
        target = _target(variant.get("$ref"), self._defs)
        if target is not None:
            ref = variant["$ref"]
            if ref in inside:
                return {}  # within itself
            inside = self._entered(inside, ref)
            variant = {**target, **{name: value for name, value in variant.items() if name != "$ref"}}
        found: Schema = self.flat(variant, inside) if any(name in variant for name in _COMBINED) else variant
        self.merged.count(len(found) + len(found.get("properties") or ()) + len(found.get("required") or ()))
        return found

    def _entered(self, inside: tuple[str, ...], ref: str) -> tuple[str, ...]:
        self.merged.count(1)
        if len(inside) == _MOST_INSIDE:
            raise NotAnObject("its schemas are too many inside each other")
        return (*inside, ref)


def _target(ref: Any, defs: Mapping[str, Any]) -> Schema | None:
    """What a local reference means; None where it is none, or leads nowhere."""
    if not isinstance(ref, str) or not ref.startswith(("#/$defs/", "#/definitions/")):
        return None
    found = defs.get(ref.rpartition("/")[2].replace("~1", "/").replace("~0", "~"))
    return found if isinstance(found, dict) else None


_OF_SCHEMAS = frozenset({"properties", "$defs", "definitions", "patternProperties"})
_LISTED = frozenset({*_COMBINED, "prefixItems"})
_NESTED = frozenset({"items", "additionalProperties", "not", "contains", "propertyNames"})
_TEXTS = frozenset({"$ref", "description", "title", "format", "pattern"})


def _modern(node: Any) -> Any:
    """The schema as draft 2020-12 has it; a keyword with a value that it cannot have is left out."""
    if not isinstance(node, dict):
        return node if isinstance(node, bool) else {}
    result: Schema = {}
    for key, value in node.items():
        if key in _OF_SCHEMAS:
            if isinstance(value, dict):
                result[key] = {name: _modern(child) for name, child in value.items()}
        elif key in _LISTED:
            if isinstance(value, list):
                result[key] = [_modern(child) for child in value]
        elif key in _NESTED:
            if isinstance(value, list) and key == "items":
                result["prefixItems"] = [_modern(child) for child in value]
            else:
                result[key] = _modern(value)
        elif _sound(key, value):
            result[key] = value
    for exclusive, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(result.get(exclusive), bool) and result.pop(exclusive) and limit in result:
            result[exclusive] = result.pop(limit)
    return result


def _sound(key: str, value: Any) -> bool:
    """Whether a keyword that holds no schemas can have this value, as far as anything here depends on it."""
    if key == "required":
        return isinstance(value, list) and all(isinstance(name, str) for name in value)
    if key == "type":
        return isinstance(value, str) or (isinstance(value, list) and all(isinstance(kind, str) for kind in value))
    if key == "enum":
        return isinstance(value, list)
    return key not in _TEXTS or isinstance(value, str)


def _tell(schema: Schema, words: str) -> None:
    """Adds to the description what the schema itself may not say."""
    described = schema.get("description")
    schema["description"] = f"{described}\n\n{words}" if isinstance(described, str) and described else words


# ---------------------------------------------------------------- the form of an answer

_FORMATS = frozenset({
    "date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid",
})  # fmt: skip
_KEPT = frozenset({"type", "description", "title", "enum", "const", "$ref"})
_OF_DEFINITIONS = re.compile(r"#/(?:\$defs|definitions)/[^/]+")
_MOST_OPTIONAL = 24
_MOST_UNIONS = 16
_MOST_STRICT = 20


class Form(msgspec.Struct, frozen=True):
    """A schema as `output_config.format` takes it."""

    schema: Schema
    #: Nothing had to be put into words.
    exact: bool = True
    #: It cannot be kept to there: objects of any fields, or a schema within itself.
    beyond: bool = False
    #: Fields that need not be there.
    optional: int = 0
    #: Schemas of several types.
    unions: int = 0


class Grammar:
    """What a request may still have the model held to: the API counts over all strict tools and the answer's form."""

    __slots__ = ("_optional", "_tools", "_unions")

    def __init__(self) -> None:
        self._tools = _MOST_STRICT
        self._optional = _MOST_OPTIONAL
        self._unions = _MOST_UNIONS

    def take(self, form: Form, *, tool: bool = False) -> bool:
        """Whether there is room for the form; where there is, it is taken."""
        if form.beyond or form.optional > self._optional or form.unions > self._unions or tool > self._tools:
            return False
        self._tools -= tool
        self._optional -= form.optional
        self._unions -= form.unions
        return True


def form(schema: Mapping[str, Any]) -> Form:
    """The schema with every object closed, and what the API refuses told in descriptions."""
    raw = _encode(schema)
    return _form(raw) if len(raw) <= _LARGEST_KEPT else _form.__wrapped__(raw)


@lru_cache(maxsize=256)  # a pure function
def _form(raw: bytes) -> Form:
    closing = _Closing()
    schema = _modern(_decode(raw))
    closed = closing.closed(schema)
    return Form(
        closed,
        exact=closing.exact,
        beyond=closing.beyond or _circular(schema),
        optional=closing.optional,
        unions=closing.unions,
    )


class _Closing:
    """One walk over a schema."""

    def __init__(self) -> None:
        self.exact = True
        self.beyond = False
        self.optional = 0
        self.unions = 0

    def closed(self, node: Any) -> Schema:
        if not isinstance(node, dict):
            self.beyond = True  # true and false are schemas, too, and {} fits anything
            return {"type": "string"}
        result: Schema = {}
        for key in ("$defs", "definitions"):
            for name, value in (node.get(key) or {}).items():
                self.beyond |= name in result.setdefault("$defs", {})  # two of one name
                result["$defs"][name] = self.closed(value)
        if isinstance(node.get("$ref"), str):
            self.beyond |= _OF_DEFINITIONS.fullmatch(node["$ref"]) is None
            result["$ref"] = node["$ref"].replace("#/definitions/", "#/$defs/")
            return result
        kind = node.get("type")
        if isinstance(kind, list):
            return {**result, **self._several(node, kind)}
        return {**result, **self._one(node, kind)}

    def _several(self, node: Schema, kinds: list[Any]) -> Schema:
        """A list of types as one schema for each, with what belongs to it."""
        shared = {"description", "title", "$defs", "definitions"}
        rest = {key: value for key, value in node.items() if key not in shared and key != "type"}
        if "enum" in node or "const" in node:
            return self._one({key: value for key, value in node.items() if key != "type"}, None)
        kinds = [kind for kind in _KINDS if kind in kinds]
        if any(name in node for name in _COMBINED):
            # Not each type with all of them: that would be a bomb where they have types and combinations again.
            self.exact = False
            node = {key: value for key, value in node.items() if key != "type"}
            told = self._one(node, None)
            _tell(told, f"{{type: {json.dumps(kinds)}}}")
            return told
        variants: list[Schema] = []
        for kind in kinds:
            own = rest if kind not in ("null", "boolean") else {}
            own = {key: value for key, value in own.items() if _belongs(key, kind)}
            variants.append(self._one({"type": kind, **own}, kind))
        self.unions += len(variants) > 1
        result: Schema = {"anyOf": variants} if len(variants) > 1 else dict(variants[0]) if variants else {}
        for key in ("description", "title"):
            if isinstance(node.get(key), str):
                result[key] = node[key]
        return result

    def _one(self, node: Schema, kind: Any) -> Schema:
        result = {key: value for key, value in node.items() if key in _KEPT and value is not None}
        words = {key: value for key, value in node.items() if key not in _KEPT and key not in ("$defs", "definitions")}
        self.beyond |= any(isinstance(one, dict | list) for one in (node.get("const"), *(node.get("enum") or ())))
        for key in ("$schema", "$id", "$comment", "strict", "nullable"):
            words.pop(key, None)
        for key in ("anyOf", "oneOf"):
            if isinstance(words.get(key), list):
                result["anyOf"] = [self.closed(one) for one in words.pop(key)]
                self.unions += 1
        if isinstance(words.get("allOf"), list):
            self._all_of(result, words.pop("allOf"))
        if "$ref" in result:
            return {"$ref": result["$ref"]}  # nothing may stand beside it
        if kind == "object" or (kind is None and "properties" in words):
            self._object(result, words)
        elif kind == "array":
            self._array(result, words)
        elif kind == "string" and words.get("format") in _FORMATS:
            result["format"] = words.pop("format")
        elif kind is None and not any(key in result for key in ("anyOf", "type", "enum", "const")):
            self.beyond = True
        if words:
            self.exact = False
            said = ", ".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in words.items())
            _tell(result, f"{{{said}}}")
        return result

    def _all_of(self, result: Schema, variants: list[Any]) -> None:
        """One is what it is, as pydantic wrote references once; several, each closed, would leave nothing that fits."""
        self.beyond |= len(variants) != 1 or not result.keys() <= {"description", "title"}
        for variant in variants[:1]:
            result.update({**self.closed(variant), **result})

    def _object(self, result: Schema, words: Schema) -> None:
        properties, more = words.pop("properties", None), words.pop("additionalProperties", None)
        result["type"] = "object"
        if more or "patternProperties" in words or (not properties and more is None):
            self.beyond = True
        result["properties"] = {name: self.closed(value) for name, value in (properties or {}).items()}
        required = words.pop("required", None)
        if isinstance(required, list):
            result["required"] = list(dict.fromkeys(required))
            self.beyond |= not result["properties"].keys() >= set(required)  # what nobody may give
        self.optional += len(result["properties"].keys() - set(required or ()))
        result["additionalProperties"] = False

    def _array(self, result: Schema, words: Schema) -> None:
        items = words.pop("items", None)
        if isinstance(items, dict):
            result["items"] = self.closed(items)
        else:
            self.beyond = True
        if words.get("minItems") in (0, 1):
            result["minItems"] = words.pop("minItems")


_OF_KIND = {
    "string": {"minLength", "maxLength", "pattern", "format"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "array": {"items", "minItems", "maxItems", "uniqueItems", "prefixItems"},
    "object": {"properties", "required", "additionalProperties", "patternProperties"},
}
_KINDS = ("string", "number", "integer", "boolean", "object", "array", "null")
_TYPED = frozenset[str]().union(*_OF_KIND.values())


def _belongs(key: str, kind: Any) -> bool:
    return key not in _TYPED or key in _OF_KIND.get(kind, ())


def _circular(schema: Schema) -> bool:
    """Whether a definition leads back to itself, or a reference to the whole."""
    defs = {**(schema.get("definitions") or {}), **(schema.get("$defs") or {})}
    if "#" in _references(schema):
        return True
    leads = {name: {ref.rpartition("/")[2] for ref in _references(value)} for name, value in defs.items()}
    done: set[str] = set()
    for start in leads:
        # Each definition is gone into once: `path` has those that are gone into now, with what is left of each.
        path = {start: iter(leads[start])} if start not in done else {}
        while path:
            name, left = next(reversed(path.items()))
            ref = next(left, None)
            if ref is None:
                del path[name]
                done.add(name)
            elif ref in path:
                return True
            elif ref in leads and ref not in done:
                path[ref] = iter(leads[ref])
    return False


def _references(node: Any) -> set[str]:
    found, todo = set[str](), [node]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            if isinstance(one.get("$ref"), str):
                found.add(one["$ref"])
            todo += one.values()
        elif isinstance(one, list):
            todo += one
    return found
