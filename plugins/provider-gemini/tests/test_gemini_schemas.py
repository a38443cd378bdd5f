"""JSON Schemas in both forms that the API takes; each result has passed the strict rules."""

import copy
import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spl_provider_gemini.json_schemas import json_schema
from spl_provider_gemini.openapi_schemas import openapi_schema
from spl_provider_gemini.schemas import Weight

from gateway_core.errors import InvalidRequest
from gateway_core.testing.gemini_rules import Refused
from gateway_core.testing.gemini_schemas import check_json_schema, check_openapi_schema

Json = dict[str, Any]
NODE = {
    "type": "object",
    "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}},
    "required": ["value"],
}


def openapi(schema: Json) -> Json:
    before = copy.deepcopy(schema)
    made = openapi_schema(schema, "p", Weight(0))
    assert schema == before
    check_openapi_schema(made, "p", Refused)
    return made


def own(schema: Json) -> Json:
    before = copy.deepcopy(schema)
    made = json_schema(schema, "p")
    assert schema == before
    check_json_schema(made, "p", Refused)
    return made


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, {"type": "STRING"}),
        ({}, {"type": "OBJECT"}),
        ({"const": "a"}, {"type": "STRING", "enum": ["a"]}),
        ({"const": 5}, {"type": "INTEGER", "description": "(enum: [5])"}),
        ({"enum": ["a", "b"]}, {"type": "STRING", "enum": ["a", "b"]}),
        ({"enum": ["a", None]}, {"type": "STRING", "enum": ["a"], "nullable": True}),
        ({"enum": [1, 2]}, {"type": "INTEGER", "description": "(enum: [1, 2])"}),
        ({"enum": [1, 2.5]}, {"type": "NUMBER", "description": "(enum: [1, 2.5])"}),
        ({"enum": [True]}, {"type": "BOOLEAN", "description": "(enum: [true])"}),
        ({"type": "string", "enum": ["", "a"]}, {"type": "STRING", "description": '(enum: ["", "a"])'}),
        ({"type": ["string", "null"]}, {"type": "STRING", "nullable": True}),
        ({"type": ["string", "integer"]}, {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]}),
        ({"type": ["null"]}, {"type": "STRING", "nullable": True}),
        ({"type": "null"}, {"type": "STRING", "nullable": True}),
        ({"type": "array"}, {"type": "ARRAY", "items": {"type": "STRING"}}),
        ({"type": "array", "items": {}}, {"type": "ARRAY", "items": {"type": "STRING"}}),
        ({"items": {"type": "number"}}, {"type": "ARRAY", "items": {"type": "NUMBER"}}),
        (
            {"prefixItems": [{"type": "number"}, {"type": "number"}]},
            {
                "type": "ARRAY",
                "items": {"type": "NUMBER"},
                "description": '(prefixItems: [{"type": "number"}, {"type": "number"}])',
            },
        ),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "STRING", "nullable": True}),
        (
            {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "d", "default": None},
            {"type": "STRING", "description": "d", "default": None, "nullable": True},
        ),
        ({"oneOf": [{"type": "string"}, {"type": "number"}]}, {"anyOf": [{"type": "STRING"}, {"type": "NUMBER"}]}),
        (
            {"description": "d", "oneOf": [{"type": "string"}, {"type": "number"}]},
            {"anyOf": [{"type": "STRING", "description": "d"}, {"type": "NUMBER"}]},
        ),
        ({"anyOf": [{"type": "null"}]}, {"type": "STRING", "nullable": True}),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "anyOf": [{"required": ["a"]}, {"title": "x"}]},
            {
                "anyOf": [
                    {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "required": ["a"]},
                    {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "title": "x"},
                ]
            },
        ),
        (
            {"allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}, {"properties": {"b": {}}}]},
            {
                "type": "OBJECT",
                "properties": {"b": {"type": "OBJECT"}, "a": {"type": "STRING"}},
                "required": ["a"],
            },
        ),
        (
            {"properties": {"a": {"type": "string"}}, "required": ["a", "b"], "additionalProperties": False},
            {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "required": ["a"]},
        ),
        ({"type": "integer", "exclusiveMinimum": 0}, {"type": "INTEGER", "description": "(exclusiveMinimum: 0)"}),
        ({"type": "string", "format": "date-time"}, {"type": "STRING", "format": "date-time"}),
        ({"type": "string", "format": "uri"}, {"type": "STRING", "description": '(format: "uri")'}),
        ({"type": "number", "multipleOf": 2}, {"type": "NUMBER", "description": "(multipleOf: 2)"}),
        ({"description": "d", "not": {}, "type": "string"}, {"type": "STRING", "description": "d (not: {})"}),
        ({"$schema": "x", "$id": "y", "type": "string", "examples": ["z"]}, {"type": "STRING"}),
        (
            {"type": "object", "properties": {"a": True, "b": {"minLength": 1}}},
            {"type": "OBJECT", "properties": {"a": {"type": "STRING"}, "b": {"type": "STRING", "minLength": 1}}},
        ),
        (
            {"$defs": {"A": {"type": "string"}}, "properties": {"a": {"$ref": "#/$defs/A", "title": "t"}}},
            {"type": "OBJECT", "properties": {"a": {"type": "STRING", "title": "t"}}},
        ),
        ({"definitions": {"a/b~c": {"type": "string"}}, "$ref": "#/definitions/a~1b~0c"}, {"type": "STRING"}),
        (
            {"$defs": {"A": {"type": "string"}}, "allOf": [{"$ref": "#/$defs/A"}], "description": "d"},
            {"type": "STRING", "description": "d"},
        ),
    ],
)  # fmt: skip
def test_T2_schemas_in_googles_own_dialect(schema: Json, expected: Json) -> None:
    assert openapi(schema) == expected


def test_T2_recursive_schemas_end() -> None:
    made = openapi({"$defs": {"Node": NODE}, "$ref": "#/$defs/Node"})
    depth, node = 0, made
    while "next" in node.get("properties", {}):
        depth, node = depth + 1, node["properties"]["next"]
    assert depth == 2
    assert node == {"type": "OBJECT", "nullable": True}
    assert openapi({"type": "object", "properties": {"me": {"$ref": "#"}}})["type"] == "OBJECT"
    assert openapi({"$defs": {"A": {"$ref": "#/$defs/A"}}, "$ref": "#/$defs/A"}) == {"type": "OBJECT"}
    assert openapi({"$defs": {"A": {"allOf": [{"$ref": "#/$defs/A"}]}}, "allOf": [{"$ref": "#/$defs/A"}]})


def bomb(levels: int) -> Json:
    defs = {
        f"L{n}": {"type": "object", "properties": {k: {"$ref": f"#/$defs/L{n + 1}"} for k in "abcd"}}
        for n in range(levels)
    }
    return {"$defs": {**defs, f"L{levels}": {"type": "string"}}, "$ref": "#/$defs/L0"}


def test_T2_a_schema_that_is_a_bomb_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="more than 5000 schemas") as refused:
        openapi(bomb(12))
    assert refused.value.param == "p"
    assert own(bomb(12))


@pytest.mark.parametrize("nested", [False, True])
def test_T2_a_chain_without_end_is_refused(nested: bool) -> None:
    defs: Json = {"L3000": {"type": "string"}}
    for level in range(3000):
        ref = {"$ref": f"#/$defs/L{level + 1}"}
        defs[f"L{level}"] = {"type": "object", "properties": {"a": ref}} if nested else ref
    with pytest.raises(InvalidRequest, match="too many inside each other"):
        openapi({"$defs": defs, "$ref": "#/$defs/L0"})


@pytest.mark.parametrize("ref", ["#/$defs/B", "https://example.com/x", "#/", "#/type/x"])
def test_T2_a_reference_that_leads_nowhere_is_refused(ref: str) -> None:
    with pytest.raises(InvalidRequest, match="leads nowhere"):
        openapi({"type": "object", "properties": {"a": {"$ref": ref}}})


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "$schema": "x"}, {"type": "string"}),
        ({"const": "a"}, {"enum": ["a"]}),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
        ({"oneOf": [{"const": 1}, {"type": "null"}]}, {"oneOf": [{"enum": [1]}, {"type": "null"}]}),
        ({"exclusiveMinimum": 0, "type": "number"}, {"type": "number", "description": "(exclusiveMinimum: 0)"}),
        (
            {"definitions": {"A": {}}, "items": {"$ref": "#/definitions/A"}},
            {"$defs": {"A": {}}, "items": {"$ref": "#/$defs/A"}},
        ),
        (
            {"$defs": {"A": {}}, "properties": {"a": {"$ref": "#/$defs/A", "description": "d"}}},
            {"$defs": {"A": {}}, "properties": {"a": {"description": "d", "anyOf": [{"$ref": "#/$defs/A"}]}}},
        ),
        ({"$defs": {"A": {}}, "allOf": [{"$ref": "#/$defs/A"}]}, {"$defs": {"A": {}}, "$ref": "#/$defs/A"}),
        (
            {"allOf": [{"properties": {"a": {}}}, {"properties": {"b": True}, "required": ["b"]}]},
            {"properties": {"b": True, "a": {}}, "required": ["b"]},
        ),
        ({"$defs": {"N": NODE}, "$ref": "#/$defs/N"}, {"$defs": {"N": NODE}, **NODE}),
        ({"additionalProperties": {"type": "string"}}, {"additionalProperties": {"type": "string"}}),
        ({"type": "array", "uniqueItems": True}, {"type": "array", "description": "(uniqueItems: true)"}),
    ],
)  # fmt: skip
def test_T2_json_schemas_lose_only_what_the_api_does_not_know(schema: Json, expected: Json) -> None:
    if "N" in schema.get("$defs", {}):  # its own reference is of another name
        schema = json.loads(json.dumps(schema).replace("Node", "N"))
        expected = json.loads(json.dumps(expected).replace("Node", "N"))
    assert own(schema) == expected


def test_T2_of_schemas_that_hold_together_a_reference_is_written_out() -> None:
    base = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    more = {"properties": {"b": {"type": "integer"}}, "required": ["b"]}
    schema = {"$defs": {"A": {"$ref": "#/$defs/B"}, "B": base}, "allOf": [{"$ref": "#/$defs/A"}, more]}
    written = own(schema)
    assert written.pop("$defs").keys() == {"A", "B"}
    assert written == {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
        "required": ["b", "a"],
    }


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ({"allOf": [{"$ref": "#/$defs/A"}, {"type": "object"}]}, "to what it is in"),
        ({"$ref": "#/$defs/A"}, "to what it is in"),
        (None, "leads nowhere"),
    ],
)
def test_T2_schemas_that_hold_together_with_themselves_are_refused(target: Json | None, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says) as refused:
        own({"$defs": {"A": target}, "allOf": [{"$ref": "#/$defs/A"}, {"type": "object"}]})
    assert refused.value.param == "p"


def test_T2_places_of_a_list_as_older_drafts_say_them() -> None:
    schema = {"type": "array", "items": [{"type": "string"}]}
    assert own(schema) == {"type": "array", "prefixItems": [{"type": "string"}]}
    assert openapi(schema)["items"] == {"type": "STRING"}
    assert openapi({"type": "array", "items": [{"type": "integer"}]})["items"] == {"type": "INTEGER"}


TYPES = st.sampled_from(["string", "number", "integer", "boolean", "array", "object", "null"])
LEAF = st.fixed_dictionaries(
    {},
    optional={
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
        "title": st.just("t"), "description": st.just("d"), "enum": st.lists(st.sampled_from(["a", 1, None])),
        "const": st.sampled_from(["a", 1, None]), "format": st.sampled_from(["date-time", "int32", "uri"]),
        "minimum": st.integers(), "exclusiveMinimum": st.integers(), "pattern": st.just("x"), "$schema": st.just("y"),
        "additionalProperties": st.booleans(), "uniqueItems": st.booleans(), "examples": st.just([1]),
        "required": st.lists(st.sampled_from("abz"), unique=True), "$ref": st.sampled_from(["#/$defs/A", "#/$defs/B"]),
    },
)  # fmt: skip


def _larger(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    several = st.lists(inner, min_size=1, max_size=3)
    return st.builds(
        lambda leaf, more: {**leaf, **more},
        LEAF,
        st.fixed_dictionaries(
            {},
            optional={
                "properties": st.dictionaries(st.sampled_from("abc"), inner | st.booleans(), max_size=3),
                "items": inner, "prefixItems": several, "anyOf": several, "oneOf": several,
            },
        ),
    )  # fmt: skip


SCHEMAS = st.recursive(LEAF, _larger, max_leaves=12)


@settings(max_examples=80, deadline=None)
@given(SCHEMAS, SCHEMAS, SCHEMAS)
def test_T2_any_schema_becomes_one_that_the_api_takes(schema: Json, first: Json, second: Json) -> None:
    whole = {**schema, "$defs": {"A": first, "B": second}}
    own(whole)
    try:
        openapi(whole)
    except InvalidRequest as refused:
        assert "more than 5000 schemas" in refused.message  # noqa: PT017  # most become one, a bomb does not


WORDS = [
    "type", "properties", "items", "prefixItems", "anyOf", "oneOf", "allOf", "$ref", "$defs", "definitions", "enum",
    "const", "required", "format", "description", "additionalProperties", "not", "title", "default",
]  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["object", "array", "#", "#/$defs/A", "#/items", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=15,
)


@settings(max_examples=120, deadline=None)
@given(st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=5))
def test_T2_what_is_no_schema_at_all_breaks_nothing(schema: Json) -> None:
    for convert in (json_schema, partial(openapi_schema, weight=Weight(0))):
        try:
            json.dumps(convert(schema, "p"))
        except InvalidRequest as refused:
            assert refused.param == "p"  # noqa: PT017  # either is right, anything else is not
