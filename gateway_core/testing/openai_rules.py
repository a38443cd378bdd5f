"""What OpenAI's API refuses in a chat completion request: by the types of its own SDK, and by its known rules."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from openai.types.chat import completion_create_params as params
from pydantic import TypeAdapter, ValidationError

_BODY: TypeAdapter[Any] = TypeAdapter(params.CompletionCreateParams)
_KNOWN = frozenset(
    {**params.CompletionCreateParamsNonStreaming.__annotations__, **params.CompletionCreateParamsBase.__annotations__}
)
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_OPENAI = re.compile(r"(gpt-|o\d|chatgpt-)")
_REASONING = re.compile(r"(o\d|gpt-5)")
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

Body = Mapping[str, Any]


class Refused(Exception):
    """A 400 with OpenAI's error fields."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}


def check(raw: bytes, content_type: str = "application/json") -> dict[str, Any]:
    """The request's body, if the real API would take it. Raises Refused. Models not named like OpenAI's stand for
    compatible servers, which take unknown fields."""
    if not content_type.startswith("application/json"):
        raise Refused("Content-Type must be application/json.")
    try:
        body = json.loads(raw, object_pairs_hook=_no_duplicates)
    except ValueError as error:
        raise Refused(f"We could not parse the JSON body of your request: {error}") from None
    if not isinstance(body, dict):
        raise Refused("The body must be an object.")
    body = {name: value for name, value in body.items() if value is not None}
    try:
        _drain(_BODY.validate_python(body, strict=True))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise Refused(first["msg"], ".".join(map(str, first["loc"]))) from None
    for name in body if _OPENAI.match(body["model"]) else ():
        if name not in _KNOWN:
            raise Refused(f"Unrecognized request argument supplied: {name}", name)
    _check_fields(body)
    _check_tools(body)
    _check_conversation(body["messages"])
    return body


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("duplicate keys")
    return dict(pairs)


def _drain(value: Any) -> None:
    """Pydantic checks an Iterable only when it is read: reads all of them."""
    if isinstance(value, Mapping):
        for child in value.values():
            _drain(child)
    elif not isinstance(value, str | bytes) and hasattr(value, "__iter__"):
        for child in value:
            _drain(child)


def _check_fields(body: Body) -> None:
    for name, (least, most) in _RANGES.items():
        if name in body and not least <= body[name] <= most:
            raise Refused(f"Invalid '{name}': it must be from {least} to {most}.", name)
    if _REASONING.match(body["model"]):
        if "max_tokens" in body and "max_completion_tokens" in body:
            raise Refused("Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.")
        if "max_tokens" in body:
            text = "Unsupported parameter: 'max_tokens' is not supported with this model."
            raise Refused(text, "max_tokens", "unsupported_parameter")
    if "stream_options" in body and not body.get("stream"):
        raise Refused("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    if "top_logprobs" in body and not body.get("logprobs"):
        raise Refused("'top_logprobs' needs 'logprobs' to be true.", "top_logprobs")
    if isinstance(body.get("stop"), list) and not 1 <= len(body["stop"]) <= 4:
        raise Refused("Invalid 'stop': 1 to 4 sequences.", "stop")
    wants_json = body.get("response_format", {}).get("type") == "json_object"
    if wants_json and "json" not in json.dumps(body["messages"]).lower():
        raise Refused("'messages' must contain the word 'json' in some form.", "messages")


def _check_tools(body: Body) -> None:
    tools = body.get("tools")
    if tools is None:
        for name in ("tool_choice", "parallel_tool_calls"):
            if name in body:
                raise Refused(f"'{name}' is only allowed when 'tools' are specified.", name)
        return
    if not 1 <= len(tools) <= 128:
        raise Refused("Invalid 'tools': 1 to 128 of them.", "tools")
    names = [tool[tool["type"]]["name"] for tool in tools]
    for index, name in enumerate(names):
        if not _TOOL_NAME.fullmatch(name):
            raise Refused("Invalid tool name.", f"tools[{index}].function.name")
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice["type"] != "allowed_tools" and choice[choice["type"]]["name"] not in names:
        raise Refused("Tool choice names a function that is not in 'tools'.", "tool_choice")


def _check_conversation(messages: list[Body]) -> None:
    if not messages:
        raise Refused("Invalid 'messages': empty array.", "messages")
    waiting: set[str] = set()
    for index, message in enumerate(messages):
        place = f"messages.[{index}].role"
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                raise Refused(
                    "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.", place
                )
            waiting.discard(message["tool_call_id"])
            continue
        if waiting:
            raise Refused("An assistant message with 'tool_calls' must be followed by tool messages.", place)
        waiting = set(_call_ids(message))
        if message["role"] == "assistant" and "tool_calls" in message and not waiting:
            raise Refused("Invalid 'tool_calls': empty array.", f"messages[{index}].tool_calls")
    if waiting:
        raise Refused("An assistant message with 'tool_calls' must be followed by tool messages.", "messages")


def _call_ids(message: Body) -> Iterator[str]:
    for call in message.get("tool_calls") or ():
        yield call["id"]
