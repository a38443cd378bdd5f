"""A stream's events as chunks: one decode and one encode each, or one for a run of those that are alike. Nothing is
held back but the end.

The API may say STOP in an event that is not the last one, so that the finish reasons are given when the stream ends.
"""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Raw, Struct

from gateway_core.errors import Unavailable
from gateway_core.types import Chunk, Run, Usage
from gateway_core.upstream.event_chunks import UNFINISHED
from gateway_core.wire.untrusted import NONSENSE
from spl_provider_gemini.alike import Alike, alike_to
from spl_provider_gemini.answer import (
    Answer,
    Candidate,
    arguments_of,
    call_id,
    decode_answer,
    finish_of,
    logprobs_of,
    signed,
    text_part,
    usage_of,
)
from spl_provider_gemini.completion import blocked
from spl_provider_gemini.faults import fault_inside
from spl_provider_gemini.given import Json

_DONE = b"[DONE]"
"""What servers that stand before the API may end a stream with: Google itself does not."""

_TRIES = 3
"""How often a stream's events may turn out to be unlike each other."""

_encode = msgspec.json.Encoder().encode


class _Choice(Struct):
    """One of the answers, as far as it has come."""

    calls: int = 0
    finish: str | None = None


class StreamDecoder:
    """Decodes the events of one stream. `signatures` has those of the calls of the last events, by their ids: to be
    kept, and forgotten here, before a client reads the chunks."""

    def __init__(self, wanted: int, renamed: Mapping[str, str], secret: str | None = None) -> None:
        """`secret`: our key, which no client may read."""
        self._wanted = wanted
        self._renamed = renamed
        self._secret = secret
        self._choices: dict[int, _Choice] = {}
        self._blocked = False
        #: Counted before anything was said.
        self._early: Usage | None = None
        #: What most of its events are like, and how often that may still be looked for.
        self._alike: Alike | None = None
        self._tries = _TRIES
        self.signatures: dict[str, bytes] = {}

    def decode(self, data: bytes) -> Chunk | None:
        """One event; None for one that says nothing yet, so that a failure after it is still one before the answer
        began. Raises a ProviderFault where it is an error, or nonsense."""
        try:
            event = decode_answer(data)
        except NONSENSE:
            if data == _DONE:
                return None
            raise Unavailable("sent an event that is no generateContent response") from None
        if event.error is not None:
            raise fault_inside(event.error, begun=bool(self._choices), secret=self._secret)
        usage = None if event.usage_metadata is None else usage_of(event.usage_metadata)
        if not event.candidates:
            self._blocked = self._blocked or blocked(event)
            if self._choices:
                return Chunk(usage=usage)
            self._early = usage or self._early
            return None
        if self._early is not None:
            usage, self._early = usage or self._early, None
        first = event.candidates[0]
        if len(event.candidates) == 1 and (part := text_part(first)) is not None and part.text:
            # what nearly every event of a stream is
            self._look_for_alike(data, event, first.index or 0)
            return Chunk(self._said(first.index or 0, part.text), (part.text,), usage=usage)
        texts: list[str] = []
        pieces = b",".join(piece for one in event.candidates if (piece := self._candidate(one, texts)))
        return Chunk(choices=Raw(b"[%b]" % pieces), texts=tuple(texts), usage=usage)

    def run(self, events: Sequence[bytes], at: int) -> tuple[Run | None, int]:
        """The events from that place on that are alike, as one run; None where they must be read one by one.

        And how many they are.
        """
        return (None, 0) if self._alike is None else self._alike.run(events, at)

    def finish(self) -> list[Chunk]:
        """The stream is over: each answer's end. Raises Unavailable where one has none."""
        if not self._choices and self._blocked:
            ends = [_end(index, "content_filter", begun=False) for index in range(self._wanted)]
            return [*ends, Chunk(usage=self._early)]
        if len(self._choices) < self._wanted or any(choice.finish is None for choice in self._choices.values()):
            raise Unavailable(UNFINISHED)
        return [
            _end(index, finish_of(choice.finish or "", called=choice.calls > 0), begun=True)
            for index, choice in self._choices.items()
        ]

    def _look_for_alike(self, data: bytes, event: Answer, index: int) -> None:
        if self._tries and (self._alike is None or not self._alike.fits(data)):
            self._tries -= 1
            self._alike = alike_to(data, event, index)

    def _said(self, index: int, text: str) -> Raw:
        """The choices of an event that is a text of one answer."""
        role = b""
        if index not in self._choices:
            self._choices[index] = _Choice()
            role = b'"role":"assistant",'
        return Raw(b'[{"index":%d,"delta":{%b"content":%b},"finish_reason":null}]' % (index, role, _encode(text)))

    def _candidate(self, candidate: Candidate, texts: list[str]) -> bytes:
        """What one answer gains by the event, as a choice; b"" for nothing."""
        index = candidate.index or 0
        choice = self._choices.get(index)
        begins = choice is None
        if choice is None:
            choice = self._choices[index] = _Choice()
        if candidate.finish_reason is not None:
            choice.finish = candidate.finish_reason
        delta = self._delta(candidate, choice, texts)
        logprobs = logprobs_of(candidate.logprobs_result)
        if begins:
            delta = {"role": "assistant", **delta}
            delta.setdefault("content", None if "tool_calls" in delta else "")
        if not delta and logprobs is None:
            return b""
        said: Json = {"index": index, "delta": delta, "finish_reason": None}
        if logprobs is not None:
            said["logprobs"] = logprobs
        return _encode(said)

    def _delta(self, candidate: Candidate, choice: _Choice, texts: list[str]) -> Json:
        """Whatever an event's parts may be."""
        delta: Json = {}
        for part in (candidate.content.parts if candidate.content is not None else None) or ():
            signature = part.thought_signature
            if (call := part.function_call) is not None:
                arguments = arguments_of(call)
                function = {"name": self._renamed.get(call.name, call.name), "arguments": arguments}
                told: Json = {"index": choice.calls, "id": call_id(), "type": "function", "function": function}
                if signature:
                    told["extra_content"] = signed(signature)
                    self.signatures[told["id"]] = signature.encode()
                delta.setdefault("tool_calls", []).append(told)
                choice.calls += 1
                texts.append(arguments)
            elif part.text is not None:
                if part.text:
                    field = "reasoning_content" if part.thought else "content"
                    delta[field] = delta.get(field, "") + part.text
                    texts.append(part.text)
                if signature and not part.thought:
                    delta["extra_content"] = signed(signature)
        return delta


def _end(index: int, reason: str, *, begun: bool) -> Chunk:
    delta: Json = {} if begun else {"role": "assistant", "content": ""}
    return Chunk(
        choices=Raw(_encode([{"index": index, "delta": delta, "finish_reason": reason}])),
        finish=True,
    )
