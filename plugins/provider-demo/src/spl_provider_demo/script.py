"""What the demo says: one request in, its whole answer out, the same one every time."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec

from gateway_core.errors import InvalidRequest
from gateway_core.types import ChatRequest
from spl_provider_demo.schema import instance

_PIECE = re.compile(r"\s*(?:\w{1,12}|[^\w\s])|\s+")
_WORDS = re.compile(r"\b(\d{1,6}) words\b")
_FILLER = ("the", "gateway", "relays", "each", "word", "as", "it", "comes", "and", "counts", "it", "once")
_TOKENS_PER_MESSAGE = 3
_TOKENS_PER_MEDIA = 85
_MOST_WORDS = 200_000
_MOST_CHARACTERS = 1_000_000
"""Of what is asked for and of what is repeated, over all answers of a call together."""
_LOOKED_AT = 10_000
"""Characters of a message in which tools are looked for, and that a custom one is given."""
_MOST_CALLS = 16
"""Calls of tools in one answer."""

_encode = msgspec.json.Encoder().encode


class ToolCall(msgspec.Struct, frozen=True):
    """One call of a tool. `field` is "function" or "custom", `input_name` what its text is called there."""

    id: str
    field: str
    name: str
    input_name: str
    input: str


class Answer(msgspec.Struct, frozen=True):
    """One choice: text or tool calls, cut to the limit. Its tokens are the pieces of its texts."""

    text: str
    calls: tuple[ToolCall, ...]
    finish_reason: str

    def tokens(self) -> int:
        """The tokens of its text and of its calls' inputs."""
        return count(self.text) + sum(count(call.input) for call in self.calls)


def pieces(text: str) -> Iterator[str]:
    """The text in tokens: words of up to 12 characters and single marks, each with the space before it."""
    return (found.group() for found in _PIECE.finditer(text))


def count(text: str) -> int:
    """How many tokens the text has."""
    return sum(1 for _ in _PIECE.finditer(text))


def input_tokens(request: ChatRequest) -> int:
    """Tokens of the whole prompt: texts, tools and media."""
    body = request.body
    total = request.media * _TOKENS_PER_MEDIA
    for message in body["messages"]:
        total += _TOKENS_PER_MESSAGE + count(_text_of(message))
        total += sum(count(str(call.get("function") or call.get("custom"))) for call in message.get("tool_calls") or ())
    for field in ("tools", "response_format"):
        if body.get(field):
            total += count(_encode(body[field]).decode())
    return total


def answer(request: ChatRequest, index: int, limit: int | None) -> Answer:
    """Choice number `index` of the answer, at most `limit` tokens long."""
    if request.body.get("functions"):
        raise InvalidRequest("The demo provider knows tools, not the older functions.", param="functions")
    text = _last_user_text(request.body)
    calls = _calls(request.body, text, index)
    if calls:
        return _cut("", calls, "tool_calls", limit)
    says = _json(request, text) or _prose(request, text)
    if index and not request.body.get("response_format"):
        says += f" (answer {index + 1})"
    return _cut(_stopped(says, request.body.get("stop")), (), "stop", limit)


def _cut(text: str, calls: tuple[ToolCall, ...], finish: str, limit: int | None) -> Answer:
    """The answer within the limit; one that did not fit finishes with "length"."""
    if limit is None:
        return Answer(text, calls, finish)
    parts = list(islice(pieces(text), limit + 1))
    left = limit - len(parts)
    if left < 0:
        return Answer("".join(parts[:limit]), (), "length")
    kept: list[ToolCall] = []
    for call in calls:
        parts = list(islice(pieces(call.input), left + 1))
        if left < len(parts):
            kept.append(msgspec.structs.replace(call, input="".join(parts[:left])))
            return Answer(text, tuple(kept), "length")
        left -= len(parts)
        kept.append(call)
    return Answer(text, calls, finish)


def _stopped(text: str, stop: Any) -> str:
    """The text up to the first of the stop sequences."""
    for sequence in [stop] if isinstance(stop, str) else stop or ():
        if sequence:
            text = text.partition(sequence)[0]
    return text


def _prose(request: ChatRequest, text: str) -> str:
    most = _MOST_CHARACTERS // request.choices
    results = _tool_results(request.body)
    if results:
        return ("The tool answered: " + "; ".join(results))[:most]
    if wanted := _WORDS.search(text):
        words = min(int(wanted[1]), _MOST_WORDS // request.choices)
        return " ".join(_FILLER[number % len(_FILLER)] for number in range(words))
    return f"This is the demo provider, which works offline. You wrote: {text[:most]}" if text else "You wrote nothing."


def _json(request: ChatRequest, text: str) -> str | None:
    """The answer where the request wants JSON."""
    wanted = request.body.get("response_format") or {}
    if wanted.get("type") == "json_object":
        return _encode({"answer": _prose(request, text)}).decode()
    if wanted.get("type") == "json_schema":
        return _encode(instance(wanted["json_schema"].get("schema") or {})).decode()
    return None


def _text_of(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content)
    return content or ""


def _last_user_text(body: Mapping[str, Any]) -> str:
    return next((_text_of(message) for message in reversed(body["messages"]) if message["role"] == "user"), "")


def _tool_results(body: Mapping[str, Any]) -> list[str]:
    """The tool results that the conversation ends with, in order."""
    results: list[str] = []
    for message in reversed(body["messages"]):
        if message["role"] not in ("tool", "function"):
            break
        results.append(_text_of(message))
    return results[::-1]


def _calls(body: Mapping[str, Any], text: str, index: int) -> tuple[ToolCall, ...]:
    """The tools to call now: those that tool_choice demands, else those that the text mentions."""
    # Tools of other kinds are the provider's own, and this one has none.
    known = [tool for tool in body.get("tools") or () if tool["type"] in ("function", "custom")]
    tools = {tool[tool["type"]]["name"]: tool for tool in known}
    choice = body.get("tool_choice") or "auto"
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        allowed = choice["allowed_tools"]
        tools = {name: tool for name, tool in tools.items() if any(_names(one, name) for one in allowed["tools"])}
        choice = allowed.get("mode", "auto")
    if not tools or choice == "none" or _tool_results(body):
        return ()
    if isinstance(choice, dict):
        wanted = [name for name in tools if _names(choice, name)]
        if not wanted:
            raise InvalidRequest("tool_choice names a function that is not among the tools.", param="tool_choice")
    else:
        said = text[:_LOOKED_AT].lower()
        wanted = [name for name in tools if _mentions(said, name)]
        if choice == "required":
            wanted = wanted or list(tools)[:1]
    if body.get("parallel_tool_calls") is False:
        wanted = wanted[:1]
    turn = f"{len(body['messages'])} {index} {text}"
    return tuple(_call(tools[name], name, text[:_LOOKED_AT], f"{turn} {name}") for name in wanted[:_MOST_CALLS])


def _names(reference: Mapping[str, Any], name: str) -> bool:
    """A reference to a tool, as tool_choice has them, names this one."""
    return any(isinstance(named, dict) and named.get("name") == name for named in reference.values())


def _mentions(said: str, name: str) -> bool:
    """The text, in lower case, has a telling word of the tool's name: "weather" for get_weather."""
    words = re.findall(r"[A-Z]?[a-z]{3,}", name)
    heads = {"get", "set", "the", "for", "find", "list", "make", "call", "tool", "with", "from"}
    return any(word.lower() not in heads and word.lower() in said for word in words)


def _call(tool: Mapping[str, Any], name: str, text: str, seed: str) -> ToolCall:
    call_id = "call_" + hashlib.sha256(seed.encode()).hexdigest()[:24]
    if tool["type"] == "custom":
        return ToolCall(call_id, "custom", name, "input", text)
    arguments = instance({"type": "object", **(tool["function"].get("parameters") or {})})
    return ToolCall(call_id, "function", name, "arguments", _encode(arguments).decode())
