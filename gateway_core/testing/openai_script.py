"""What the OpenAI-wire upstream answers: a script for each model, right or wrong in every way that matters."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from gateway_core.testing.scripted_upstream import BaseScript


class Script(BaseScript, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How requests for one model are answered. The default is a proper answer of a few words."""

    text: str | None = None
    words: int = 5
    #: Calls: each {"name": …, "arguments": "…"}, and perhaps "id"; instead of text, where `text` is None.
    calls: tuple[dict[str, str], ...] = ()
    #: "proper", "none", or what to send as usage instead, also several one after the other.
    usage: Literal["proper", "none"] | dict[str, Any] | list[Any] = "proper"
    finish_reason: str | None = "stop"
    done: bool = True
    role: bool = True
    line_end: Literal["\n", "\r\n", "\r"] = "\n"
    #: A space between `data:` and the data.
    space: bool = True


ID = "chatcmpl-upstream"
CREATED = 1_700_000_000
FINGERPRINT = "fp_upstream"


def words_of(script: Script) -> list[str]:
    """The answer's pieces."""
    if script.text is not None:
        return [piece for piece in (script.text[at : at + 4] for at in range(0, len(script.text), 4)) if piece]
    return [f"{' ' if number else ''}word{number}" for number in range(script.words)]


def usage_of(script: Script, body: Mapping[str, Any]) -> dict[str, Any]:
    """A proper usage object: words of the prompt, pieces of the answers."""
    prompt = 3 + len(json.dumps(body["messages"]).split())
    output = len(words_of(script)) * body.get("n", 1)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def plain_body(script: Script, body: Mapping[str, Any]) -> bytes:
    """A whole answer."""
    answer: dict[str, Any] = {
        "id": ID,
        "object": "chat.completion",
        "created": CREATED,
        "model": body["model"],
        "choices": [_choice(index, script, body) for index in range(body.get("n", 1))],
        "system_fingerprint": FINGERPRINT,
        "service_tier": "default",
    }
    if script.usage != "none":
        answer["usage"] = usage_of(script, body) if script.usage == "proper" else script.usage
    return json.dumps(answer).encode()


def _choice(index: int, script: Script, body: Mapping[str, Any]) -> dict[str, Any]:
    calls = _tool_calls(script, body, index)
    content = None if calls and script.text is None else "".join(words_of(script))
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    reason = "tool_calls" if calls else script.finish_reason
    return {"index": index, "message": message, "logprobs": None, "finish_reason": reason}


def _tool_calls(script: Script, body: Mapping[str, Any], index: int) -> list[dict[str, Any]]:
    """The scripted calls; or one of the first tool, or of the named one, where tool_choice demands it."""
    if script.calls:
        return [_call(one.get("id") or f"call_{index}_{at}", one) for at, one in enumerate(script.calls)]
    choice, tools = body.get("tool_choice", "auto"), body.get("tools", ())
    if isinstance(choice, dict) and choice["type"] == "allowed_tools":
        choice, tools = choice["allowed_tools"]["mode"], choice["allowed_tools"]["tools"]
    if choice in ("auto", "none"):
        return []
    chosen = choice if isinstance(choice, dict) else tools[0]
    name = chosen[chosen["type"]]["name"]
    return [_call(f"call_upstream{index}", {"name": name, "arguments": '{"a": 1}'})]


def _call(call_id: str, call: Mapping[str, str]) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}


def events_of(script: Script, body: Mapping[str, Any]) -> list[bytes]:
    """The stream's events as they are written."""
    if script.events is not None:
        data = list(script.events)
    else:
        usage_asked = (body.get("stream_options") or {}).get("include_usage")
        data = [json.dumps(_chunk(body, *event, usage_asked=usage_asked)) for event in _chunks(script, body)]
        if usage_asked and script.usage != "none":
            data += [json.dumps(_chunk(body, [], usage)) for usage in _usages(script, body)]
        if script.done:
            data.append("[DONE]")
    end = script.line_end
    before = f": comment{end}event: message{end}id: 7{end}retry: 10{end}" if script.comments else ""
    data_field = "data: " if script.space else "data:"
    return [f"{before}{data_field}{one}{end}{end}".encode() for one in data]


def _usages(script: Script, body: Mapping[str, Any]) -> list[Any]:
    if isinstance(script.usage, list):
        return script.usage
    return [usage_of(script, body) if script.usage == "proper" else script.usage]


def _chunk(body: Mapping[str, Any], choices: Any, usage: Any = None, *, usage_asked: Any = True) -> dict[str, Any]:
    chunk = {
        "id": ID,
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": body["model"],
        "system_fingerprint": FINGERPRINT,
        "choices": choices,
    }
    return {**chunk, "usage": usage} if usage_asked else chunk


def _chunks(script: Script, body: Mapping[str, Any]) -> list[tuple[list[dict[str, Any]]]]:
    """The choices of each chunk, several answers interleaved."""
    count = body.get("n", 1)
    calls = _tool_calls(script, body, 0)
    says = not calls or script.text is not None
    deltas: list[dict[str, Any]] = [{"content": word} for word in words_of(script)] if says else []
    for index, call in enumerate(calls):
        function = call["function"]
        opening = {**call, "index": index, "function": {"name": function["name"], "arguments": ""}}
        deltas.append({"tool_calls": [opening]})
        for at in range(0, len(function["arguments"]), 4):
            fragment = {"index": index, "function": {"arguments": function["arguments"][at : at + 4]}}
            deltas.append({"tool_calls": [fragment]})
    if script.role:
        deltas.insert(0, {"role": "assistant", "content": "" if says else None})
    events = [
        ([{"index": index, "delta": delta, "logprobs": None, "finish_reason": None}],)
        for delta in deltas
        for index in range(count)
    ]
    reason = "tool_calls" if calls else script.finish_reason
    if reason is not None:
        events += [([{"index": index, "delta": {}, "finish_reason": reason}],) for index in range(count)]
    return events
