"""Answers of servers that speak nearly OpenAI's language, written as OpenAI writes them.

Whatever needs nothing is passed on as the bytes it came in: only what is odd is decoded whole.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from gateway_core.errors import Unavailable
from spl_provider_openai.tool_calls import StreamedCalls, is_whole, whole
from spl_provider_openai.view import Choice, ChunkChoice, Message

REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
"""Every finish reason of OpenAI's."""

OTHER_REASONS: Mapping[str, str] = {
    "max_tokens": "length",
    "model_length": "length",
    "max_length": "length",
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
    "content_filtered": "content_filter",
    "safety": "content_filter",
    "refusal": "content_filter",
}
"""What other servers say instead; any word that is not here is a stop."""

BROKEN_OFF = frozenset({"error", "abort", "aborted", "cancelled", "insufficient_system_resource"})
"""Said by servers whose answer is not whole."""


def finish_reason(said: str | None, *, calls: bool) -> str:
    """OpenAI's word for how an answer ended. Raises Unavailable where the server says that it broke off."""
    word = (said or "stop").lower()
    if word in BROKEN_OFF:
        raise Unavailable("ended its answer by saying that it failed")
    if word not in REASONS:
        word = OTHER_REASONS.get(word, "stop")
    return "tool_calls" if calls and word == "stop" else word


def is_plain(choice: Choice, place: int) -> bool:
    """Whether an answer is as OpenAI writes it."""
    message = choice.message
    content, calls = message.content, message.tool_calls
    if choice.index != place or message.role != "assistant" or message.reasoning is not None:
        return False
    if content is UNSET or type(content) is list:
        return False
    if calls is None:
        return choice.finish_reason in REASONS
    if not calls or content == "" or choice.finish_reason not in REASONS - {"stop"}:
        return False
    return all(is_whole(call) for call in calls)


def repaired(choice: dict[str, Any], place: int) -> dict[str, Any]:
    """An answer as OpenAI writes it."""
    index = choice.get("index")
    message = {"content": None, **choice["message"], "role": "assistant"}
    calls = [whole(call) for call in message.pop("tool_calls", None) or ()]
    _write_texts(message)
    if calls:
        message["tool_calls"] = calls
        message["content"] = message["content"] or None
    reason = finish_reason(choice.get("finish_reason"), calls=bool(calls))
    return {**choice, "index": place if index is None else index, "message": message, "finish_reason": reason}


class StreamedChoice:
    """One answer of a stream: what of it has been said."""

    __slots__ = ("begun", "calls", "finished")

    def __init__(self) -> None:
        self.begun = False
        self.finished = False
        self.calls = StreamedCalls()

    def pass_on(self, choice: ChunkChoice) -> bool:
        """Whether its part of an event is as OpenAI writes it, and is noted."""
        delta, reason = choice.delta, choice.finish_reason
        if choice.index is None or delta is None or reason is UNSET or _odd_texts(delta):
            return False
        if delta.role != (None if self.begun else "assistant"):
            return False
        if reason is not None and (self.finished or self.calls.any or reason not in REASONS):
            return False
        if delta.tool_calls is not None and not (delta.tool_calls and self.calls.pass_on(delta.tool_calls)):
            return False
        self.begun = True
        self.finished = self.finished or reason is not None
        return True

    def written_anew(self, choice: dict[str, Any], index: int) -> dict[str, Any] | None:
        """Its part of an event as OpenAI writes it; None where it says nothing that was not said before."""
        delta = dict(choice.get("delta") or {})
        delta.pop("role", None)
        calls = self.calls.written_anew(delta.pop("tool_calls", None) or ())
        _write_texts(delta)
        said = choice.get("finish_reason")
        reason = None
        if said and not self.finished:
            reason = finish_reason(said, calls=self.calls.any or bool(calls))
            calls = _joined(calls, self.calls.endings())
        if calls:
            delta["tool_calls"] = calls
        if not self.begun:
            delta = {"role": "assistant", **delta}
        elif reason is None and not any(delta.values()) and not _says_more(choice):
            return None
        self.begun = True
        self.finished = self.finished or reason is not None
        return {**choice, "index": index, "delta": delta, "finish_reason": reason}


def _says_more(choice: Mapping[str, Any]) -> bool:
    return any(value for name, value in choice.items() if name not in ("index", "delta", "finish_reason", "usage"))


def _joined(calls: list[dict[str, Any]], endings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The endings after the fragments of the same event, or in them where they are of the same call."""
    fragments = {call["index"]: call for call in calls}
    for ending in endings:
        fragment = fragments.get(ending["index"])
        if fragment is None:
            calls.append(ending)
        else:
            fragment["function"].update(ending["function"])
    return calls


def _odd_texts(message: Message) -> bool:
    """Whether its content or its reasoning are written in another server's way."""
    return message.reasoning is not None or isinstance(message.content, list)


def _write_texts(message: dict[str, Any]) -> None:
    """Content as one text, and reasoning under the one name that clients look for."""
    content = message.get("content")
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict)]
        message["content"] = "".join(_part_text(part.get("text")) for part in parts if part.get("type") != "thinking")
        thought = "".join(_part_text(part.get("thinking")) for part in parts)
        if thought and not message.get("reasoning_content"):
            message["reasoning_content"] = thought
    reasoning = message.get("reasoning")
    if reasoning is None or isinstance(reasoning, str):
        message.pop("reasoning", None)
        if reasoning and not message.get("reasoning_content"):
            message["reasoning_content"] = reasoning


def _part_text(value: Any) -> str:
    """The text of a part, which may be in parts again."""
    if isinstance(value, list):
        return "".join(_part_text(part.get("text")) for part in value if isinstance(part, dict))
    return value if isinstance(value, str) else ""
