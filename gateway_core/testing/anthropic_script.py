"""What the Anthropic upstream answers: a script for each model, right or wrong in every way that matters."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from gateway_core.testing.anthropic_rules import redacted, signature_of, thinks
from gateway_core.testing.scripted_upstream import BaseScript

Body = Mapping[str, Any]

_OVERLOADED = {"type": "overloaded_error", "message": "Overloaded"}


class AnthropicScript(BaseScript, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How requests for one model are answered. The default is a proper answer of a few words; a call of a tool where
    one is demanded."""

    text: str | None = None
    words: int = 5
    #: What the model thinks first, where it thinks at all; several blocks.
    thinking: tuple[str, ...] = ()
    #: Its thinking is not shown.
    redacted: bool = False
    #: Calls: each {"name": …, "input": {…}}, and perhaps "id", "thinking" and "text" that come before it.
    calls: tuple[dict[str, Any], ...] = ()
    #: Characters in one input_json_delta.
    json_piece: int = 6
    stop_reason: str | None = None
    stop_details: dict[str, Any] | None = None
    #: Pings, and events, blocks, deltas and fields that nobody knows; a server's tool with its result; citations.
    oddities: bool = False
    #: "proper", "none", or what to send as usage instead, at the start and at the end.
    usage: Literal["proper", "none"] | dict[str, Any] = "proper"
    cached: int = 0
    cache_write: int = 0
    #: An error object as an event, after so many events; which one (None: the provider has too much to do).
    error_after: int | None = None
    error: dict[str, Any] | None = None
    #: Whether message_delta and message_stop come at the end.
    finish: bool = True
    stop: bool = True
    line_end: Literal["\n", "\r\n", "\r"] = "\n"


def words_of(script: AnthropicScript, body: Body) -> list[str]:
    """The text's pieces."""
    if script.text is not None:
        return [script.text[at : at + 4] for at in range(0, len(script.text), 4)]
    if "format" in (body.get("output_config") or {}):
        return ['{"a"', ": 1}"]
    return [f"{' ' if number else ''}word{number}" for number in range(script.words)]


def blocks_of(script: AnthropicScript, body: Body) -> list[dict[str, Any]]:
    """The answer's content."""
    thoughts = script.thinking if thinks(body) else ()
    blocks = [_thought(script, one) for one in thoughts]
    calls = script.calls or _demanded(body)
    text = "".join(words_of(script, body))
    if text and (not calls or script.text is not None):
        blocks.append({"type": "text", "text": text})
    for number, call in enumerate(calls):
        if thinks(body) and call.get("thinking"):
            blocks.append(_thought(script, call["thinking"]))
        if call.get("text"):
            blocks.append({"type": "text", "text": call["text"]})
        call_id = call.get("id") or f"toolu_{len(body['messages'])}_{number}"
        blocks.append({"type": "tool_use", "id": call_id, "name": call["name"], "input": call.get("input", {})})
    if script.oddities:
        odd: list[dict[str, Any]] = [
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
            {"type": "of_tomorrow", "text": "not for you", "deep": {"a": [1]}},
        ]
        blocks[1:1] = odd
    return blocks


def _thought(script: AnthropicScript, text: str) -> dict[str, Any]:
    if script.redacted:
        return {"type": "redacted_thinking", "data": redacted(text)}
    return {"type": "thinking", "thinking": text, "signature": signature_of(text)}


def _demanded(body: Body) -> tuple[dict[str, Any], ...]:
    """A call of the first tool, or of the named one, where tool_choice demands it."""
    choice = body.get("tool_choice") or {}
    if choice.get("type") not in ("any", "tool"):
        return ()
    return ({"name": choice.get("name") or body["tools"][0]["name"], "input": {"a": 1}},)


def _stop_reason(script: AnthropicScript, blocks: list[dict[str, Any]]) -> str:
    if script.stop_reason is not None:
        return script.stop_reason
    return "tool_use" if any(block["type"] == "tool_use" for block in blocks) else "end_turn"


def usage_of(script: AnthropicScript, body: Body, output: int | None = None) -> dict[str, Any]:
    """Counts: the prompt's words, with what the cache had and got, and the answer's."""
    if isinstance(script.usage, dict):
        return script.usage
    blocks = blocks_of(script, body)
    thought = sum(len(block.get("thinking", "x").split()) for block in blocks if "thinking" in block["type"])
    said = len(words_of(script, body)) + sum(block["type"] == "tool_use" for block in blocks)
    return {
        "input_tokens": 3 + len(json.dumps(body["messages"]).split()),
        "cache_read_input_tokens": script.cached,
        "cache_creation_input_tokens": script.cache_write,
        "output_tokens": thought + said if output is None else output,
        "output_tokens_details": {"thinking_tokens": thought if output is None else 0},
    }


def message_of(script: AnthropicScript, body: Body) -> dict[str, Any]:
    """A whole message."""
    blocks = blocks_of(script, body)
    message: dict[str, Any] = {
        "id": "msg_upstream",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": blocks,
        "stop_reason": _stop_reason(script, blocks),
        "stop_sequence": None,
        "container": None,
    }
    if script.stop_details is not None:
        message["stop_details"] = script.stop_details
    if script.usage != "none":
        message["usage"] = {**usage_of(script, body), "service_tier": "standard"}
    return message


def events_of(script: AnthropicScript, body: Body) -> list[bytes]:
    """The stream's events as they are written."""
    if script.events is not None:
        data = [(str(json.loads(one).get("type")) if one.startswith("{") else "odd", one) for one in script.events]
    else:
        events = list(_events(script, body))
        if script.error_after is not None:
            events[script.error_after :] = [{"type": "error", "error": script.error or _OVERLOADED}]
        data = [(str(event["type"]), json.dumps(event)) for event in events]
    end = script.line_end
    before = f": comment{end}id: 7{end}retry: 10{end}" if script.comments else ""
    return [f"{before}event: {name}{end}data: {one}{end}{end}".encode() for name, one in data]


def _events(script: AnthropicScript, body: Body) -> Iterator[dict[str, Any]]:
    start = message_of(script, body) | {"content": [], "stop_reason": None, "stop_details": None}
    if script.usage != "none":
        start["usage"] = usage_of(script, body, 1)
    yield {"type": "message_start", "message": start}
    yield {"type": "ping"}
    blocks = blocks_of(script, body)
    for index, block in enumerate(blocks):
        yield from _block_events(script, body, index, block)
        if script.oddities:
            yield {"type": "ping"}
            yield {"type": "of_tomorrow", "index": "one", "delta": "none", "message": 7}
    if script.finish:
        delta = {
            "stop_reason": _stop_reason(script, blocks),
            "stop_sequence": None,
            "stop_details": script.stop_details,
        }
        end: dict[str, Any] = {"type": "message_delta", "delta": delta}
        if script.usage != "none":
            counts = usage_of(script, body)
            details = (
                {"output_tokens_details": counts["output_tokens_details"]} if "output_tokens_details" in counts else {}
            )
            end["usage"] = {"output_tokens": counts.get("output_tokens"), **details}
        yield end
    if script.stop:
        yield {"type": "message_stop"}


_EMPTY: Mapping[str, dict[str, Any]] = {
    "text": {"text": ""},
    "thinking": {"thinking": "", "signature": ""},
    "tool_use": {"input": {}},
}


def _block_events(script: AnthropicScript, body: Body, index: int, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    kind = block["type"]
    yield {"type": "content_block_start", "index": index, "content_block": {**block, **_EMPTY.get(kind, {})}}
    for delta in _deltas(script, body, block):
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


def _deltas(script: AnthropicScript, body: Body, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    kind = block["type"]
    if kind == "text":
        words = words_of(script, body)
        for word in words if "".join(words) == block["text"] else [block["text"]]:
            yield {"type": "text_delta", "text": word}
        if script.oddities:
            yield {"type": "citations_delta", "citation": {"type": "char_location", "cited_text": "x"}}
            yield {"type": "delta_of_tomorrow", "text": 7, "partial_json": []}
    elif kind == "thinking":
        for at in range(0, len(block["thinking"]), 5):
            yield {"type": "thinking_delta", "thinking": block["thinking"][at : at + 5]}
        yield {"type": "signature_delta", "signature": block["signature"]}
    elif kind in ("tool_use", "server_tool_use"):
        yield {"type": "input_json_delta", "partial_json": ""}
        written = json.dumps(block["input"], ensure_ascii=False) if block["input"] else ""
        for at in range(0, len(written), script.json_piece):
            yield {"type": "input_json_delta", "partial_json": written[at : at + script.json_piece]}
