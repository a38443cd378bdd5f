"""What OpenAI's API refuses in a chat completion request: by the types of its own SDK, and by its known rules.

Models named like OpenAI's stand for OpenAI itself. Any other name stands for a compatible server: that takes fields
nobody knows, knows both names of the output limit, and does not look into schemas.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from gateway_core.testing.openai_schemas import check_strict
from gateway_core.testing.openai_types import Refused, check_types

__all__ = ["Refused", "check"]

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_OPENAI = re.compile(r"(gpt-|o\d|chatgpt-)")
_REASONING = re.compile(r"(o\d|gpt-5)")
_NO_SAMPLING = re.compile(r"(o\d|gpt-5(-mini|-nano|-\d{4}|$))")
_RANGES = {
    "n": (1, 128),
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "top_logprobs": (0, 20),
    "max_tokens": (1, 2**31),
    "max_completion_tokens": (1, 2**31),
}
_DEFAULTS = {"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0}

Body = Mapping[str, Any]


def check(raw: bytes, content_type: str = "application/json") -> dict[str, Any]:
    """The request's body, if the real API would take it. Raises Refused."""
    if not content_type.startswith("application/json"):
        raise Refused("Content-Type must be application/json.")
    try:
        body = json.loads(raw, object_pairs_hook=_no_duplicates)
    except ValueError as error:
        raise Refused(f"We could not parse the JSON body of your request: {error}") from None
    if not isinstance(body, dict):
        raise Refused("The body must be an object.")
    body = {name: value for name, value in body.items() if value is not None}
    itself = isinstance(body.get("model"), str) and _OPENAI.match(body["model"]) is not None
    check_types(body, unknown_refused=itself)
    _check_fields(body)
    _check_tools(body)
    _check_conversation(body["messages"])
    if itself:
        _check_model(body)
        _check_schemas(body)
    return body


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("duplicate keys")
    return dict(pairs)


def _check_fields(body: Body) -> None:
    for name, (least, most) in _RANGES.items():
        if name in body and not least <= body[name] <= most:
            kind = "integer" if isinstance(body[name], int) else "decimal"
            side, bound = ("below minimum", f">= {least}") if body[name] < least else ("above maximum", f"<= {most}")
            text = f"Invalid '{name}': {kind} {side} value. Expected a value {bound}, but got {body[name]} instead."
            raise Refused(text, name, f"{kind}_{side.replace(' ', '_')}_value")
    if "stream_options" in body and not body.get("stream"):
        raise Refused("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    if "top_logprobs" in body and not body.get("logprobs"):
        raise Refused("'top_logprobs' needs 'logprobs' to be true.", "top_logprobs")
    if isinstance(body.get("stop"), list) and not 1 <= len(body["stop"]) <= 4:
        raise Refused("Invalid 'stop': 1 to 4 sequences.", "stop")
    wants_json = body.get("response_format", {}).get("type") == "json_object"
    if wants_json and "json" not in json.dumps(body["messages"]).lower():
        text = "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
        raise Refused(text, "messages")


def _check_model(body: Body) -> None:
    """What a reasoning model refuses."""
    if not _REASONING.match(body["model"]):
        return
    if "max_tokens" in body:
        text = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        raise Refused(text, "max_tokens", "unsupported_parameter")
    for name, default in _DEFAULTS.items() if _NO_SAMPLING.match(body["model"]) else ():
        if body.get(name, default) != default:
            text = (
                f"Unsupported value: '{name}' does not support {body[name]} with this model. "
                f"Only the default ({default}) value is supported."
            )
            raise Refused(text, name, "unsupported_value")


def _check_schemas(body: Body) -> None:
    """Strict schemas, and the names that go with them."""
    if body.get("response_format", {}).get("type") == "json_schema":
        form = body["response_format"]["json_schema"]
        if not _TOOL_NAME.fullmatch(form["name"]):
            place = "response_format.json_schema.name"
            text = f"Invalid '{place}': string does not match pattern. Expected one that matches '^[a-zA-Z0-9_-]+$'."
            raise Refused(text, place, "invalid_value")
        if form.get("strict"):
            what = f"response_format '{form['name']}'"
            check_strict(form.get("schema"), what, "response_format", None)
    for index, tool in enumerate(body.get("tools", ())):
        function = tool.get("function", {})
        if function.get("strict"):
            what, place = f"function '{function['name']}'", f"tools[{index}].function.parameters"
            check_strict(function.get("parameters"), what, place, "invalid_function_parameters")


def _check_tools(body: Body) -> None:
    tools = body.get("tools")
    if tools is None:
        for name in ("tool_choice", "parallel_tool_calls"):
            if name in body:
                raise Refused(f"Invalid value for '{name}': only allowed when 'tools' are specified.", name)
        return
    if not tools:
        raise Refused(
            "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            "tools",
            "empty_array",
        )
    if len(tools) > 128:
        raise Refused("Invalid 'tools': array too long. Expected an array with maximum length 128.", "tools")
    names = [tool[tool["type"]]["name"] for tool in tools]
    for index, name in enumerate(names):
        if not _TOOL_NAME.fullmatch(name):
            place = f"tools[{index}].function.name"
            text = f"Invalid '{place}': string does not match pattern. Expected one that matches '^[a-zA-Z0-9_-]+$'."
            raise Refused(text, place, "invalid_value")
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice["type"] != "allowed_tools" and choice[choice["type"]]["name"] not in names:
        raise Refused("Tool choice names a function that is not in 'tools'.", "tool_choice")


def _check_conversation(messages: list[Body]) -> None:
    if not messages:
        raise Refused(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            "messages",
            "empty_array",
        )
    waiting: dict[str, None] = {}
    for index, message in enumerate(messages):
        place = f"messages.[{index}].role"
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                raise Refused(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
                    "'tool_calls'.",
                    place,
                )
            del waiting[message["tool_call_id"]]
            continue
        if waiting:
            raise _unanswered(waiting, place)
        waiting = dict.fromkeys(_call_ids(message))
        if message["role"] == "assistant":
            _check_assistant(message, index, answered=bool(waiting))
    if waiting:
        raise _unanswered(waiting, f"messages.[{len(messages)}].role")


def _check_assistant(message: Body, index: int, *, answered: bool) -> None:
    if "tool_calls" in message and not answered:
        place = f"messages[{index}].tool_calls"
        raise Refused(f"Invalid '{place}': empty array.", place, "empty_array")
    if message.get("content") is None and not any(message.get(n) for n in ("tool_calls", "function_call", "refusal")):
        place = f"messages.[{index}].content"
        raise Refused("Invalid value for 'content': expected a string, got null.", place)


def _unanswered(waiting: Mapping[str, None], place: str) -> Refused:
    return Refused(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        f"The following tool_call_ids did not have response messages: {', '.join(waiting)}",
        place,
    )


def _call_ids(message: Body) -> Iterator[str]:
    for call in message.get("tool_calls") or ():
        yield call["id"]
