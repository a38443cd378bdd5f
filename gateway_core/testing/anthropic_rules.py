"""What Anthropic's API refuses in a request for a message: by the types of its own SDK, and by its known rules."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from gateway_core.testing.anthropic_models import Takes, takes
from gateway_core.testing.anthropic_schemas import check_closed, check_input_schema
from gateway_core.testing.anthropic_types import Refused, check_types

Body = Mapping[str, Any]

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_TOOL_ID = re.compile(r"[a-zA-Z0-9_-]+")
_MOST_MARKS = 4
_THOUGHTS = ("thinking", "redacted_thinking")
_ASSISTANTS = frozenset({"text", "tool_use", *_THOUGHTS})
_USERS = frozenset({"text", "image", "document", "tool_result"})
_MAGIC = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
    "application/pdf": b"%PDF",
}


def signature_of(thinking: str) -> str:
    """The signature of a thinking text, as this upstream gives it and demands it back."""
    return "sig" + base64.b64encode(hashlib.sha256(thinking.encode()).digest()).decode()


def redacted(thinking: str) -> str:
    """The `data` of a block whose thinking is not shown."""
    return "red" + base64.b64encode(hashlib.sha256(thinking.encode()).digest()).decode()


def check(raw: bytes, version: str = "2023-06-01", content_type: str = "application/json") -> dict[str, Any]:
    """The request's body, if the real API would take it. Raises Refused."""
    if not content_type.startswith("application/json"):
        raise Refused("Content-Type must be application/json")
    try:
        body = json.loads(raw, object_pairs_hook=_no_duplicates)
    except ValueError as error:
        raise Refused(f"The request body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise Refused("Input should be a valid dictionary")
    check_types(body, version)
    model = takes(body["model"])
    _check_limits(body, model)
    _check_system(body)
    _check_tools(body, model)
    _Turns(body, model).check()
    _check_thinking(body, model)
    _check_output(body, model)
    if sum(1 for _ in _marks(body)) > _MOST_MARKS:
        raise Refused("A maximum of 4 blocks with cache_control may be provided.")
    return body


def thinks(body: Body) -> bool:
    """Whether the model will think."""
    config = body.get("thinking")
    if config is None:
        return takes(body["model"]).thinks_unasked
    return config["type"] in ("enabled", "adaptive")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("duplicate keys")
    return dict(pairs)


def _check_limits(body: Body, model: Takes) -> None:
    limit = body["max_tokens"]
    if limit < 1:
        raise Refused("max_tokens: Input should be greater than or equal to 1")
    if model.most is not None and limit > model.most:
        raise Refused(f"max_tokens: {limit} > {model.most}, which is the maximum allowed number of output tokens")
    for name in ("temperature", "top_p", "top_k"):
        if name in body and model.sampling == "none":
            raise Refused(f"`{name}` is deprecated for this model.")
    for name in ("temperature", "top_p"):
        if not 0 <= body.get(name, 0) <= 1:
            raise Refused(f"{name}: range: 0..1")
    if model.sampling == "one" and "temperature" in body and "top_p" in body:
        raise Refused("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    for at, stop in enumerate(body.get("stop_sequences", ())):
        if not stop.strip():
            raise Refused(f"stop_sequences.{at}: each stop sequence must contain non-whitespace")
    user = (body.get("metadata") or {}).get("user_id")
    if user is not None and (len(user) > 256 or "@" in user):
        raise Refused("metadata.user_id: user_id must be an opaque identifier of at most 256 characters")


def _check_system(body: Body) -> None:
    system = body.get("system")
    if isinstance(system, str) and not system.strip():
        raise Refused("system: text content blocks must be non-empty")
    for at, block in enumerate(system if isinstance(system, list) else ()):
        _check_text(block, f"system.{at}")


def _check_text(block: Body, place: str) -> None:
    if not block["text"]:
        raise Refused(f"{place}: text content blocks must be non-empty")
    if not block["text"].strip():
        raise Refused(f"{place}: text content blocks must contain non-whitespace text")


def _check_tools(body: Body, model: Takes) -> None:
    tools, choice = body.get("tools"), body.get("tool_choice")
    if not tools:
        if choice is not None:
            raise Refused("tool_choice: tool_choice may only be specified while providing tools")
        return
    names = []
    for at, tool in enumerate(tools):
        if tool.get("type", "custom") != "custom":
            raise Refused(f"tools.{at}: only tools of the client's own are known to this upstream")
        if not _TOOL_NAME.fullmatch(tool["name"]):
            raise Refused(f"tools.{at}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        names.append(tool["name"])
        check_input_schema(tool["input_schema"], f"tools.{at}.custom.input_schema")
        if tool.get("strict"):
            if not model.formats:
                raise Refused(f"tools.{at}: strict tools are not supported by this model")
            check_closed(tool["input_schema"], f"tools.{at}.custom.input_schema")
    if sum(bool(tool.get("strict")) for tool in tools) > 20:
        raise Refused("tools: too many strict tools")
    if len(set(names)) < len(names):
        raise Refused("tools: Tool names must be unique.")
    if choice is not None:
        _check_choice(body, choice, names, model)


def _check_choice(body: Body, choice: Body, names: list[str], model: Takes) -> None:
    if choice["type"] == "tool" and choice["name"] not in names:
        raise Refused(f"tool_choice: Tool '{choice['name']}' not found in provided tools")
    if choice["type"] in ("any", "tool"):
        if not model.forced:
            raise Refused("tool_choice: forced tool use is not supported by this model")
        if thinks(body):
            raise Refused("Thinking may not be enabled when tool_choice forces tool use.")


def _check_thinking(body: Body, model: Takes) -> None:
    config = body.get("thinking")
    if config is None:
        return
    kind = config["type"]
    if kind not in model.thinking:
        raise Refused(f'"thinking.type.{kind}" is not supported for this model.')
    if kind == "enabled":
        budget = config["budget_tokens"]
        if budget < 1024:
            raise Refused("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        if budget >= body["max_tokens"]:
            raise Refused("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if kind in ("enabled", "adaptive"):
        if body.get("temperature", 1) != 1:
            raise Refused("`temperature` may only be set to 1 when thinking is enabled.")
        if body.get("top_p", 1) < 0.95:
            raise Refused("`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.")
        if "top_k" in body:
            raise Refused("`top_k` must be unset when thinking is enabled.")


def _check_output(body: Body, model: Takes) -> None:
    output = body.get("output_config") or {}
    effort, form = output.get("effort"), output.get("format")
    if effort is not None and effort not in model.efforts:
        raise Refused("output_config.effort: this model does not support the effort parameter with this value")
    if form is not None:
        if not model.formats:
            raise Refused("output_config.format: this model does not support output formats")
        check_closed(form["schema"], "output_config.format.schema")
        if body["messages"][-1]["role"] == "assistant":
            raise Refused("output_config.format: prefilling is not supported with an output format")


class _Turns:
    """The rules about messages and what stands beside what."""

    def __init__(self, body: Body, model: Takes) -> None:
        self._body = body
        self._model = model
        self._messages: list[tuple[str, list[Body]]] = []
        self._ids: set[str] = set()

    def check(self) -> None:
        messages = self._body["messages"]
        if not messages:
            raise Refused("messages: at least one message is required")
        for at, message in enumerate(messages):
            content, last = message["content"], at == len(messages) - 1
            blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
            if (not blocks or content == "") and not (last and message["role"] == "assistant"):
                raise Refused(f"messages.{at}: all messages must have non-empty content")
            self._check_message(at, message["role"], blocks)
            self._messages.append((message["role"], blocks))
        if messages[0]["role"] != "user":
            raise Refused('messages: first message must use the "user" role')
        self._check_pairs()
        self._check_system_roles()
        self._check_end()
        self._check_loop()

    def _check_message(self, at: int, role: str, blocks: list[Body]) -> None:
        allowed = {"user": _USERS, "assistant": _ASSISTANTS, "system": frozenset({"text"})}[role]
        for index, block in enumerate(blocks):
            place = f"messages.{at}.content.{index}"
            if block["type"] not in allowed:
                raise Refused(f"{place}: `{block['type']}` blocks are not permitted in `{role}` messages")
            self._check_block(block, place)

    def _check_block(self, block: Body, place: str) -> None:
        kind = block["type"]
        if kind == "text":
            _check_text(block, place)
        elif kind in ("image", "document"):
            _check_source(block["source"], f"{place}.source")
        elif kind == "tool_use":
            if not _TOOL_ID.fullmatch(block["id"]):
                raise Refused(f"{place}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
            if block["id"] in self._ids:
                raise Refused("messages: `tool_use` ids must be unique")
            self._ids.add(block["id"])
            if not self._body.get("tools"):
                raise Refused("Requests which include `tool_use` or `tool_result` blocks must define tools")
        elif kind == "tool_result":
            content = block.get("content") or ()
            for index, inner in enumerate(content if isinstance(content, list) else ()):
                self._check_block(inner, f"{place}.content.{index}")
        elif kind == "thinking" and block["signature"] != signature_of(block["thinking"]):
            raise Refused(f"{place}: Invalid `signature` in `thinking` block")
        elif kind == "redacted_thinking" and not block["data"].startswith("red"):
            raise Refused(f"{place}: Invalid `data` in `redacted_thinking` block")
        if kind in _THOUGHTS and "cache_control" in block:
            raise Refused(f"{place}: Extra inputs are not permitted")

    def _check_pairs(self) -> None:
        """Every call has its result in the next message, before anything else, and every result its call."""
        waiting: list[str] = []
        for at, (role, blocks) in enumerate(self._messages):
            results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
            if waiting and role != "user":
                raise Refused(_without_result(at - 1, waiting))
            first = [block["tool_use_id"] for block in blocks[: len(results)] if block["type"] == "tool_result"]
            if first != results:
                raise Refused(f"messages.{at}: tool_result blocks must come first in the content")
            for one in results:
                if one not in waiting:
                    raise Refused(f"messages.{at}: unexpected `tool_use_id` found in `tool_result` blocks: {one}")
                waiting.remove(one)
            if waiting:
                raise Refused(_without_result(at - 1, waiting))
            waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if waiting:
            raise Refused(_without_result(len(self._messages) - 1, waiting))

    def _check_system_roles(self) -> None:
        roles = [role for role, _ in self._messages]
        for at, role in enumerate(roles):
            if role == "system":
                if not self._model.system_role:
                    raise Refused("messages: role 'system' is not supported on this model")
                if roles[at - 1] != "user" or roles[at + 1 : at + 2] not in ([], ["assistant"]):
                    raise Refused("messages: role 'system' must follow a user turn and precede an assistant turn")

    def _check_end(self) -> None:
        role, blocks = self._messages[-1]
        if role != "assistant":
            return
        if not self._model.prefill:
            raise Refused(
                "This model does not support assistant message prefill. The conversation must end with a user message."
            )
        if thinks(self._body):
            raise Refused("messages: a final assistant message cannot be continued when thinking is enabled")
        if blocks and blocks[-1]["type"] == "text" and blocks[-1]["text"] != blocks[-1]["text"].rstrip():
            raise Refused("messages: final assistant content cannot end with trailing whitespace")

    def _check_loop(self) -> None:
        """With thinking by a budget a tool loop goes on only where its assistant's turn begins with its thinking."""
        config = self._body.get("thinking") or {}
        if config.get("type") != "enabled" or self._messages[-1][0] != "user":
            return
        if not any(block["type"] == "tool_result" for block in self._messages[-1][1]):
            return
        at = max(index for index, (role, _) in enumerate(self._messages) if role == "assistant")
        first = self._messages[at][1][0]["type"]
        if first not in _THOUGHTS:
            raise Refused(
                f"messages.{at}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{first}`. When "
                "`thinking` is enabled, a final `assistant` message must start with a thinking block."
            )


def _without_result(at: int, waiting: list[str]) -> str:
    ids = ", ".join(waiting)
    return f"messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after: {ids}"


def _check_source(source: Body, place: str) -> None:
    if source["type"] == "url" and not source["url"].startswith("https://"):
        raise Refused(f"{place}: Only HTTPS URLs are supported.")
    if source["type"] == "base64":
        try:
            data = base64.b64decode(source["data"], validate=True)
        except binascii.Error:
            raise Refused(f"{place}.base64.data: Invalid base64 data") from None
        if not data.startswith(_MAGIC[source["media_type"]]):
            raise Refused(
                f"{place}: the file was specified using the {source['media_type']} media type, but is not one"
            )


def _marks(node: Any) -> Iterator[Body]:
    """Every cache mark in a request."""
    if isinstance(node, Mapping):
        if isinstance(node.get("cache_control"), Mapping):
            yield node
        for name, child in node.items():
            if name not in ("input", "input_schema", "schema"):
                yield from _marks(child)
    elif isinstance(node, list):
        for child in node:
            yield from _marks(child)
