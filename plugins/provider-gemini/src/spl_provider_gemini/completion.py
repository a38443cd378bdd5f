"""A plain answer as a completion."""

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from gateway_core.errors import Unavailable
from gateway_core.types import Completion
from gateway_core.wire.untrusted import NONSENSE
from spl_provider_gemini.answer import (
    Answer,
    Candidate,
    arguments_of,
    call_id,
    decode_answer,
    finish_of,
    logprobs_of,
    signed,
    usage_of,
)
from spl_provider_gemini.faults import fault_inside
from spl_provider_gemini.given import Json

_encode = msgspec.json.Encoder().encode


def decode_completion(
    body: bytes, wanted: int, renamed: Mapping[str, str], secret: str | None = None
) -> tuple[Completion, dict[str, bytes]]:
    """The completion, and the signatures of its calls by their ids: to be kept before a client reads them.

    `secret`: our key, which no client may read. Raises a ProviderFault where it is no answer, or has fewer choices
    than were asked for.
    """
    try:
        answer = decode_answer(body)
    except NONSENSE:
        raise Unavailable("sent an answer that is no generateContent response") from None
    if answer.error is not None:
        raise fault_inside(answer.error, begun=False, secret=secret)
    texts: list[str] = []
    signatures: dict[str, bytes] = {}
    choices = [
        _choice(place, candidate, renamed, texts, signatures) for place, candidate in enumerate(answer.candidates or ())
    ]
    choices.sort(key=lambda choice: choice["index"])
    if not choices and blocked(answer):
        choices = [_blocked(index) for index in range(wanted)]
    if len(choices) < wanted:
        raise Unavailable(f"gave {len(choices)} answers where {wanted} were asked for")
    completion = Completion(
        choices=Raw(_encode(choices)),
        usage=None if answer.usage_metadata is None else usage_of(answer.usage_metadata),
        texts=tuple(texts),
    )
    return completion, signatures


def blocked(answer: Answer) -> bool:
    """Whether the prompt was refused: then there is no candidate."""
    return answer.prompt_feedback is not None and answer.prompt_feedback.block_reason is not None


def _blocked(index: int) -> Json:
    message = {"role": "assistant", "content": "", "refusal": None}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": "content_filter"}


def _choice(
    place: int, candidate: Candidate, renamed: Mapping[str, str], texts: list[str], signatures: dict[str, bytes]
) -> Json:
    said: list[str] = []
    thoughts: list[str] = []
    calls: list[Json] = []
    message: Json = {"role": "assistant", "content": None, "refusal": None}
    for part in (candidate.content.parts if candidate.content is not None else None) or ():
        if (call := part.function_call) is not None:
            arguments = arguments_of(call)
            function = {"name": renamed.get(call.name, call.name), "arguments": arguments}
            told: Json = {"id": call_id(), "type": "function", "function": function}
            if part.thought_signature:
                told["extra_content"] = signed(part.thought_signature)
                signatures[told["id"]] = part.thought_signature.encode()
            calls.append(told)
            texts.append(arguments)
        elif part.text is not None:
            if part.thought:
                thoughts.append(part.text)
            else:
                said.append(part.text)
                if part.thought_signature:
                    message["extra_content"] = signed(part.thought_signature)
            if part.text:
                texts.append(part.text)
    if said or not calls:
        message["content"] = "".join(said)
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    return {
        "index": candidate.index if candidate.index is not None else place,
        "message": message,
        "logprobs": logprobs_of(candidate.logprobs_result),
        "finish_reason": finish_of(candidate.finish_reason or "STOP", called=bool(calls)),
    }
