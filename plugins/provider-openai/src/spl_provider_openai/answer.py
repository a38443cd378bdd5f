"""What comes back: completions and events, decoded once, with the pieces that are billed."""

from collections.abc import Iterator
from typing import Any, TypeGuard

import msgspec
from msgspec import Raw, Struct

from gateway_core.errors import Unavailable
from gateway_core.types import Chunk, Completion, Usage
from spl_provider_openai.faults import fault_inside

MOST_TOKENS = 10**9
"""A count above this is a mistake."""


class _Function(Struct):
    arguments: Any = None


class _Custom(Struct):
    input: Any = None


class _Call(Struct):
    function: _Function | None = None
    custom: _Custom | None = None


class _Message(Struct):
    """A message or a delta: what of it is billed. The types are the client's business, so they are not checked."""

    role: Any = None
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None


class _Choice(Struct):
    message: _Message
    index: int = 0
    finish_reason: str | None = None


class _ChunkChoice(Struct):
    delta: _Message | None = None
    index: int = 0
    finish_reason: str | None = None


_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_choices = msgspec.json.Decoder(list[_Choice]).decode
_chunk_choices = msgspec.json.Decoder(list[_ChunkChoice]).decode
_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_NONSENSE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_NULL = Raw(b"null")
_OURS = ("id", "object", "created", "model")
_NO_CHOICES = Raw(b"[]")


def decode_completion(body: bytes) -> Completion:
    """A plain answer. Raises a ProviderFault where it is none."""
    try:
        fields = _object(body)
        choices = fields.pop("choices", None)
        view = _choices(choices) if choices is not None else []
        usage, usage_fields = _usage(fields.pop("usage", None))
        answer_id, created = _text(fields.pop("id", None)), _whole(fields.pop("created", None))
    except _NONSENSE:
        raise Unavailable("sent an answer that is no chat completion") from None
    if choices is None or not view:
        raise Unavailable("sent an answer without choices")
    _drop_ours(fields)
    return Completion(
        choices=choices,
        usage=usage,
        texts=tuple(text for choice in view for text in _texts(choice.message)),
        usage_fields=usage_fields,
        id=answer_id,
        created=created,
        extra=fields,
    )


class ChunkDecoder:
    """Decodes the events of one stream, and knows which of its choices have finished."""

    def __init__(self) -> None:
        self._begun: set[int] = set()
        self._finished: set[int] = set()
        self._id: str | None = None
        self._created: int | None = None

    @property
    def finished(self) -> bool:
        """Every choice that began has its finish reason, and there was one."""
        return bool(self._begun) and self._begun == self._finished

    def decode(self, data: bytes) -> Chunk:
        """One event. Raises a ProviderFault where it is an error, or nonsense."""
        try:
            fields = _object(data)
            raw = fields.pop("choices", None)
            view = _chunk_choices(raw) if raw is not None and raw != _NULL else []
            usage_raw = fields.pop("usage", None)
            usage, usage_fields = (None, None) if usage_raw is None or usage_raw == _NULL else _usage(usage_raw)
            if not self._begun:
                self._id, self._created = _text(fields.get("id")), _whole(fields.get("created"))
        except _NONSENSE:
            raise Unavailable("sent an event that is no chat completion chunk") from None
        _drop_ours(fields)
        texts: tuple[str, ...] = ()
        finish = False
        for choice in view:
            if choice.index not in self._begun:
                raw = self._begin(choice, raw)
            if choice.delta is not None:
                texts += _texts(choice.delta)
            if choice.finish_reason is not None:
                finish = True
                self._finished.add(choice.index)
        return Chunk(
            choices=raw if view and raw is not None else _NO_CHOICES,
            texts=texts,
            finish=finish,
            usage=usage,
            usage_fields=usage_fields,
            id=self._id,
            created=self._created,
            extra=fields,
        )

    def _begin(self, choice: _ChunkChoice, raw: Raw | None) -> Raw | None:
        """Notes a new choice; its first delta gets the role that some servers leave out."""
        self._begun.add(choice.index)
        if raw is None or (choice.delta is not None and choice.delta.role is not None):
            return raw
        choices = _any(raw)
        for one in choices:
            if one.get("index", 0) == choice.index:
                one["delta"] = {"role": "assistant", **(one.get("delta") or {})}
                one["delta"]["role"] = "assistant"
        return Raw(_encode(choices))


def _object(data: bytes) -> dict[str, Raw]:
    """The fields of one JSON object in valid UTF-8. Raises the fault of an error that it reports."""
    if not data.isascii():
        str(data, "utf-8")  # what is passed on unread must be readable, too
    fields = _fields(data)
    error = fields.pop("error", None)
    if error is not None and error != _NULL:
        raise fault_inside(_any(error))
    return fields


def _drop_ours(fields: dict[str, Raw]) -> None:
    """Leaves only what is passed on as it is."""
    for name in _OURS:
        fields.pop(name, None)


def _texts(message: _Message) -> tuple[str, ...]:
    """Every billed piece of text in a message or a delta."""
    if (
        message.reasoning_content is None
        and message.reasoning is None
        and message.refusal is None
        and message.tool_calls is None
        and message.function_call is None
        and isinstance(message.content, str)
    ):
        return (message.content,) if message.content else ()  # what nearly every event of a stream is
    return tuple(_all_texts(message))


def _all_texts(message: _Message) -> Iterator[str]:
    """The same, whatever the message holds."""
    content = message.content
    if isinstance(content, str):
        if content:
            yield content
    elif isinstance(content, list):
        yield from (part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    reasoning = message.reasoning_content or message.reasoning
    for text in (reasoning, message.refusal):
        if isinstance(text, str) and text:
            yield text
    for call in message.tool_calls or ():
        for text in (call.function and call.function.arguments, call.custom and call.custom.input):
            if isinstance(text, str) and text:
                yield text
    if message.function_call is not None and isinstance(message.function_call.arguments, str):
        yield message.function_call.arguments


def _usage(raw: Raw | None) -> tuple[Usage | None, dict[str, Raw] | None]:
    """The usage report with the fields to pass on; (None, None) where it is missing or cannot be meant."""
    report = _any(raw) if raw is not None else None
    if raw is None or not isinstance(report, dict):
        return None, None
    input_tokens, output_tokens = report.get("prompt_tokens"), report.get("completion_tokens")
    if not _countable(input_tokens) or not _countable(output_tokens) or input_tokens == output_tokens == 0:
        return None, None
    cached, strange_cached = _part(report, "prompt_tokens_details", "cached_tokens", input_tokens)
    written, strange_written = _part(report, "prompt_tokens_details", "cache_write_tokens", input_tokens - cached)
    reasoning, strange_reasoning = _part(report, "completion_tokens_details", "reasoning_tokens", output_tokens)
    strange = strange_cached or strange_written or strange_reasoning
    usage = Usage(
        input=input_tokens,
        output=output_tokens,
        cached=cached,
        cache_write=written,
        reasoning=reasoning,
        estimated=strange,
    )
    return usage, None if strange else _fields(raw)


def _part(report: dict[str, Any], group: str, name: str, most: int) -> tuple[int, bool]:
    """A count that is a part of another, held within it; whether it had to be."""
    details = report.get(group)
    value = details.get(name) if isinstance(details, dict) else None
    if value is None:
        return 0, False
    if not _countable(value):
        return 0, True
    return min(value, most), value > most


def _countable(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS


def _text(raw: Raw | None) -> str | None:
    value = _any(raw) if raw is not None else None
    return value if isinstance(value, str) else None


def _whole(raw: Raw | None) -> int | None:
    value = _any(raw) if raw is not None else None
    return value if isinstance(value, int) and 0 <= value < 2**40 else None
