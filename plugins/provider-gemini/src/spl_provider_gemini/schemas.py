"""What both ways of writing a schema for the Gemini API have in common.

What the API cannot be told in a keyword is told in a description, so that the model knows of it all the same.
"""

import json
from typing import Any

from gateway_core.errors import InvalidRequest
from spl_provider_gemini.given import Json

MAX_NODES = 5_000
"""Schemas inside one schema, references inlined: more would be a bomb."""

_LONGEST_NOTE = 300
_LEAST_WEIGHT = 100_000

ANNOTATIONS = frozenset(
    {
        "title", "description", "default", "format", "pattern", "minimum", "maximum", "minLength", "maxLength",
        "minItems", "maxItems", "minProperties", "maxProperties", "nullable",
    }
)  # fmt: skip
"""Keywords that go out as they are, each with its own value."""

SILENT = frozenset(
    {
        "$schema", "$id", "$anchor", "$comment", "$defs", "definitions", "$ref", "type", "properties", "required",
        "items", "prefixItems", "anyOf", "oneOf", "allOf", "enum", "const", "additionalProperties", "examples",
        "example", "discriminator", "deprecated", "readOnly", "writeOnly", "propertyOrdering", "strict",
    }
)  # fmt: skip
"""Keywords that need no note: they are said in another way, or say nothing about a value."""


_SAYING = frozenset({"$ref", "anyOf", "oneOf", "allOf", "patternProperties", "not", "if", "propertyNames"})


def says_nothing(schema: Any) -> bool:
    """Whether it is a function's parameters where there are none."""
    if not schema:
        return True
    if schema.get("properties") or schema.keys() & _SAYING:
        return False
    return schema.get("additionalProperties", True) in (True, False)


def target(root: Json, ref: str) -> Any:
    """What a reference into the same schema names; None where it names nothing there."""
    if ref == "#":
        return root
    if not ref.startswith("#/"):
        return None
    found: Any = root
    for step in ref[2:].split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or name not in found:
            return None
        found = found[name]
    return found


def merged(one: Json, other: Json) -> Json:
    """Both schemas' demands. Where both say a word, `other` is heard, but for properties and what is required."""
    out = {**one, **other}
    if isinstance(a := one.get("properties"), dict) and isinstance(b := other.get("properties"), dict):
        out["properties"] = {**a, **b}
    if isinstance(a := one.get("required"), list) and isinstance(b := other.get("required"), list):
        known = {name for name in a if isinstance(name, str)}
        out["required"] = [*a, *(name for name in b if not isinstance(name, str) or name not in known)]
    return out


def describe(out: Json, notes: list[str]) -> None:
    """Adds notes to a schema's description."""
    text = out.get("description")
    out["description"] = " ".join([text, *notes] if isinstance(text, str) and text else notes)


def note(name: str, value: Any) -> str:
    """A keyword that cannot be sent, in words."""
    return f"({name}: {json.dumps(value, ensure_ascii=False)[:_LONGEST_NOTE]})"


class Weight:
    """What the schemas of a request may become: a reference is written in place of what it names, and a few of them
    could name the same over and over. Counted in characters, and in steps where one takes as long."""

    def __init__(self, written: int) -> None:
        """`written`: the bytes that the client has them in."""
        self._left = _LEAST_WEIGHT + 2 * written

    def add(self, more: int, param: str) -> None:
        """Raises InvalidRequest where it is too much."""
        self._left -= more
        if self._left < 0:
            raise too_large(param)


def too_large(param: str) -> InvalidRequest:
    """The refusal of a schema that is a bomb."""
    return InvalidRequest(
        f"{param} has more than {MAX_NODES} schemas in it, or too many inside each other.", param=param
    )
