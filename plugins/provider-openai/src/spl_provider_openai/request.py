"""What goes upstream: the client's body with the few fields that the gateway decides."""

from typing import Any

import msgspec

from gateway_core.types import ROUTED_FIELDS, ChatRequest
from spl_provider_openai.settings import OpenAISettings, limit_name

_encode = msgspec.json.Encoder().encode
_LIMITS = ("max_completion_tokens", "max_tokens")


def encode_request(
    request: ChatRequest, model: str, output_limit: int | None, settings: OpenAISettings, *, stream: bool
) -> bytes:
    """The body for the upstream. `request.rest` is our own encoding of all other fields: it is not encoded again."""
    fields: dict[str, Any] = {name: request.body[name] for name in ROUTED_FIELDS if name in request.body}
    fields["model"] = model
    _set_limit(fields, limit_name(settings, model), output_limit)
    if stream:
        fields["stream"] = True
        if settings.stream_usage:
            fields["stream_options"] = {**(fields.get("stream_options") or {}), "include_usage": True}
        else:
            fields.pop("stream_options", None)
    for name in settings.omit:
        fields.pop(name, None)
    head, rest = _encode(fields), _rest(request, settings)
    return head if rest == b"{}" else b"%b,%b" % (head[:-1], rest[1:])


def _rest(request: ChatRequest, settings: OpenAISettings) -> bytes:
    if settings.omit.isdisjoint(request.body):
        return request.rest
    left_out = settings.omit.union(ROUTED_FIELDS)
    return _encode({name: value for name, value in request.body.items() if name not in left_out})


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
