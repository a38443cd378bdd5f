"""Answers: whole completions and the events of a stream, from types to the bytes that a client reads."""

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway_core.types import Batch, Chunk, Completion, Run, Shape, Usage

_encode = msgspec.json.Encoder().encode

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"
_EMPTY: Mapping[str, msgspec.Raw] = {}
# What we write ourselves in every answer, and in its usage: a provider's own field of that name never replaces it.
_OURS = frozenset({"id", "object", "created", "model", "choices", "usage"})
_COUNTED = frozenset({"prompt_tokens", "completion_tokens", "total_tokens", "cost_cents"})


def answer_id(provider_id: str | None, call_id: str) -> str:
    """The answer's `id`: the provider's own where it is one in OpenAI's form, else one from our call's id."""
    if provider_id is not None and provider_id.startswith("chatcmpl-") and len(provider_id) <= 128:
        return provider_id
    return "chatcmpl-" + call_id.removeprefix("req_")


def usage_object(usage: Usage, fields: Mapping[str, msgspec.Raw] | None, cost_cents: str | None) -> dict[str, Any]:
    """Usage in OpenAI's shape: the three counts are ours, details are the provider's where it gave any."""
    counts: dict[str, Any] = {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
    }
    if cost_cents is not None:
        counts["cost_cents"] = cost_cents
    if fields is None:
        counts["prompt_tokens_details"] = {"cached_tokens": usage.cached}
        counts["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    else:
        counts |= fields if _COUNTED.isdisjoint(fields) else _without(fields, _COUNTED)
    return counts


def _without(fields: Mapping[str, msgspec.Raw], ours: frozenset[str]) -> dict[str, msgspec.Raw]:
    return {name: value for name, value in fields.items() if name not in ours}


def encode_completion(
    completion: Completion,
    *,
    id: str,  # noqa: A002  # the field's own name
    model: str,
    created: int,
    usage: Usage,
    cost_cents: str | None,
) -> bytes:
    """A plain answer. `created` is in seconds, `cost_cents` exact decimal text."""
    extra = completion.extra
    answer: dict[str, Any] = {
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": completion.choices,
        "usage": usage_object(usage, completion.usage_fields, cost_cents),
        **(extra if _OURS.isdisjoint(extra) else _without(extra, _OURS)),
    }
    return _encode(answer)


EVENT_END = b"\n\n"
"""Ends each event, and stands nowhere else in one."""


def is_event(chunk: Chunk) -> bool:
    """Whether a chunk becomes an event: one without choices is only bookkeeping."""
    return bool(bytes(chunk.choices).strip(b"[] \r\n\t"))


class ChunkEncoder:
    """Writes the events of one stream: one id, one time and one model in all of them."""

    def __init__(self, id: str, model: str, created: int, *, include_usage: bool = False) -> None:  # noqa: A002  # the field's name
        self._head = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":' % (
            _encode(id),
            created,
            _encode(model),
        )
        self._tail = b',"usage":null}\n\n' if include_usage else b"}\n\n"
        # Most providers say the same in every chunk: what was written last is kept.
        self._extra: Mapping[str, msgspec.Raw] = _EMPTY
        self._end = self._tail
        # The same for runs: what stands before the first text of one, between two, and behind the last.
        self._shape: Shape | None = None
        self._open = self._between = self._close = b""

    def encode(self, batch: Batch) -> bytes:
        """The events of a batch, ready for one write. Chunks without choices are only bookkeeping: none is written."""
        pieces: list[bytes] = []
        head = self._head
        for chunk in batch:
            if isinstance(chunk, Run):
                if chunk.shape is not self._shape:
                    self._fit(chunk.shape)
                pieces += (self._open, self._between.join(chunk.tokens), self._close)
            elif chunk.texts or is_event(chunk):
                if chunk.extra is not self._extra:
                    self._note_extra(chunk.extra)
                choices = bytes(chunk.choices)
                if choices.find(10) >= 0 or choices.find(13) >= 0:  # hardly ever
                    choices = _one_line(choices)
                pieces += (head, choices, self._end)
        return b"".join(pieces)

    def _note_extra(self, extra: Mapping[str, msgspec.Raw]) -> None:
        if extra != self._extra:
            self._end = _fields(extra) + self._tail
        self._extra = extra

    def _fit(self, shape: Shape) -> None:
        self._shape = shape
        self._note_extra(shape.extra)
        self._open = self._head + shape.before
        self._close = shape.after + self._end
        self._between = self._close + self._open

    def usage(
        self,
        usage: Usage,
        cost_cents: str | None,
        *,
        fields: Mapping[str, msgspec.Raw] | None = None,
        extra: Mapping[str, msgspec.Raw] = _EMPTY,
    ) -> bytes:
        """The event with empty choices that carries the usage, the stream's last but for [DONE]."""
        body = _encode(usage_object(usage, fields, cost_cents))
        return b'%b[],"usage":%b%b}\n\n' % (self._head, _one_line(body), _fields(extra))


def error_event(body: bytes) -> bytes:
    """The event that ends a broken stream; `body` is the whole error object, one line of JSON."""
    return b"data: %b\n\n" % _one_line(body)


def _fields(extra: Mapping[str, msgspec.Raw]) -> bytes:
    """Further top-level fields, each with the comma before it."""
    return b"".join(b",%b:%b" % (_encode(name), _one_line(raw)) for name, raw in extra.items() if name not in _OURS)


def _one_line(raw: msgspec.Raw | bytes) -> bytes:
    """The JSON without line breaks, which may stand between its tokens and would end an event's line."""
    text = bytes(raw)
    return text if text.find(10) < 0 and text.find(13) < 0 else msgspec.json.format(text, indent=-1)
