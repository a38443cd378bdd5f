"""What the Gemini upstream answers: a script for each model, right or wrong in every way that matters."""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import field

from gateway_core.testing.scripted_upstream import BaseScript

Body = Mapping[str, Any]

OVERLOADED: Body = {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}


class GeminiScript(BaseScript, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How requests for one model are answered. The default is a proper answer of a few words, or a call where one is
    demanded."""

    text: str | None = None
    words: int = 5
    #: What the model thinks first, told where it was asked to tell.
    thoughts: str | None = None
    #: Calls, by event: each {"name": …, "args": {…}}; without "args" the field is left out, as the API does.
    calls: tuple[tuple[dict[str, Any], ...], ...] = ()
    #: The first call of an answer is signed; None: by models that do so.
    signed: bool | None = None
    #: A signature on the text: an empty part after it.
    sign_text: bool = False
    finish_reason: str | None = "STOP"
    #: Early versions said STOP in every event.
    finish_everywhere: bool = False
    #: The prompt is refused for this reason: no candidates.
    block_reason: str | None = None
    #: Events that say nothing: no content, no parts, empty parts, parts and fields that nobody knows.
    oddities: bool = False
    logprobs: bool = False
    #: "proper", "none", or what to send as usageMetadata instead.
    usage: Literal["proper", "none"] | dict[str, Any] = "proper"
    #: An error object as an event, after so many events.
    error_after: int | None = None
    error: Mapping[str, Any] = field(default_factory=lambda: dict(OVERLOADED))
    line_end: Literal["\n", "\r\n", "\r"] = "\r\n"


def signature_of(text: str) -> str:
    """A signature as the API gives them: base64 of something that means nothing to us."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def words_of(script: GeminiScript) -> list[str]:
    """The answer's pieces."""
    if script.text is not None:
        return [script.text[at : at + 4] for at in range(0, len(script.text), 4)]
    return [f"{' ' if number else ''}word{number}" for number in range(script.words)]


def usage_of(script: GeminiScript, body: Body, pieces: int) -> dict[str, Any]:
    """Cumulative counts after so many pieces of each answer; a count of 0 is left out."""
    prompt = 3 + len(json.dumps(body["contents"]).split())
    thoughts = len((script.thoughts or "").split())
    output = pieces * _count(body)
    counts = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": output,
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": prompt + output + thoughts,
    }
    return {name: value for name, value in counts.items() if value}


def _count(body: Body) -> int:
    count: int = (body.get("generationConfig") or {}).get("candidateCount", 1)
    return count


def _calls(script: GeminiScript, body: Body) -> tuple[tuple[dict[str, Any], ...], ...]:
    """The scripted calls, or one where a call is demanded."""
    if script.calls:
        return script.calls
    config = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    if config.get("mode") != "ANY":
        return ()
    declared = [one["name"] for one in body["tools"][0]["functionDeclarations"]]
    name = (config.get("allowedFunctionNames") or declared)[0]
    return (({"name": name, "args": {"a": 1, "ü": "漢"}},),)


def _thoughts(script: GeminiScript, body: Body) -> list[dict[str, Any]]:
    thinking = (body.get("generationConfig") or {}).get("thinkingConfig") or {}
    return [{"text": script.thoughts, "thought": True}] if script.thoughts and thinking.get("includeThoughts") else []


def _groups(script: GeminiScript, body: Body, model: str) -> list[list[dict[str, Any]]]:
    """The parts of one answer, event by event."""
    calls = _calls(script, body)
    groups = [[part] for part in _thoughts(script, body)]
    if not calls or script.text is not None:
        groups += [[{"text": word}] for word in words_of(script)]
    if script.sign_text:
        groups.append([{"text": "", "thoughtSignature": signature_of(f"{model} text")}])
    signs = script.signed if script.signed is not None else model.startswith("gemini-3")
    first = True
    for event in calls:
        parts = []
        for call in event:
            part: dict[str, Any] = {"functionCall": call}
            if first and signs:
                part["thoughtSignature"] = signature_of(json.dumps([model, call, len(body["contents"])]))
            first = False
            parts.append(part)
        groups.append(parts)
    return groups


def signatures_in(answer: Any) -> list[str]:
    """Every signature in what was said."""
    if isinstance(answer, list):
        return [found for child in answer for found in signatures_in(child)]
    if isinstance(answer, dict):
        own = [answer["thoughtSignature"]] if "thoughtSignature" in answer else []
        return own + [found for child in answer.values() for found in signatures_in(child)]
    return []


def _event(model: str, candidates: list[dict[str, Any]], usage: dict[str, Any] | None) -> dict[str, Any]:
    event: dict[str, Any] = {"candidates": candidates} if candidates else {}
    if usage is not None:
        event["usageMetadata"] = usage
    return {**event, "modelVersion": model, "responseId": "resp-upstream"}


def _blocked(script: GeminiScript, body: Body, model: str) -> dict[str, Any]:
    feedback: dict[str, Any] = {"promptFeedback": {"blockReason": script.block_reason, "safetyRatings": []}}
    return {**feedback, **_event(model, [], _usage(script, body, 0))}


def _usage(script: GeminiScript, body: Body, pieces: int) -> dict[str, Any] | None:
    if script.usage == "none":
        return None
    return usage_of(script, body, pieces) if script.usage == "proper" else script.usage


def _logprobs(text: str) -> dict[str, Any]:
    one = {"token": text, "tokenId": 7, "logProbability": -0.25}
    other = {"token": "other", "tokenId": 8, "logProbability": -1.5}
    return {"topCandidates": [{"candidates": [one, other]}], "chosenCandidates": [one]}


def answer_of(script: GeminiScript, body: Body, model: str) -> dict[str, Any]:
    """A whole answer."""
    if script.block_reason is not None:
        return _blocked(script, body, model)
    groups = _groups(script, body, model)
    parts = [part for group in groups for part in group]
    text = "".join(part["text"] for part in parts if "text" in part and not part.get("thought"))
    if text and not script.sign_text:  # a plain answer's text is one part
        at = next(index for index, part in enumerate(parts) if "text" in part and not part.get("thought"))
        parts = [part for part in parts if "text" not in part or part.get("thought")]
        parts.insert(at, {"text": text})
    candidates = []
    for index in range(_count(body)):
        candidate: dict[str, Any] = {"index": index} if index else {}  # 0 is left out
        if parts:
            candidate["content"] = {"role": "model", "parts": parts}
        if script.finish_reason is not None:
            candidate["finishReason"] = script.finish_reason
        if script.logprobs:
            candidate["logprobsResult"] = _logprobs(text)
        candidates.append(candidate)
    return _event(model, candidates, _usage(script, body, len(groups)))


def stream_of(script: GeminiScript, body: Body, model: str) -> list[dict[str, Any]]:
    """The stream's events, several answers interleaved; the last of each has its end."""
    if script.block_reason is not None:
        return [_blocked(script, body, model)]
    groups = _groups(script, body, model) or [[]]
    events: list[dict[str, Any]] = []
    for number, parts in enumerate(groups, 1):
        for index in range(_count(body)):
            candidate: dict[str, Any] = {"index": index}
            if parts:
                candidate["content"] = {"role": "model", "parts": parts}
            if script.finish_reason is not None and (script.finish_everywhere or number == len(groups)):
                candidate["finishReason"] = script.finish_reason
            if script.logprobs and parts and "text" in parts[0]:
                candidate["logprobsResult"] = _logprobs(parts[0]["text"])
            events.append(_event(model, [candidate], _usage(script, body, number)))
        if script.oddities:
            events += _oddities(model)
    if script.error_after is not None:
        events[script.error_after :] = [{"error": script.error}]
    return events


def _oddities(model: str) -> list[dict[str, Any]]:
    unknown = {"executableCode": {"language": "PYTHON", "code": "1"}, "later": {"a": [1]}}
    found: list[dict[str, Any]] = [
        {"index": 0},
        {"index": 0, "content": {}},
        {"index": 0, "content": {"role": "model", "parts": []}},
        {"index": 0, "content": {"parts": [unknown]}, "safetyRatings": [], "later": 1},
        {"index": 0, "content": {"parts": [{"text": ""}]}, "groundingMetadata": {}, "citationMetadata": {}},
    ]
    return [_event(model, [one], None) for one in found] + [{}, {"candidates": []}, {"later": {"b": 1}}]


def encoded(script: GeminiScript, events: list[dict[str, Any]]) -> list[bytes]:
    """The events as they are written."""
    data = list(script.events) if script.events is not None else [json.dumps(one, ensure_ascii=False) for one in events]
    end = script.line_end
    before = f": comment{end}event: message{end}id: 7{end}retry: 10{end}" if script.comments else ""
    return [f"{before}data: {one}{end}{end}".encode() for one in data]
