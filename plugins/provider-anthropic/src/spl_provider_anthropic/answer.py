"""A plain answer: Anthropic's message as a chat completion."""

from typing import Any

import msgspec

from gateway_core.errors import Unavailable
from gateway_core.types import Usage
from gateway_core.wire.untrusted import NONSENSE, decoded
from spl_provider_anthropic.faults import fault_inside
from spl_provider_anthropic.request import Reply
from spl_provider_anthropic.thoughts import Thoughts
from spl_provider_anthropic.usage import Counts, Report

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "stop",
}
"""Reasons to stop in OpenAI's words. One that is not here is a plain stop."""

_encode = msgspec.json.Encoder().encode


class _Message(msgspec.Struct):
    """What is looked at of a message. Blocks are looked at one by one: there are always new kinds."""

    content: list[dict[str, Any]]
    stop_reason: Any = None
    stop_details: Any = None
    usage: Report | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Message).decode


class Answer(msgspec.Struct):
    """One choice of a completion."""

    message: dict[str, Any]
    finish_reason: str
    texts: tuple[str, ...]
    usage: Usage | None
    #: Call → packed thinking, to be kept before the client can read the ids.
    keep: dict[str, bytes]

    def choice(self, index: int) -> dict[str, Any]:
        """As it goes out."""
        return {"index": index, "message": self.message, "logprobs": None, "finish_reason": self.finish_reason}


def decode_answer(body: bytes, reply: Reply) -> Answer:
    """Reads an answer. Raises a ProviderFault where it is none."""
    try:
        decoded = _decode(body)
    except NONSENSE:
        raise _no_message(body) from None
    read = _Read(reply)
    for block in decoded.content:
        read.block(block)
    counts = Counts()
    if decoded.usage is not None:
        counts.note(decoded.usage)
    return Answer(
        message=read.message(refusal_of(decoded.stop_reason, decoded.stop_details)),
        finish_reason=finish_reason(decoded.stop_reason, reply, called=bool(read.calls)),
        texts=tuple(text for text in read.billed if text),
        usage=counts.usage(),
        keep=read.keep,
    )


def _no_message(body: bytes) -> Exception:
    fields = decoded(body)
    if isinstance(fields, dict) and fields.get("error") is not None:
        return fault_inside(fields["error"])
    return Unavailable("sent an answer that is no message")


def finish_reason(stop_reason: Any, reply: Reply, *, called: bool) -> str:
    """OpenAI's word for the reason. The tool that stands for JSON is no call."""
    reason = FINISH.get(stop_reason, "stop") if isinstance(stop_reason, str) else "stop"
    if reason == "tool_calls" and not called:
        return "stop"
    return "function_call" if reason == "tool_calls" and reply.legacy else reason


def refusal_of(stop_reason: Any, details: Any) -> str | None:
    """Why the model refused, in words, where it says so."""
    told = details.get("explanation") if stop_reason == "refusal" and isinstance(details, dict) else None
    return told if isinstance(told, str) and told else None


def thinking_block(block: dict[str, Any]) -> dict[str, Any] | None:
    """A thinking block with the fields that must be given back; None where it is none, or has no signature."""
    kind = block.get("type")
    if kind == "thinking":
        signature = block.get("signature")
        if isinstance(signature, str) and signature:
            return {"type": kind, "thinking": str(block.get("thinking") or ""), "signature": signature}
    elif kind == "redacted_thinking" and isinstance(block.get("data"), str):
        return {"type": kind, "data": block["data"]}
    return None


class _Read:
    """One message's blocks, as they come."""

    __slots__ = ("_json", "_reasoning", "_reply", "_text", "_thoughts", "billed", "calls", "keep")

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._text: list[str] = []
        #: The input of the tool that stands for JSON: the content, whatever is said beside it.
        self._json: str | None = None
        self._reasoning: list[str] = []
        self._thoughts = Thoughts()
        self.calls: list[dict[str, Any]] = []
        self.billed: list[str] = []
        self.keep: dict[str, bytes] = {}

    def block(self, block: dict[str, Any]) -> None:
        """Takes one in; a kind that is not known is passed over."""
        kind = block.get("type")
        if kind == "text" and isinstance(block.get("text"), str):
            self._text.append(block["text"])
            self.billed.append(block["text"])
        elif kind == "tool_use":
            self._call(block)
        elif kind in ("thinking", "redacted_thinking"):
            thinking = block.get("thinking")
            if isinstance(thinking, str):
                self._reasoning.append(thinking)
                self.billed.append(thinking)
            whole = thinking_block(block)
            if whole is not None:
                self._thoughts.add(whole)

    def _call(self, block: dict[str, Any]) -> None:
        call_id, name, given = block.get("id"), block.get("name"), block.get("input")
        if not isinstance(call_id, str) or not isinstance(name, str) or not call_id:
            raise Unavailable("called a tool without a name or an id")
        arguments = _encode(given if given is not None else {}).decode()
        self.billed.append(arguments)
        if name == self._reply.json_tool:
            self._json = arguments if self._json is None else self._json
            return
        packed = self._thoughts.before_call()
        if packed is not None:
            self.keep[call_id] = packed
        self.calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}})

    def message(self, refusal: str | None) -> dict[str, Any]:
        """OpenAI's message."""
        text = "".join(self._text) if self._json is None else self._json
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if not text and self.calls else text,
            "refusal": refusal,
        }
        if self.calls:
            if self._reply.legacy:
                message["function_call"] = self.calls[0]["function"]
            else:
                message["tool_calls"] = self.calls
        if reasoning := "".join(self._reasoning):
            message["reasoning_content"] = reasoning
        if self._thoughts.all:
            message["thinking_blocks"] = self._thoughts.all
        return message
