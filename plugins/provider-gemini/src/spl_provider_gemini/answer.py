"""What comes back: the types of an answer, and the pieces of it in OpenAI's form."""

import secrets
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from gateway_core.errors import Unavailable
from gateway_core.types import Usage
from gateway_core.wire.untrusted import NONSENSE, is_count
from spl_provider_gemini.given import Json

_REFUSED = (
    "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR",
)  # fmt: skip
FINISH: Mapping[str, str] = {"MAX_TOKENS": "length", **dict.fromkeys(_REFUSED, "content_filter")}
"""finishReason → finish_reason; any other, unknown ones too, is a stop."""


class FunctionCall(Struct):
    name: str = ""
    args: Raw = Raw(b"")


class Part(Struct, rename="camel"):
    """One part of an answer. Those without text or call, e.g. code that was run for us, say nothing to a client."""

    text: str | None = None
    thought: bool | None = None
    function_call: FunctionCall | None = None
    thought_signature: str | None = None


class Content(Struct):
    parts: list[Part] | None = None


class Candidate(Struct, rename="camel"):
    """One answer, or a piece of one: nothing of it needs to be there."""

    index: int | None = None
    content: Content | None = None
    finish_reason: str | None = None
    logprobs_result: Any = None


class PromptFeedback(Struct, rename="camel"):
    block_reason: str | None = None


class UsageMetadata(Struct, rename="camel"):
    """Cumulative counts. What is 0 is left out."""

    prompt_token_count: Any = None
    candidates_token_count: Any = None
    thoughts_token_count: Any = None
    cached_content_token_count: Any = None
    tool_use_prompt_token_count: Any = None


class Answer(Struct, rename="camel"):
    """A whole answer, or one event of a stream: they are of one type."""

    candidates: list[Candidate] | None = None
    usage_metadata: UsageMetadata | None = None
    prompt_feedback: PromptFeedback | None = None
    error: Any = None


decode_answer = msgspec.json.Decoder(Answer).decode
_NO_ARGUMENTS = (b"null", b"")


def text_part(candidate: Candidate) -> Part | None:
    """The one part of a piece of an answer that is a text and nothing else, its end least of all."""
    content = candidate.content
    parts = content.parts if content is not None else None
    if not parts or len(parts) > 1 or candidate.finish_reason is not None or candidate.logprobs_result is not None:
        return None
    part = parts[0]
    plain = part.text and not part.thought and part.thought_signature is None and part.function_call is None
    return part if plain else None


def usage_of(counts: UsageMetadata) -> Usage | None:
    """The counts in OpenAI's classes; None where they cannot be meant.

    The prompt's count has what was cached in it; what tools read, and what was thought, come on top.
    """
    prompt, spoken = counts.prompt_token_count, counts.candidates_token_count or 0
    thought, read = counts.thoughts_token_count or 0, counts.tool_use_prompt_token_count or 0
    if not is_count(prompt) or not is_count(spoken):
        return None
    if (thought and not is_count(thought)) or (read and not is_count(read)):
        return None
    cached = counts.cached_content_token_count or 0
    believed = not cached or is_count(cached)
    return Usage(
        input=prompt + read,
        output=spoken + thought,
        cached=min(cached, prompt) if cached and believed else 0,
        reasoning=thought,
        estimated=not believed or cached > prompt,
    )


def finish_of(reason: str, *, called: bool) -> str:
    """OpenAI's word for the end of one answer. The API says STOP where it calls functions."""
    found = FINISH.get(reason, "stop")
    return "tool_calls" if called and found == "stop" else found


def call_id() -> str:
    """An id for a tool call: the API gives none that is unique."""
    return "call_" + secrets.token_hex(12)


def arguments_of(call: FunctionCall) -> str:
    """A call's arguments as JSON text. Raises Unavailable where that is no text, or the call is of nothing."""
    if not call.name:
        raise Unavailable("sent a call without a name")
    written = bytes(call.args)
    if written in _NO_ARGUMENTS:
        return "{}"
    try:
        return msgspec.json.format(written, indent=-1).decode()
    except NONSENSE:
        raise Unavailable("sent a call whose arguments are no text") from None


def signed(signature: str) -> Json:
    """A signature where Google's own OpenAI-compatible endpoint has it."""
    return {"google": {"thought_signature": signature}}


def logprobs_of(result: Any) -> Json | None:
    """Token probabilities in OpenAI's form; None where there are none."""
    chosen = result.get("chosenCandidates") if isinstance(result, dict) else None
    if not isinstance(chosen, list):
        return None
    tops = result.get("topCandidates")
    tops = tops if isinstance(tops, list) else []
    content = []
    for at, token in enumerate(chosen):
        others = tops[at].get("candidates") if at < len(tops) and isinstance(tops[at], dict) else None
        content.append({**_token(token), "top_logprobs": [_token(other) for other in others or ()]})
    return {"content": content, "refusal": None}


def _token(token: Any) -> Json:
    fields = token if isinstance(token, dict) else {}
    text = fields.get("token")
    text = text if isinstance(text, str) else ""
    return {"token": text, "logprob": fields.get("logProbability", 0.0), "bytes": list(text.encode())}
