"""What goes upstream: the client's body with the few fields that the gateway decides."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from gateway_core.types import ROUTED_FIELDS, ChatRequest
from spl_provider_openai.quirks import FOREIGN, Quirks

_encode = msgspec.json.Encoder().encode
_FURTHER = frozenset(ROUTED_FIELDS) - {"model"}
_LIMITS = ("max_completion_tokens", "max_tokens")
_FOREIGN = frozenset(FOREIGN)
"""Anthropic's marks, and the notes that LiteLLM's SDK makes on an answer and sends back with it."""


def encode_request(
    request: ChatRequest, model: str, output_limit: int | None, quirks: Quirks, *, stream: bool
) -> bytes:
    """The body for the upstream. `request.rest` is our own encoding of all other fields: it is not encoded again
    where nothing in it has to change."""
    rest = _rest(request, quirks)
    if not stream and output_limit is None and rest != b"{}" and _FURTHER.isdisjoint(request.body):
        return _opening(model) + rest[1:]
    head = _encode(_decided(request, model, output_limit, quirks, stream=stream))
    return head if rest == b"{}" else head[:-1] + b"," + rest[1:]


@lru_cache(maxsize=256)  # a pure function
def _opening(model: str) -> bytes:
    """The beginning of a request of which the gateway decides nothing but the model."""
    return _encode({"model": model})[:-1] + b","


def _decided(
    request: ChatRequest, model: str, output_limit: int | None, quirks: Quirks, *, stream: bool
) -> dict[str, Any]:
    """The fields that the gateway decides."""
    fields: dict[str, Any] = {"model": model}
    for name in ROUTED_FIELDS[1:]:
        if name in request.body:
            fields[name] = request.body[name]
    if quirks.limit_field is not None or output_limit is not None:
        _set_limit(fields, quirks.limit_field, output_limit)
    if stream:
        fields["stream"] = True
        if quirks.stream_usage:
            fields["stream_options"] = {**(fields.get("stream_options") or {}), "include_usage": True}
        else:
            fields.pop("stream_options", None)
    for name in quirks.omit:
        fields.pop(name, None)
    return fields


def _rest(request: ChatRequest, quirks: Quirks) -> bytes:
    """Every other field. Our own encoding has one way to write a role, so a look at its bytes tells what is in it."""
    clean = quirks.foreign_fields == "strip" and _is_foreign(request.body)
    rename = quirks.developer_role == "system" and b'"role":"developer"' in request.rest
    if not clean and not rename and (not quirks.omit or quirks.omit.isdisjoint(request.body)):
        return request.rest
    left_out = quirks.omit.union(ROUTED_FIELDS)
    fields = {name: value for name, value in request.body.items() if name not in left_out}
    if rename:
        fields["messages"] = [_as_system(message) for message in fields["messages"]]
    if clean:
        fields.pop("cache_control", None)
        fields["messages"] = [_cleaned(message) for message in fields["messages"]]
        if isinstance(fields.get("tools"), list):
            fields["tools"] = [_cleaned(tool) for tool in fields["tools"]]
    return _encode(fields)


def _is_foreign(body: Mapping[str, Any]) -> bool:
    """Whether anything in it has to be cleaned."""
    if "cache_control" in body:
        return True
    tools = body.get("tools")
    return any(map(_is_marked, body["messages"])) or (isinstance(tools, list) and any(map(_is_marked, tools)))


def _is_marked(holder: dict[str, Any]) -> bool:
    """Whether `_cleaned` would leave something out."""
    if len(holder) == 2 and "role" in holder and isinstance(holder.get("content"), str):
        return False  # what most messages are
    if not _FOREIGN.isdisjoint(holder):
        return True
    for group in ("content", "tool_calls"):
        inner = holder.get(group)
        if type(inner) is list and any(map(_is_marked, inner)):
            return True
    function = holder.get("function")
    return type(function) is dict and not _FOREIGN.isdisjoint(function)


def _as_system(message: dict[str, Any]) -> dict[str, Any]:
    return {**message, "role": "system"} if message["role"] == "developer" else message


def _cleaned(holder: dict[str, Any]) -> dict[str, Any]:
    """A message with its parts and calls, or a tool with its function, without FOREIGN; schemas stay as they are."""
    kept = {name: value for name, value in holder.items() if name not in _FOREIGN}
    for group in ("content", "tool_calls"):
        if isinstance(inner := kept.get(group), list):
            kept[group] = [_cleaned(one) for one in inner]
    if isinstance(function := kept.get("function"), dict):
        kept["function"] = {name: value for name, value in function.items() if name not in _FOREIGN}
    return kept


def _set_limit(fields: dict[str, Any], name: str | None, output_limit: int | None) -> None:
    """Puts the limit under the name that the model knows; `output_limit` replaces the client's."""
    named = {field: fields[field] for field in _LIMITS if fields.get(field) is not None}
    if name is None:
        if output_limit is not None:
            fields.update(dict.fromkeys(named or ("max_tokens",), output_limit))
        return
    value = output_limit if output_limit is not None else next(iter(named.values()), None)
    for field in _LIMITS:
        fields.pop(field, None)
    if value is not None:
        fields[name] = value
