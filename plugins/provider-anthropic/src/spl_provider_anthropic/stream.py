"""A streamed answer: each event decoded once, and written at once as OpenAI's delta."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway_core.errors import Unavailable
from gateway_core.types import Chunk, Run, Shape, Usage
from gateway_core.upstream.alike import STRING, Alike, said
from gateway_core.wire.untrusted import NONSENSE, decoded
from spl_provider_anthropic.answer import finish_reason, refusal_of, thinking_block
from spl_provider_anthropic.faults import fault_inside
from spl_provider_anthropic.request import Reply
from spl_provider_anthropic.thoughts import Thoughts
from spl_provider_anthropic.usage import Counts, Report

_CHARS_PER_TOKEN = 4
"""The estimate of what was written so far, until the provider says it."""


class _Delta(msgspec.Struct):
    type: str = ""
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    stop_reason: Any = None
    stop_details: Any = None


class _Message(msgspec.Struct):
    usage: Report | None = None


class _Event(msgspec.Struct):
    """What is looked at of any event. There is one type for all: new kinds of events may come at any time."""

    type: str
    index: int = 0
    delta: _Delta | None = None
    content_block: dict[str, Any] | None = None
    message: _Message | None = None
    usage: Report | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Event).decode
_encode = msgspec.json.Encoder().encode
_Raw = msgspec.Raw
_KNOWN = frozenset({
    "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
    "message_stop", "error",
})  # fmt: skip
_KNOWN_DELTAS = frozenset({"text_delta", "input_json_delta", "thinking_delta", "signature_delta"})
_PROBE = "\u2028 other text"
_PROBE_TOKEN = _encode(_PROBE)
_TEXT_FIELDS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
_TEXTS = {kind: re.compile(rb'"%b":\s*%b' % (field.encode(), STRING)) for kind, field in _TEXT_FIELDS.items()}
_CLOSE = b',"logprobs":null,"finish_reason":null}]'


class _Block:
    """A block that has begun and not ended."""

    __slots__ = ("answer", "call", "fields", "seen", "signature", "thinking")

    def __init__(self, fields: dict[str, Any], call: int | None = None) -> None:
        self.fields = fields
        #: The call's number among the answer's calls; None: no call, or one that stands for JSON.
        self.call = call
        #: The call that stands for JSON: its input is the content.
        self.answer = False
        #: Something of its input has come.
        self.seen = False
        self.thinking: list[str] = []
        self.signature = ""


class StreamDecoder:
    """Decodes the events of one choice's stream."""

    def __init__(self, reply: Reply, index: int = 0) -> None:
        self._reply = reply
        self._open = b'[{"index":%d,"delta":' % index
        self._content_shape = self._shape(b'{"content":', b"}")
        self._thinking_shape = self._shape(b'{"reasoning_content":', b"}")
        #: What most events of the block that is open are like, once its first delta was looked at.
        self.alike: Alike | None = None
        self._looked = False
        #: How the text that was looked at was written, and the thinking that it is a part of.
        self._said_as = self._content_shape
        self._thought: _Block | None = None
        self._counts = Counts()
        self._chars = 0
        self._started = False
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        #: Text that waits where a tool's input is to be the content: beside that, it would be no JSON any more.
        self._held: list[str] | None = [] if reply.json_tool is not None else None
        self._answered = False
        self._ended = False
        self._thoughts = Thoughts()
        #: Call → packed thinking, to be kept before this event's chunk goes out. Whoever keeps it empties it.
        self.keep: dict[str, bytes] = {}
        #: The provider has said its last word.
        self.finished = False

    def decode(self, data: bytes) -> Chunk | None:
        """One event's chunk; None for nothing to tell. Raises a ProviderFault where it is an error, or nonsense."""
        try:
            event = _decode(data)
        except NONSENSE:
            _check_unknown(data)
            return None
        kind = event.type
        if kind == "content_block_delta":
            if event.delta is None:
                raise Unavailable("sent a delta without its content")
            chunk = self._delta(event.index, event.delta)
            if chunk is not None and not self._looked:
                self._looked, self.alike = True, _alike_to(data, event, self._said_as)
            return chunk
        if kind == "content_block_start":
            self._looked, self.alike = False, None
            return self._begin(event.index, event.content_block)
        if kind == "content_block_stop":
            self._looked, self.alike = False, None
            return self._end(event.index)
        if kind == "message_start":
            return self._start(event.message)
        if kind == "message_delta":
            return self._finish(event)
        if kind == "message_stop":
            self.finished = True
            return None if self._ended else self._last({}, "stop", None)
        if kind == "error":
            raise fault_inside(event.error)
        return None

    def run(self, tokens: Sequence[bytes]) -> Run | None:
        """The events with these tokens, which are `alike`; None where they must be decoded one by one."""
        texts = said(tokens)
        if texts is None or self.alike is None:
            return None
        self._chars += sum(map(len, texts))
        if self._thought is not None:
            self._thought.thinking += texts
        return Run(self.alike.shape, list(map(_encode, texts)), texts, self._so_far())

    # ------------------------------------------------------------ chunks

    def _shape(self, opening: bytes, closing: bytes) -> Shape:
        return Shape(self._open + opening, closing + _CLOSE)

    def _chunk(self, delta: bytes, text: str = "") -> Chunk:
        self._chars += len(text)
        return Chunk(
            choices=_Raw(b"%b%b%b" % (self._open, delta, _CLOSE)),
            texts=(text,) if text else (),
            usage=self._so_far(),
        )

    def _said(self, text: str, shape: Shape, thought: _Block | None = None) -> Chunk:
        """One text and nothing else, as every delta is that says anything."""
        if not self._looked:  # what is alike to this delta is said as it is, whatever comes between them
            self._said_as, self._thought = shape, thought
        self._chars += len(text)
        return Chunk(
            choices=_Raw(b"%b%b%b" % (shape.before, _encode(text), shape.after)), texts=(text,), usage=self._so_far()
        )

    def _delta(self, index: int, delta: _Delta) -> Chunk | None:
        return self._text(delta.text) if delta.type == "text_delta" else self._other_delta(index, delta)

    def _text(self, text: str | None) -> Chunk | None:
        if not text:
            return None
        if not self._started:
            raise _out_of_turn()
        if self._held is not None:
            self._held.append(text)
            return None
        return self._said(text, self._content_shape)

    def _so_far(self) -> Usage | None:
        """The prompt as it was counted, and an estimate of the output: what a stream that is cut now is billed by."""
        counts = self._counts
        if not counts.prompt:
            return None
        output = self._chars // _CHARS_PER_TOKEN + 1
        return Usage(counts.prompt, output, counts.cached, counts.written, 0, True)

    # ------------------------------------------------------------ events

    def _start(self, message: _Message | None) -> Chunk | None:
        if self._started:
            return None
        self._started = True
        if message is not None and message.usage is not None:
            self._counts.note(message.usage)
        return self._chunk(b'{"role":"assistant","content":"","refusal":null}')

    def _begin(self, index: int, fields: dict[str, Any] | None) -> Chunk | None:
        if not self._started:
            raise _out_of_turn()
        if fields is None:
            raise Unavailable("began a block without its content")
        kind = fields.get("type")
        block = self._blocks[index] = _Block(fields)
        if kind == "tool_use":
            return self._begin_call(block, fields)
        if kind == "text":
            given = fields.get("text")
            return self._text(given if isinstance(given, str) else None)
        if kind == "thinking":
            return self._thinking(block, fields.get("thinking"))
        return None

    def _begin_call(self, block: _Block, fields: dict[str, Any]) -> Chunk | None:
        call_id, name = fields.get("id"), fields.get("name")
        if not isinstance(call_id, str) or not isinstance(name, str) or not call_id:
            raise Unavailable("called a tool without a name or an id")
        if name == self._reply.json_tool:
            block.answer = not self._answered  # one is the answer; a second would be no JSON after it
            self._answered = True
            return None
        block.call = self._calls
        self._calls += 1
        packed = self._thoughts.before_call()
        if packed is not None:
            self.keep[call_id] = packed
        before = self._released()
        content = b'"content":%b,' % _encode(before) if before else b""
        if self._reply.legacy:
            return self._chunk(b'{%b"function_call":{"name":%b,"arguments":""}}' % (content, _encode(name)), before)
        return self._chunk(
            b'{%b"tool_calls":[{"index":%d,"id":%b,"type":"function","function":{"name":%b,"arguments":""}}]}'
            % (content, block.call, _encode(call_id), _encode(name)),
            before,
        )

    def _released(self) -> str:
        """The text that waited, where no answer in JSON has come."""
        held, self._held = self._held, None if self._held is None else []
        return "" if not held or self._answered else "".join(held)

    def _other_delta(self, index: int, delta: _Delta) -> Chunk | None:
        block = self._blocks.get(index)
        if block is None:
            if delta.type in _KNOWN_DELTAS:
                raise _out_of_turn()
            return None
        if delta.type == "input_json_delta":
            return self._input(block, delta.partial_json) if block.fields.get("type") == "tool_use" else None
        if delta.type == "thinking_delta":
            return self._thinking(block, delta.thinking)
        if delta.type == "signature_delta":
            block.signature += delta.signature or ""
        return None

    def _input(self, block: _Block, piece: str | None) -> Chunk | None:
        if not piece:
            return None
        block.seen = True
        if block.call is None:
            return self._said(piece, self._content_shape) if block.answer else None
        if self._reply.legacy:
            return self._said(piece, self._shape(b'{"function_call":{"arguments":', b"}}"))
        opening = b'{"tool_calls":[{"index":%d,"function":{"arguments":' % block.call
        return self._said(piece, self._shape(opening, b"}}]}"))

    def _thinking(self, block: _Block, text: Any) -> Chunk | None:
        if not isinstance(text, str) or not text:
            return None
        block.thinking.append(text)
        return self._said(text, self._thinking_shape, block)

    def _end(self, index: int) -> Chunk | None:
        block = self._blocks.pop(index, None)
        if block is None:
            return None
        kind = block.fields.get("type")
        if kind == "tool_use":
            return None if block.seen else self._input(block, _encode(block.fields.get("input") or {}).decode())
        if kind not in ("thinking", "redacted_thinking"):
            return None
        signature = block.signature or block.fields.get("signature")
        whole = thinking_block({**block.fields, "thinking": "".join(block.thinking), "signature": signature})
        if whole is None:
            return None
        at = len(self._thoughts.all)
        self._thoughts.add(whole)
        # With an index, as everything in a list has that clients put together from deltas.
        return self._chunk(b'{"thinking_blocks":[%b]}' % _encode({"index": at, **whole}))

    def _finish(self, event: _Event) -> Chunk | None:
        if not self._started:
            raise _out_of_turn()
        usage = self._so_far()
        if event.usage is not None:
            self._counts.note(event.usage)
            usage = self._counts.usage()
        delta = event.delta
        if delta is None or delta.stop_reason is None:
            return Chunk(usage=usage)
        reason = finish_reason(delta.stop_reason, self._reply, called=self._calls > 0)
        refusal = refusal_of(delta.stop_reason, delta.stop_details)
        return self._last({"refusal": refusal} if refusal else {}, reason, usage)

    def _last(self, delta: dict[str, str], reason: str, usage: Usage | None) -> Chunk:
        self._ended = True
        text = self._released()
        if text:
            delta["content"] = text
        return Chunk(
            choices=_Raw(b'%b%b,"logprobs":null,"finish_reason":%b}]' % (self._open, _encode(delta), _encode(reason))),
            texts=(text,) if text else (),
            finish=True,
            usage=usage,
        )


def _alike_to(data: bytes, event: _Event, shape: Shape) -> Alike | None:
    """What is alike to a delta that says one text; None where the text's place is not found for certain: another text
    that is put there must be read as this delta with that text."""
    delta = event.delta
    found = _TEXTS[delta.type].search(data) if delta is not None else None
    if delta is None or found is None or b"\n" in data or b"\r" in data:
        return None
    at, end = found.span(1)
    try:
        other = _decode(data[:at] + _PROBE_TOKEN + data[end:])
    except NONSENSE:
        return None
    setattr(delta, _TEXT_FIELDS[delta.type], _PROBE)  # it has said what it had to
    return Alike(data[:at], data[end:], shape) if other == event else None


def _out_of_turn() -> Unavailable:
    return Unavailable("sent an event before the one that it belongs to")


def _check_unknown(data: bytes) -> None:
    """An event that does not fit: nothing, where it is of a kind that nobody knows. Else raises Unavailable."""
    fields = decoded(data)
    kind = fields.get("type") if isinstance(fields, dict) else None
    if not isinstance(kind, str) or not isinstance(fields, dict):
        raise Unavailable("sent an event that is no JSON of its kind")
    if kind == "error":
        raise fault_inside(fields.get("error"))
    if kind == "content_block_delta":
        delta = fields.get("delta")
        known = not isinstance(delta, dict) or delta.get("type") in _KNOWN_DELTAS
    else:
        known = kind in _KNOWN
    if known:
        raise Unavailable("sent an event that is no JSON of its kind")
