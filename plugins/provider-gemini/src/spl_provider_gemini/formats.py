"""The form that the answer must have: text, JSON, or JSON of a schema."""

import json
from collections.abc import Mapping
from typing import Any

from gateway_core.errors import InvalidRequest
from spl_provider_gemini.given import Given, Json
from spl_provider_gemini.json_schemas import json_schema
from spl_provider_gemini.openapi_schemas import openapi_schema
from spl_provider_gemini.schemas import Weight

_PARAM = "response_format.json_schema.schema"


def add_format(config: Json, body: Mapping[str, Any], given: Given, *, tools: bool) -> str | None:
    """Adds the form to generationConfig; or gives what the model must be told instead, where it cannot be both held to
    JSON and given functions."""
    wanted = body.get("response_format")
    kind = wanted["type"] if wanted is not None else "text"
    if wanted is None or kind == "text":
        return None
    if kind not in ("json_object", "json_schema"):
        raise InvalidRequest(f"response_format of type {kind!r} is not known.", param="response_format.type")
    schema = (wanted["json_schema"].get("schema") or None) if kind == "json_schema" else None
    if tools and not given.rules.json_with_tools and body.get("tool_choice") != "none":
        return _told(schema)
    config["responseMimeType"] = "application/json"
    if schema is not None:
        if given.rules.schemas == "json":
            config["responseJsonSchema"] = json_schema(schema, _PARAM)
        else:
            converted = openapi_schema(schema, _PARAM, Weight(len(json.dumps(schema))))
            if converted.get("type") != "OBJECT" or "properties" in converted:  # else: any object, as JSON is
                config["responseSchema"] = converted
    return None


def _told(schema: Json | None) -> str:
    text = "Where you answer and do not call a function, the answer is one JSON object and nothing else: no code fence"
    if schema is None:
        return text + "."
    return f"{text}. It is valid under this JSON Schema: {json.dumps(schema, ensure_ascii=False)}"
