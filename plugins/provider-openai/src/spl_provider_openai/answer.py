"""What comes back: completions and events, decoded once, with the pieces that are billed."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

from gateway_core.errors import Unavailable
from gateway_core.types import Chunk, Completion, Usage
from gateway_core.upstream.alike import Alike
from gateway_core.wire.untrusted import NONSENSE
from spl_provider_openai.faults import fault_inside
from spl_provider_openai.repair import StreamedChoice, is_plain, repaired
from spl_provider_openai.template import alike_to
from spl_provider_openai.usage import Report, usage_in, usage_of
from spl_provider_openai.view import Choice, ChunkChoice, is_text_alone, message_of, texts_of

_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_choices = msgspec.json.Decoder(list[Choice]).decode
_chunk_choices = msgspec.json.Decoder(list[ChunkChoice]).decode
_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_NULL = Raw(b"null")
_OURS = ("id", "object", "created", "model")
_NO_CHOICES = Raw(b"[]")
_NO_USAGE = (None, None)
_TRIES = 3
"""How often a stream's events may turn out to be unlike each other, and a model's answers unlike OpenAI's."""
_LOOKED_AGAIN = 256
"""Answers, all unlike OpenAI's, after which they are taken to be like them again."""

_NOT_SAID = Raw(b"")
_END_OF_TIME = 2**40
Created = Annotated[int, Meta(ge=0, lt=_END_OF_TIME)]
"""Seconds since the epoch."""

_Said = tuple[Raw, tuple[str, ...], bool]
"""The choices of one chunk, the billed texts in them, and whether a finish reason is."""


class _Answer(Struct, forbid_unknown_fields=True):
    """A plain answer as OpenAI writes it: read in one pass, its choices and what it only passes on left as bytes."""

    id: str
    object: Raw
    created: Created
    model: Raw
    choices: Raw
    usage: Report
    service_tier: Raw = _NOT_SAID
    system_fingerprint: Raw = _NOT_SAID


_ordinary = msgspec.json.Decoder(_Answer).decode


class Completions:
    """Decodes a model's plain answers. Nearly all that one server writes are alike: where three in a row were not as
    OpenAI writes them, the next ones are not read as if they were, up to one now and then."""

    __slots__ = ("_odd",)

    def __init__(self) -> None:
        #: Answers since the last ordinary one, or since one was last looked for.
        self._odd = 0

    def decode(self, body: bytes, secret: str | None) -> Completion:
        """As `decode_completion`."""
        if self._odd < _TRIES:
            completion = _ordinary_completion(body)
            if completion is not None:
                self._odd = 0
                return completion
        self._odd = (self._odd + 1) % _LOOKED_AGAIN
        return decode_any_completion(body, secret)


def decode_completion(body: bytes, secret: str | None = None) -> Completion:
    """A plain answer. Raises a ProviderFault where it is none; `secret`, our key, stands in none of its words."""
    return Completions().decode(body, secret)


def _ordinary_completion(body: bytes) -> Completion | None:
    """A plain answer as OpenAI writes it, in one pass; None where it is not one."""
    try:
        answer = _ordinary(_readable(body))
        counted, view = usage_in(answer.usage), _choices(answer.choices)
    except NONSENSE:
        return None
    if counted is None or len(view) != 1 or not is_plain(view[0], 0):
        return None
    extra: dict[str, Raw] = {}
    if answer.service_tier is not _NOT_SAID:
        extra["service_tier"] = answer.service_tier
    if answer.system_fingerprint is not _NOT_SAID:
        extra["system_fingerprint"] = answer.system_fingerprint
    usage, fields = counted
    return Completion(answer.choices, usage, texts_of(view[0].message), fields, answer.id, answer.created, extra)


def decode_any_completion(body: bytes, secret: str | None = None) -> Completion:
    """The same, whatever the server wrote."""
    try:
        fields = _object(body, secret, begun=False)
        raw = fields.pop("choices", None)
        view = _choices(raw) if raw is not None else []
        usage, usage_fields = _usage(fields.pop("usage", None), view)
        answer_id, created = _id(fields.get("id", _NULL)), _created(fields.get("created", _NULL))
    except NONSENSE:
        raise Unavailable("sent an answer that is no chat completion") from None
    if raw is None or not view:
        raise Unavailable("sent an answer without choices")
    texts: tuple[str, ...] = ()
    for place, choice in enumerate(view):
        if not is_plain(choice, place):
            raw, texts = _repaired(raw)
            break
        texts += texts_of(choice.message)
    _drop_ours(fields)
    return Completion(raw, usage, texts, usage_fields, answer_id, created, fields)


def _repaired(raw: Raw) -> tuple[Raw, tuple[str, ...]]:
    """The choices as OpenAI writes them, and the billed texts in them."""
    choices = [repaired(choice, place) for place, choice in enumerate(_any(raw))]
    texts = [text for choice in choices for text in texts_of(message_of(choice["message"]))]
    return Raw(_encode(choices)), tuple(texts)


class ChunkDecoder:
    """Decodes the events of one stream, and knows which of its choices have finished."""

    def __init__(self, secret: str | None = None) -> None:
        self._secret = secret
        self._answers: dict[int, StreamedChoice] = {}
        self._id: str | None = None
        self._created: int | None = None
        #: What most of its events are like, and how often that may still be looked for.
        self.alike: Alike | None = None
        self._tries = _TRIES

    @property
    def finished(self) -> bool:
        """Every choice that began has its finish reason, and there was one."""
        return bool(self._answers) and all(answer.finished for answer in self._answers.values())

    def decode(self, data: bytes) -> list[Chunk]:
        """One event: a chunk for each choice in it, or one without any. Raises a ProviderFault where it is an error,
        or nonsense."""
        try:
            fields = _object(data, self._secret, begun=bool(self._answers))
            raw = fields.pop("choices", None)
            view = _chunk_choices(raw) if raw is not None and raw != _NULL else []
            usage, usage_fields = _usage(fields.pop("usage", None), view)
            if not self._answers:
                self._id, self._created = _id(fields.get("id", _NULL)), _created(fields.get("created", _NULL))
        except NONSENSE:
            raise Unavailable("sent an event that is no chat completion chunk") from None
        _drop_ours(fields)
        if len(view) == 1 and raw is not None:
            choice = view[0]
            if self._answer(choice.index or 0).pass_on(choice):
                texts = texts_of(choice.delta) if choice.delta is not None else ()
                finish = choice.finish_reason is not None
                if self._tries and usage is None and is_text_alone(choice):
                    self._look_for_alike(data, bytes(raw), choice, fields)
                return [Chunk(raw, texts, finish, usage, usage_fields, self._id, self._created, fields)]
        said = self._written_anew(raw) if raw is not None and view else []
        *before, (choices, texts, finish) = said or [(_NO_CHOICES, (), False)]
        chunks = [Chunk(*one, None, None, self._id, self._created, fields) for one in before]
        chunks.append(Chunk(choices, texts, finish, usage, usage_fields, self._id, self._created, fields))
        return chunks

    def _look_for_alike(self, data: bytes, choices: bytes, choice: ChunkChoice, fields: dict[str, Raw]) -> None:
        if self.alike is None or not self.alike.tokens((data,)):
            self._tries -= 1
            self.alike = alike_to(data, choices, choice, fields)

    def _written_anew(self, raw: Raw) -> list[_Said]:
        """The event's choices as OpenAI writes them, one by one."""
        said: list[_Said] = []
        for choice in _any(raw):
            index = choice.get("index") or 0
            anew = self._answer(index).written_anew(choice, index)
            if anew is not None:
                texts = texts_of(message_of(anew["delta"]))
                said.append((Raw(_encode([anew])), texts, anew["finish_reason"] is not None))
        return said

    def _answer(self, index: int) -> StreamedChoice:
        answer = self._answers.get(index)
        if answer is None:
            answer = self._answers[index] = StreamedChoice()
        return answer


def _object(data: bytes, secret: str | None, *, begun: bool) -> dict[str, Raw]:
    """The fields of one JSON object in valid UTF-8. Raises the fault of an error that it reports."""
    fields = _fields(_readable(data))
    error = fields.pop("error", None)
    if error is not None and error != _NULL:
        raise fault_inside(_any(error), begun=begun, secret=secret)
    if "choices" not in fields and fields.get("object") == b'"error"':
        raise fault_inside(_any(data), begun=begun, secret=secret)
    return fields


def _readable(data: bytes) -> bytes:
    """The same; raises where it is no UTF-8: what is passed on unread must be readable, too."""
    if not data.isascii():
        str(data, "utf-8")
    return data


def _drop_ours(fields: dict[str, Raw]) -> None:
    """Leaves only what is passed on as it is."""
    for name in _OURS:
        fields.pop(name, None)


def _usage(raw: Raw | None, view: Sequence[Choice | ChunkChoice]) -> tuple[Usage | None, dict[str, Raw] | None]:
    """The usage report, which some servers put into the last choice."""
    if raw is not None and raw != _NULL:
        return usage_of(raw)
    for choice in view:
        if isinstance(choice.usage, dict):
            return usage_of(Raw(_encode(choice.usage)))
    return _NO_USAGE


def _id(raw: Raw) -> str | None:
    value = _any(raw)
    return value if type(value) is str else None


def _created(raw: Raw) -> int | None:
    value = _any(raw)
    return value if type(value) is int and 0 <= value < _END_OF_TIME else None
