"""What the Gemini API refuses in a generateContent request: by the types of Google's own SDK, and by its known rules.

What stands in the SDK's types is checked by them; the rules beyond are from Google's documentation and from errors that
its users report. None of it was held against the live API here.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from google.genai import types
from pydantic import BaseModel, ConfigDict, ValidationError

from gateway_core.testing.gemini_schemas import check_json_schema, check_openapi_schema

Body = dict[str, Any]

DUMMY_SIGNATURES = frozenset({"skip_thought_signature_validator", "context_engineering_is_the_way_to_go"})
_FUNCTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")
_MIME_TYPES = re.compile(
    r"image/(png|jpeg|webp|heic|heif|gif)|audio/(wav|mp3|aac|flac|ogg|aiff)|application/pdf|text/plain"
)
_DATA = ("text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult")
_RANGES = {
    "temperature": (0, 2),
    "topP": (0, 1),
    "topK": (1, 10_000),
    "candidateCount": (1, 8),
    "maxOutputTokens": (1, 2**31 - 1),
    "presencePenalty": (-2, 2),
    "frequencyPenalty": (-2, 2),
    "seed": (-(2**31), 2**31 - 1),
    "logprobs": (0, 20),
}
_ENUMS: Mapping[str, frozenset[str]] = {
    "mode": frozenset({"AUTO", "ANY", "NONE", "VALIDATED"}),
    "thinkingLevel": frozenset({"MINIMAL", "LOW", "MEDIUM", "HIGH"}),
}


class _Request(BaseModel):
    """The body's fields, each of the type that the SDK sends there."""

    model_config = ConfigDict(extra="forbid", val_json_bytes="base64")

    contents: list[types.Content]
    systemInstruction: types.Content | None = None  # noqa: N815  # the wire's name
    tools: list[types.Tool] | None = None
    toolConfig: types.ToolConfig | None = None  # noqa: N815  # the wire's name
    safetySettings: list[types.SafetySetting] | None = None  # noqa: N815  # the wire's name
    generationConfig: types.GenerationConfig | None = None  # noqa: N815  # the wire's name
    cachedContent: str | None = None  # noqa: N815  # the wire's name


class Refused(Exception):
    """A 400 in Google's form."""

    def __init__(self, message: str, field: str | None = None, status: str = "INVALID_ARGUMENT") -> None:
        super().__init__(message)
        self.error: dict[str, Any] = {"code": 400, "message": message, "status": status}
        if field is not None:
            violation = {"field": field, "description": message}
            self.error["details"] = [
                {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}
            ]


class Model:
    """What its name says of a model."""

    def __init__(self, name: str) -> None:
        self.name = name
        found = re.match(r"gemini-(\d+(?:\.\d+)?)-", name)
        self.version = float(found[1]) if found else 99.0
        self.pro = "-pro" in name
        self.lite = "flash-lite" in name
        #: It goes on with no turn of its own, and takes results only in a turn of their own.
        self.strict_turns = name.startswith("gemini-") and self.version >= (3.5 if self.lite else 3.6)

    def levels(self) -> frozenset[str]:
        """The levels of thinking that it knows."""
        if self.version < 3:
            return frozenset()
        if self.pro:
            return frozenset({"LOW", "HIGH"} if self.version == 3 else {"LOW", "MEDIUM", "HIGH"})
        known = {"LOW", "MEDIUM", "HIGH"}
        return frozenset(known | {"MINIMAL"} if self.lite or self.version < 3.7 else known)

    def budget_fits(self, budget: int) -> bool:
        """Whether it may think so many tokens."""
        if budget == -1:
            return True
        if self.version >= 3:
            return 0 <= budget <= 32_768
        if self.pro:
            return 128 <= budget <= 32_768
        return budget == 0 or (512 if self.lite else 1) <= budget <= 24_576


def check(raw: bytes, model_name: str, issued: frozenset[str] | set[str] = frozenset()) -> Body:
    """The request's body, if the real API would take it. `issued`: the signatures that it gave. Raises Refused."""
    try:
        body = json.loads(raw, object_pairs_hook=_no_duplicates)
    except ValueError as error:
        raise Refused(f"Invalid JSON payload received. {error}") from None
    if not isinstance(body, dict):
        raise Refused("Invalid JSON payload received. Root element must be a message.")
    _check_types(raw)
    _check_enums(body, "")
    model = Model(model_name)
    declared = _check_tools(body, model)
    _check_config(body, model, declared=bool(declared))
    _check_contents(body["contents"])
    _check_system(body.get("systemInstruction"))
    _check_calls(body["contents"], model)
    if model.strict_turns:
        _check_turns(body["contents"])
    if model.version >= 3:
        _check_signatures(body["contents"], issued)
    return body


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("Duplicate key.")
    return dict(pairs)


def _check_types(raw: bytes) -> None:
    try:
        _Request.model_validate_json(raw, strict=True, by_alias=True, by_name=False)
    except AttributeError:  # an enum of the SDK's was given what is no text
        raise Refused("Invalid JSON payload received. A value is of a wrong type.") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        *place, name = first["loc"] or ("",)
        field = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).lstrip(".")
        if first["type"] == "extra_forbidden":
            text = f"Invalid JSON payload received. Unknown name \"{name}\" at '{field}': Cannot find field."
            raise Refused(text, field) from None
        raise Refused(f"Invalid value at '{field}.{name}': {first['msg']}", field) from None


def _check_enums(value: Any, place: str) -> None:
    """The SDK's enums take words that they do not know: the API does not."""
    if isinstance(value, list):
        for index, child in enumerate(value):
            _check_enums(child, f"{place}[{index}]")
    elif isinstance(value, dict):
        for name, child in value.items():
            if name in ("args", "response", "parametersJsonSchema", "responseJsonSchema"):
                continue
            known = _ENUMS.get(name)
            if known is not None and isinstance(child, str) and child not in known:
                raise Refused(f"Invalid value at '{place}.{name}': \"{child}\"", f"{place}.{name}")
            _check_enums(child, f"{place}.{name}".lstrip("."))


# ---------------------------------------------------------------- tools and settings


def _check_tools(body: Body, model: Model) -> set[str]:
    declarations = [one for tool in body.get("tools") or () for one in tool.get("functionDeclarations") or ()]
    if body.get("tools") is not None and not declarations:
        raise Refused("tools[0].function_declarations: must not be empty.", "tools[0]")
    names: set[str] = set()
    for index, declared in enumerate(declarations):
        place = f"tools[0].function_declarations[{index}]"
        name = declared.get("name", "")
        if not _FUNCTION_NAME.fullmatch(name):
            raise Refused(f"{place}.name: Invalid function name.", f"{place}.name")
        if name in names:
            raise Refused(f"Duplicate function declaration found: {name}", place)
        names.add(name)
        if "parameters" in declared and "parametersJsonSchema" in declared:
            raise Refused(f"{place}: only one of parameters and parameters_json_schema can be set.", place)
        if "parameters" in declared:
            check_openapi_schema(declared["parameters"], f"{place}.parameters", Refused)
            if declared["parameters"].get("type") != "OBJECT" or not declared["parameters"].get("properties"):
                raise Refused(f"{place}.parameters.properties: should be non-empty for OBJECT type", place)
        if "parametersJsonSchema" in declared:
            if model.version < 2.5:
                raise Refused(f"{place}: parameters_json_schema is not supported for this model.", place)
            check_json_schema(declared["parametersJsonSchema"], f"{place}.parameters_json_schema", Refused)
            if declared["parametersJsonSchema"].get("type") != "object":
                raise Refused(f"{place}.parameters_json_schema: type must be object.", place)
    _check_tool_config(body, names)
    return names


def _check_tool_config(body: Body, names: set[str]) -> None:
    config = (body.get("toolConfig") or {}).get("functionCallingConfig")
    if config is None:
        return
    if not names:
        raise Refused("Function calling config is set without function_declarations.", "tool_config")
    allowed = config.get("allowedFunctionNames")
    if allowed is not None:
        if config.get("mode") not in ("ANY", "VALIDATED"):
            raise Refused("allowed_function_names can only be set when mode is ANY or VALIDATED.", "tool_config")
        if not allowed or not names.issuperset(allowed):
            raise Refused("allowed_function_names should be a subset of the declared functions.", "tool_config")


def _check_config(body: Body, model: Model, *, declared: bool) -> None:
    config = body.get("generationConfig") or {}
    for name, (least, most) in _RANGES.items():
        if name in config and not least <= config[name] <= most:
            raise Refused(f"{name} must be in the range [{least}, {most}].", f"generation_config.{name}")
    stops = config.get("stopSequences")
    if stops is not None and (not 1 <= len(stops) <= 5 or not all(stops)):
        raise Refused("stop_sequences: 1 to 5 sequences, none of them empty.", "generation_config.stop_sequences")
    if "logprobs" in config and not config.get("responseLogprobs"):
        raise Refused("logprobs is only valid if response_logprobs is true.", "generation_config.logprobs")
    _check_format(config, model, declared=declared)
    _check_thinking(config.get("thinkingConfig"), model)


def _check_format(config: Body, model: Model, *, declared: bool) -> None:
    schemas = [name for name in ("responseSchema", "responseJsonSchema") if name in config]
    mime = config.get("responseMimeType", "text/plain")
    if len(schemas) > 1:
        raise Refused("Only one of response_schema and response_json_schema can be set.", "generation_config")
    if schemas and mime != "application/json":
        raise Refused("A response schema needs response_mime_type application/json.", "generation_config")
    if mime not in ("text/plain", "application/json", "text/x.enum"):
        raise Refused("response_mime_type: allowed mimetypes are text/plain, application/json.", "generation_config")
    if mime == "application/json" and declared and model.version < 3:
        raise Refused("Function calling with a response mime type: 'application/json' is unsupported")
    if "responseSchema" in config:
        check_openapi_schema(config["responseSchema"], "generation_config.response_schema", Refused)
    if "responseJsonSchema" in config:
        if model.version < 2.5:
            raise Refused("response_json_schema is not supported for this model.", "generation_config")
        check_json_schema(config["responseJsonSchema"], "generation_config.response_json_schema", Refused)


def _check_thinking(thinking: Body | None, model: Model) -> None:
    if thinking is None:
        return
    if model.version < 2.5:
        raise Refused("Thinking is not enabled for this model.", "generation_config.thinking_config")
    budget, level = thinking.get("thinkingBudget"), thinking.get("thinkingLevel")
    if budget is not None and level is not None:
        raise Refused("You can only set one of thinking budget and thinking level.", "generation_config")
    if budget is not None and not model.budget_fits(budget):
        raise Refused(f"The thinking budget {budget} is invalid for this model.", "generation_config")
    if level is not None and level not in model.levels():
        raise Refused("Thinking level is not supported for this model.", "generation_config")
    if budget == 0 and thinking.get("includeThoughts"):
        raise Refused("include_thoughts needs thinking to be enabled.", "generation_config")


# ---------------------------------------------------------------- contents


def _check_contents(contents: list[Body]) -> None:
    if not contents:
        raise Refused("GenerateContentRequest.contents: contents is not specified", "contents")
    for index, content in enumerate(contents):
        place = f"contents[{index}]"
        if content.get("role") not in ("user", "model"):
            raise Refused("Please use a valid role: user, model.", f"{place}.role")
        if not content.get("parts"):
            raise Refused(f"GenerateContentRequest.{place}.parts: contents.parts must not be empty.", place)
        for at, part in enumerate(content["parts"]):
            _check_part(part, content["role"], f"{place}.parts[{at}]")
    if contents[0]["role"] != "user":
        raise Refused("Please ensure that multiturn requests start with a user turn.", "contents[0]")
    for index, (one, other) in enumerate(pairwise(contents)):
        if one["role"] == other["role"] and not _results(one):
            raise Refused(
                "Please ensure that multiturn requests alternate between user and model.", f"contents[{index}]"
            )


def _check_part(part: Body, role: str, place: str) -> None:
    data = [name for name in _DATA if name in part]
    if len(data) != 1:
        raise Refused(f"{place}: required oneof field 'data' must have one initialized field", place)
    if part.get("text") == "" and "thoughtSignature" not in part:
        raise Refused(f"{place}: Unable to submit request because it has an empty text parameter.", place)
    if (role == "user" and data[0] == "functionCall") or (role == "model" and data[0] == "functionResponse"):
        raise Refused(f"{place}: {data[0]} cannot stand in a turn of role {role}.", place)
    if role == "model" and data[0] in ("inlineData", "fileData"):
        raise Refused(f"{place}: media cannot stand in a turn of the model's.", place)
    if "inlineData" in part:
        _check_blob(part["inlineData"], place)
    for blob in (part.get("functionResponse") or {}).get("parts") or ():
        _check_blob(blob.get("inlineData") or {}, f"{place}.function_response")
    if "fileData" in part and not part["fileData"].get("fileUri"):
        raise Refused(f"{place}.file_data.file_uri: must not be empty.", place)


def _check_blob(blob: Body, place: str) -> None:
    if not _MIME_TYPES.fullmatch(blob.get("mimeType", "")):
        raise Refused(f"Unsupported MIME type: {blob.get('mimeType')}", place)
    try:
        base64.b64decode(blob.get("data", ""), validate=True)
    except binascii.Error:
        raise Refused(f"Invalid value at '{place}.inline_data.data' (TYPE_BYTES)", place) from None
    if not blob.get("data"):
        raise Refused(f"{place}.inline_data.data: must not be empty.", place)


def _check_system(system: Body | None) -> None:
    if system is None:
        return
    parts = system.get("parts") or []
    if not parts or any(set(part) != {"text"} or not part["text"] for part in parts):
        raise Refused("system_instruction: only text parts that say something.", "system_instruction")


def _calls(content: Body) -> list[Body]:
    return [part["functionCall"] for part in content["parts"] if "functionCall" in part]


def _results(content: Body) -> list[Body]:
    return [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]


def _check_calls(contents: list[Body], model: Model) -> None:
    """Each turn with calls is followed by one with as many results, of the same names, before anything else."""
    waiting: list[Body] = []
    for index, content in enumerate(contents):
        results = _results(content)
        if len(results) != len(waiting):
            raise Refused(
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn.",
                f"contents[{index}]",
            )
        if any("functionResponse" not in part for part in content["parts"][: len(results)]):
            raise Refused("Function responses must stand before other parts.", f"contents[{index}]")
        for call, result in zip(waiting, results, strict=True):
            _check_result(call, result, model, f"contents[{index}]")
        waiting = _calls(content)
        if any(not _FUNCTION_NAME.fullmatch(call.get("name", "")) for call in waiting):
            raise Refused("function_call.name: Invalid function name.", f"contents[{index}]")
    if waiting:
        raise Refused("Please ensure that function call turn comes before a function response turn.", "contents")


def _check_turns(contents: list[Body]) -> None:
    if contents[-1]["role"] == "model":
        raise Refused("Requests ending with a model turn are not supported.", "contents")
    for index, content in enumerate(contents):
        if 0 < len(_results(content)) < len(content["parts"]):
            raise Refused("A turn of function responses must hold nothing else.", f"contents[{index}]")


def _check_result(call: Body, result: Body, model: Model, place: str) -> None:
    if result.get("name") != call.get("name"):
        raise Refused(f"function_response.name: {result.get('name')!r} is not the name of the call.", place)
    if not isinstance(result.get("response"), dict):
        raise Refused("function_response.response: must be a struct.", place)
    if result.get("id") != call.get("id"):
        raise Refused("function_response.id: it must be the id of the call.", place)
    if model.version >= 3.5 and not result.get("id"):
        raise Refused("function_response.id: it is required for this model.", place)
    if model.version < 3 and result.get("parts"):
        raise Refused("function_response.parts: multimodal function responses are not supported for this model.", place)


def _check_signatures(contents: list[Body], issued: frozenset[str] | set[str]) -> None:
    """The first call of each step of the current turn must be signed, and no signature may be foreign."""
    for position, call, part in _current_first_calls(contents):
        if "thoughtSignature" not in part:
            raise Refused(
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                "work correctly, and missing thought_signature may lead to degraded model performance. Additional "
                f"data, function call `{call.get('name')}` , position {position}."
            )
    known = {*issued, *DUMMY_SIGNATURES}
    for content in contents:
        for part in content["parts"]:
            if "thoughtSignature" in part and part["thoughtSignature"] not in known:
                raise Refused("Corrupted thought signature.")


def _current_first_calls(contents: list[Body]) -> Iterator[tuple[int, Body, Body]]:
    for position in range(len(contents) - 1, -1, -1):
        content = contents[position]
        if content["role"] == "user":
            if any("functionResponse" not in part for part in content["parts"]):
                return
            continue
        first = next((part for part in content["parts"] if "functionCall" in part), None)
        if first is not None:
            yield position, first["functionCall"], first
