"""What a well-formed request may not ask for: what the price book does not know, and what may be another tenant's.

Two rules, both pure, both before any hold:

- `refuse_unpriced` holds wherever a call costs money, on every profile, and for all calls of a managed gateway: a
  parameter that a provider charges for by other means than the model's tokens at the book's prices would be sold at a
  price that nobody set. It holds for service tiers that cost less, too: the charge would be wrong all the same. A free
  model, or one that another gateway bills, passes: here it costs nothing, whatever it is asked for.
- `of_one_tenant` holds where `[server] managed` says that many tenants share one account at a provider. What the
  provider keeps there (files, stored completions, audio, caches, conversations) is named by ids that know no tenant.

Refused is what is known to be of such a kind; a field that nobody knows keeps its value, as everywhere. A `prediction`
passes: its rejected tokens are output tokens at the output price, and within the output limit.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import msgspec

from gateway_core.errors import InvalidRequest
from gateway_core.types import ChatRequest

_SERVICE_TIERS = frozenset({None, "auto", "default"})

_TOOLS = frozenset({"function", "custom"})
"""Tools that the client runs by itself; any other is run by the provider, at a price of its own."""

_CHARGED_APART = {
    "web_search_options": "a web search",
    "search_parameters": "a live search",
    "plugins": "a plugin of the provider's",
    "audio": "audio",
}

_LOOKED_AT = frozenset({*_CHARGED_APART, "service_tier", "modalities", "tools"})

_KEPT_APART = ("previous_response_id", "conversation", "container", "cached_content")
"""Ids of what a provider keeps for its account, in the dialects that we know of."""

_STORELESS = b'"store":false}'
_encode = msgspec.json.Encoder().encode


def refuse_unpriced(request: ChatRequest) -> None:
    """Raises InvalidRequest, naming the field, for what costs something that the price book does not know."""
    body = request.body
    if not request.media and _LOOKED_AT.isdisjoint(body):
        return  # nearly every call
    if body.get("service_tier") not in _SERVICE_TIERS:
        _refuse("service_tier", "only the standard service is priced here: leave it out, or say `default`")
    for name, what in _CHARGED_APART.items():
        if body.get(name) is not None:
            _refuse(name, f"{what} has no price here")
    if any(kind != "text" for kind in body.get("modalities") or ()):
        _refuse("modalities", "only text has a price here")
    for index, tool in enumerate(body.get("tools") or ()):
        if tool["type"] not in _TOOLS:
            _refuse(f"tools[{index}].type", "a tool that the provider runs has no price here")
    if request.media:
        for place, part in _parts(body):
            if part.get("input_audio") is not None or part["type"] == "input_audio":
                _refuse(f"{place}.input_audio", "audio has no price here")


def of_one_tenant(request: ChatRequest) -> ChatRequest:
    """The request with `store: false`. Raises InvalidRequest, naming the field, for what may be another tenant's."""
    body = request.body
    if body.get("store"):
        _refuse("store", "completions are not stored on this gateway")
    for name in _KEPT_APART:
        if body.get(name) is not None:
            _refuse(name, "nothing is kept at the provider between calls")
    _check_extra(body.get("extra_body"))
    for index, message in enumerate(body["messages"]):
        if message.get("audio") is not None:
            _refuse(f"messages[{index}].audio", "audio that a provider keeps cannot be named here")
    if request.media:
        for place, part in _parts(body):
            file = part.get("file")
            if isinstance(file, dict) and file.get("file_id") is not None:
                _refuse(f"{place}.file.file_id", "send the file itself as `file_data`: ids of stored files are refused")
    return _storeless(request)


def _check_extra(extra: Any) -> None:
    """Gemini's OpenAI dialect names a cache in `extra_body.google`."""
    google = extra.get("google") if isinstance(extra, dict) else None
    if isinstance(google, dict) and google.get("cached_content") is not None:
        _refuse("extra_body.google.cached_content", "nothing is kept at the provider between calls")


def _storeless(request: ChatRequest) -> ChatRequest:
    body = request.body
    if body.get("store") is False:
        return request
    if "store" in body:
        rest = _encode({**_decoded(request.rest), "store": False})
    else:
        rest = b"{" + _STORELESS if request.rest == b"{}" else request.rest[:-1] + b"," + _STORELESS
    return msgspec.structs.replace(request, body={**body, "store": False}, rest=rest)


def _decoded(rest: bytes) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(rest, type=dict[str, msgspec.Raw])


def _parts(body: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every content part, and where it stands."""
    for index, message in enumerate(body["messages"]):
        content = message.get("content")
        if isinstance(content, list):
            for at, part in enumerate(content):
                yield f"messages[{index}].content[{at}]", part


def _refuse(param: str, why: str) -> NoReturn:
    raise InvalidRequest(f"'{param}' is refused: {why}.", param=param)
