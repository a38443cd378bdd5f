"""JSON Schemas as `parametersJsonSchema` and `responseJsonSchema` take them: nearly as they are."""

from typing import Any

from gateway_core.errors import InvalidRequest
from spl_provider_gemini.given import Json
from spl_provider_gemini.schemas import ANNOTATIONS, MAX_NODES, SILENT, describe, merged, note, target, too_large

_AS_THEY_ARE = ANNOTATIONS | {"type", "enum", "required", "additionalProperties", "$id", "$anchor", "propertyOrdering"}
_LONGEST_CHAIN = 8
_COPIED = 16
"""Properties that are copied in the time of a schema."""
_MAPS = {"properties": "properties", "$defs": "$defs", "definitions": "$defs"}
_HOLDING = frozenset({*_MAPS, "items", "anyOf", "oneOf", "prefixItems"})


def json_schema(schema: Json, param: str) -> Json:
    """The schema with only the keywords that the API documents. References stay references."""
    root = schema
    for _ in range(_LONGEST_CHAIN):
        ref = root.get("$ref")
        if not isinstance(ref, str) or not isinstance(found := target(schema, ref), dict):
            break
        # The root of a function's parameters must be an object itself, and no reference to one.
        root = {**{name: value for name, value in root.items() if name != "$ref"}, **found}
    return _Conversion(schema, param).schema(root)


class _Conversion:
    """One conversion: the root that references are of, and the number of its nodes."""

    def __init__(self, root: Json, param: str) -> None:
        self._root = root
        self._param = param
        self._nodes = 0
        #: References that are being written out.
        self._inside: tuple[str, ...] = ()

    def schema(self, schema: Json) -> Json:
        """One schema and all in it."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise too_large(self._param)
        if schema.keys() <= _AS_THEY_ARE:
            return schema  # what most of them are
        out: Json = {}
        notes: list[str] = []
        for name, value in schema.items():
            if name in _AS_THEY_ARE:
                out[name] = value
            elif name in _HOLDING:
                self._inner(out, name, value)
            elif name not in SILENT:
                notes.append(note(name, value))
        if "const" in schema:
            out.setdefault("enum", [schema["const"]])
        if isinstance(parts := schema.get("allOf"), list):
            out = self._all_of(out, parts)
        if notes:
            describe(out, notes)
        if isinstance(ref := schema.get("$ref"), str):
            return _refer(out, ref.replace("#/definitions/", "#/$defs/"))
        return out

    def _inner(self, out: Json, name: str, value: Any) -> None:
        """A keyword that has schemas in it. What cannot be one is left out."""
        if name in _MAPS:
            if isinstance(value, dict):
                known = out.get(_MAPS[name]) or {}
                out[_MAPS[name]] = {**known, **{key: self._any(child) for key, child in value.items()}}
        elif isinstance(value, list):
            # Older drafts say "items" of a list's places.
            out["prefixItems" if name == "items" else name] = [self._any(child) for child in value]
        elif name == "items" and isinstance(value, dict | bool):
            out[name] = self._any(value)

    def _any(self, schema: Any) -> Any:
        """What stands where a schema does: true and false say that anything, or nothing, is right."""
        return self.schema(schema) if isinstance(schema, dict) else schema

    def _all_of(self, out: Json, parts: list[Any]) -> Json:
        """Several schemas that hold together are one."""
        schemas = [part for part in parts if isinstance(part, dict)]
        for schema in schemas:
            part = self.schema(schema) if len(schemas) == 1 else self._written_out(schema)
            self._nodes += (len(part.get("properties") or ()) + len(out.get("properties") or ())) // _COPIED
            if self._nodes > MAX_NODES:
                raise too_large(self._param)
            out = merged(part, out)
        ref = out.pop("$ref", None)
        return out if ref is None else _refer(out, ref)

    def _written_out(self, schema: Json) -> Json:
        """One of several schemas that hold together: what it refers to stands in the reference's place."""
        ref = schema.get("$ref")
        if not isinstance(ref, str):
            return self.schema(schema)
        found = target(self._root, ref)
        if not isinstance(found, dict):
            raise InvalidRequest(f"{self._param}: the reference {ref[:100]!r} leads nowhere.", param=self._param)
        if ref in self._inside or len(self._inside) >= _LONGEST_CHAIN:
            raise InvalidRequest(
                f"{self._param}: allOf with a $ref to what it is in is not supported with this model.",
                param=self._param,
            )
        outside, self._inside = self._inside, (*self._inside, ref)
        own = {name: value for name, value in schema.items() if name != "$ref"}
        out = self._written_out(merged(found, own))
        self._inside = outside
        return out


def _refer(beside: Json, ref: str) -> Json:
    """A reference may have nothing next to it but keywords with a dollar: what it has goes around it."""
    if all(name.startswith("$") for name in beside):
        return {**beside, "$ref": ref}
    return {**beside, "anyOf": [*beside.get("anyOf", ()), {"$ref": ref}]}
