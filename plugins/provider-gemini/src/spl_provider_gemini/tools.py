"""Functions that the model may call, and whether it must."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gateway_core.errors import InvalidRequest
from spl_provider_gemini.given import Given, Json
from spl_provider_gemini.json_schemas import json_schema
from spl_provider_gemini.names import Names
from spl_provider_gemini.openapi_schemas import openapi_schema
from spl_provider_gemini.schemas import Weight, describe, note, says_nothing

_encode = msgspec.json.Encoder().encode


def add_tools(out: Json, body: Mapping[str, Any], given: Given, names: Names) -> bool:
    """Adds `tools` and `toolConfig` where the request has any; whether it has. Raises InvalidRequest."""
    for legacy in ("functions", "function_call"):
        if body.get(legacy):
            raise InvalidRequest(f"{legacy} is not supported with this model: use tools.", param=legacy)
    if body.get("web_search_options") is not None:
        raise InvalidRequest("web_search_options is not supported with this model.", param="web_search_options")
    tools = body.get("tools")
    if not tools:
        return False
    # Counted for all of them together.
    weight = Weight(len(_encode(tools)) if given.rules.schemas == "openapi" else 0)
    declared = [_declaration(tool, index, given, names, weight) for index, tool in enumerate(tools)]
    config, allowed = _choice(body.get("tool_choice"), {one["name"] for one in declared}, names)
    if allowed is not None:
        declared = [one for one in declared if one["name"] in allowed]
    out["tools"] = [{"functionDeclarations": declared}]
    if config is not None:
        out["toolConfig"] = {"functionCallingConfig": config}
    return True


def _declaration(tool: Mapping[str, Any], index: int, given: Given, names: Names, weight: Weight) -> Json:
    function = tool.get("function")
    if function is None:
        raise InvalidRequest(
            f"tools[{index}] is of type {tool['type']!r}: this model knows functions only.",
            param=f"tools[{index}].type",
        )
    name = function["name"]
    declared: Json = {"name": names.sent(name)}
    if description := function.get("description"):
        declared["description"] = description
    parameters = function.get("parameters")
    if not says_nothing(parameters):
        param = f"tools[{index}].function.parameters"
        if given.rules.schemas == "json":
            # Arguments are an object, whatever else the schema says of them.
            declared["parametersJsonSchema"] = {**json_schema(parameters, param), "type": "object"}
        else:
            schema = openapi_schema(parameters, param, weight)
            if schema.get("properties"):
                declared["parameters"] = schema
            else:  # e.g. a choice of several objects: the API wants one with properties
                describe(declared, [note("parameters", parameters)])
    return declared


def _choice(choice: Any, declared: set[str], names: Names) -> tuple[Json | None, set[str] | None]:
    """The mode, and the functions that are left where only some may be called."""
    if choice is None or choice == "auto":
        return None, None
    if choice == "none":
        return {"mode": "NONE"}, None
    if choice == "required":
        return {"mode": "ANY"}, None
    if choice["type"] == "function":
        return {"mode": "ANY", "allowedFunctionNames": _known([choice["function"]["name"]], declared, names)}, None
    if choice["type"] == "allowed_tools":
        allowed = choice["allowed_tools"]
        functions = [tool.get("function") for tool in allowed["tools"]]
        wanted = [function.get("name") for function in functions if isinstance(function, dict)]
        known = _known(wanted, declared, names)
        if allowed["mode"] == "required":
            return {"mode": "ANY", "allowedFunctionNames": known}, None
        return None, set(known)
    raise InvalidRequest(
        f"tool_choice of type {choice['type']!r} is not supported with this model.", param="tool_choice"
    )


def _known(wanted: Sequence[Any], declared: set[str], names: Names) -> list[str]:
    sent = [names.sent(name) for name in wanted if isinstance(name, str)]
    if not sent or not declared.issuperset(sent):
        raise InvalidRequest("tool_choice names a function that is not in tools.", param="tool_choice")
    return sent
