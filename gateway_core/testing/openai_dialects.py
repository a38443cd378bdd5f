"""How servers that call themselves compatible write their answers, each with what it means in OpenAI's own words.

A dialect has the data of a stream's events (or a plain body), and what a client must read of it. Every one was seen
in the wild, in servers' sources or in reports of clients' breaking on them.
"""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway_core.types import Usage

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
COUNTED = Usage(9, 4)


class Meaning(msgspec.Struct, frozen=True):
    """What a client must read."""

    content: str = ""
    reasoning: str = ""
    #: (name, arguments) of each call, in order.
    calls: tuple[tuple[str, str], ...] = ()
    finish_reason: str = "stop"
    usage: Usage | None = COUNTED


class Dialect(msgspec.Struct, frozen=True):
    """One way to write an answer."""

    name: str
    meaning: Meaning
    #: The data of the stream's events.
    events: tuple[str, ...] = ()
    #: The plain answer, where this is about one.
    body: str | None = None


def _event(delta: Any, reason: Any = None, **top: Any) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return json.dumps({"id": "x", "object": "chat.completion.chunk", "choices": [choice], **top})


def _counts(usage: Any = USAGE) -> str:
    return json.dumps({"id": "x", "choices": [], "usage": usage})


def _calls(*fragments: Any) -> str:
    return _event({"tool_calls": list(fragments)})


def _f(name: Any = None, arguments: Any = None, **more: Any) -> dict[str, Any]:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {**more, "function": function}


def _stream(name: str, meaning: Meaning, *events: str, done: bool = True) -> Dialect:
    return Dialect(name, meaning, (*events, "[DONE]") if done else events)


_HI = Meaning("naïve 漢😀")
_ROLE = _event({"role": "assistant", "content": ""})
_STOP = _event({}, "stop")
_ONE = Meaning(calls=(("f", '{"a": 1}'),), finish_reason="tool_calls")
_TWO = Meaning(calls=(("f", '{"a": 1}'), ("g", '{"b": 2}')), finish_reason="tool_calls")
_TWICE = Meaning(calls=(("f", '{"a": 1}'), ("f", '{"a": 1}')), finish_reason="tool_calls")

TEXTS: Sequence[Dialect] = (
    _stream("OpenAI's own", _HI, _ROLE, _event({"content": "naïve "}), _event({"content": "漢😀"}), _STOP, _counts()),
    _stream("no role at all", _HI, _event({"content": "naïve "}), _event({"content": "漢😀"}), _STOP, _counts()),
    _stream(
        "the role in every delta",
        _HI,
        *(_event({"role": "assistant", "content": piece}) for piece in ("naïve ", "漢", "😀")),
        _event({"role": "assistant", "content": ""}, "stop"),
        _counts(),
    ),
    _stream(
        "null in every field",
        _HI,
        _event({"role": "assistant", "content": None, "tool_calls": None, "refusal": None, "reasoning": None}),
        _event({"content": "naïve 漢😀", "tool_calls": None, "function_call": None, "reasoning_content": None}),
        _event({"content": None, "role": None}, "stop", usage=None),
        _counts(),
    ),
    _stream("null for a delta", _HI, _event({"content": "naïve 漢😀"}), _event(None, "stop"), _counts()),
    _stream("empty lists of calls", _HI, _event({"content": "naïve 漢😀", "tool_calls": []}), _STOP, _counts()),
    _stream("an empty finish_reason", _HI, _event({"content": "naïve 漢😀"}, ""), _STOP, _counts()),
    _stream("no finish_reason field", _HI, '{"choices":[{"delta":{"content":"naïve 漢😀"}}]}', _STOP, _counts()),
    _stream("two ends", _HI, _event({"content": "naïve 漢😀"}), _STOP, _event({"content": ""}, "stop", usage=USAGE)),
    _stream("usage with the end", _HI, _event({"content": "naïve 漢😀"}), _event({}, "stop", usage=USAGE)),
    _stream(
        "usage in every chunk, cumulative",
        _HI,
        _event({"content": "naïve "}, usage={"prompt_tokens": 9, "completion_tokens": 1}),
        _event({"content": "漢😀"}, usage={"prompt_tokens": 9, "completion_tokens": 3}),
        _event({}, "stop", usage=USAGE),
    ),
    _stream(
        "usage in the last choice",
        _HI,
        _event({"content": "naïve 漢😀"}),
        json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": USAGE}]}),
    ),
    _stream("no usage", msgspec.structs.replace(_HI, usage=None), _event({"content": "naïve 漢😀"}), _STOP),
    _stream("no [DONE]", _HI, _event({"content": "naïve 漢😀"}), _STOP, _counts(), done=False),
    _stream(
        "a first event without choices",
        _HI,
        json.dumps({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}),
        _ROLE,
        _event({"content": "naïve 漢😀"}),
        _STOP,
        _counts(),
    ),
    _stream("another word for the end", _HI, _event({"content": "naïve 漢😀"}), _event({}, "eos_token"), _counts()),
    _stream(
        "another word for the limit",
        msgspec.structs.replace(_HI, finish_reason="length"),
        _event({"content": "naïve 漢😀"}, "MAX_TOKENS"),
        _counts(),
    ),
    _stream(
        "reasoning_content",
        msgspec.structs.replace(_HI, reasoning="hm, so"),
        _event({"role": "assistant", "reasoning_content": "hm, "}),
        _event({"reasoning_content": "so"}),
        _event({"content": "naïve 漢😀"}, "stop"),
        _counts(),
    ),
    _stream(
        "reasoning",
        msgspec.structs.replace(_HI, reasoning="hm, so"),
        _event({"role": "assistant", "reasoning": "hm, "}),
        _event({"reasoning": "so", "content": ""}),
        _event({"content": "naïve 漢😀", "reasoning": None}, "stop"),
        _counts(),
    ),
    _stream(
        "reasoning under both names",
        msgspec.structs.replace(_HI, reasoning="hm"),
        _event({"role": "assistant", "reasoning": "hm", "reasoning_content": "hm"}),
        _event({"content": "naïve 漢😀"}, "stop"),
        _counts(),
    ),
    _stream(
        "content in parts, thoughts among them",
        msgspec.structs.replace(_HI, reasoning="hm"),
        _event({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}),
        _event({"content": [{"type": "text", "text": "naïve "}, {"type": "reference", "reference_ids": [1]}]}),
        _event({"content": "漢😀"}, "stop"),
        _counts(),
    ),
    _stream(
        "reasoning counted apart",
        msgspec.structs.replace(_HI, usage=Usage(9, 7, reasoning=3)),
        _event({"content": "naïve 漢😀"}, "stop"),
        _counts({**USAGE, "total_tokens": 16, "completion_tokens_details": {"reasoning_tokens": 3}}),
    ),
    _stream(
        "cached tokens under another name",
        msgspec.structs.replace(_HI, usage=Usage(9, 4, cached=5)),
        _event({"content": "naïve 漢😀"}, "stop"),
        _counts({**USAGE, "prompt_cache_hit_tokens": 5, "prompt_cache_miss_tokens": 4}),
    ),
)

TOOLS: Sequence[Dialect] = (
    _stream(
        "calls in OpenAI's own way",
        _TWO,
        _event({"role": "assistant", "content": None}),
        _calls(_f("f", "", index=0, id="call_1", type="function")),
        _calls(_f(None, '{"a"', index=0)),
        _calls(_f(None, ": 1}", index=0)),
        _calls(_f("g", "", index=1, id="call_2", type="function")),
        _calls(_f(None, '{"b": 2}', index=1)),
        _event({}, "tool_calls"),
        _counts(),
    ),
    _stream(
        "interleaved",
        _TWO,
        _calls(_f("f", "", index=0, id="a", type="function"), _f("g", "", index=1, id="b", type="function")),
        _calls(_f(None, '{"a"', index=0), _f(None, '{"b"', index=1)),
        _calls(_f(None, ": 1}", index=0), _f(None, ": 2}", index=1)),
        _event({}, "tool_calls"),
        _counts(),
    ),
    _stream(
        "whole calls in one delta, without index, and stop",
        _TWO,
        _calls(_f("f", '{"a": 1}', id="a", type="function"), _f("g", '{"b": 2}', id="b", type="function")),
        _STOP,
        _counts(),
    ),
    _stream(
        "whole calls in deltas of their own, every index 0",
        _TWO,
        _calls(_f("f", '{"a": 1}', index=0, id="a", type="function")),
        _calls(_f("g", '{"b": 2}', index=0, id="b", type="function")),
        _STOP,
        _counts(),
    ),
    _stream(
        "fragments, every index 0",
        _TWICE,
        _calls(_f("f", "", index=0, id="a", type="function")),
        _calls(_f(None, '{"a": 1}', index=0)),
        _calls(_f("f", "", index=0, id="b", type="function")),
        _calls(_f(None, '{"a": 1}', index=0)),
        _event({}, "tool_calls"),
        _counts(),
    ),
    _stream(
        "the same call twice without ids, every index 0",
        _TWICE,
        _calls(_f("f", '{"a": 1}', index=0)),
        _calls(_f("f", '{"a": 1}', index=0)),
        _STOP,
        _counts(),
    ),
    _stream(
        "empty ids and no index",
        _TWO,
        _calls(_f("f", '{"a"', id="", type="function")),
        _calls(_f(None, ": 1}", id="")),
        _calls(_f("g", '{"b": 2}', id="", type="function")),
        _STOP,
        _counts(),
    ),
    _stream(
        "id, type and name in every fragment",
        _ONE,
        _calls(_f("f", '{"a"', index=0, id="a", type="function")),
        _calls(_f("f", ": 1}", index=0, id="a", type="function")),
        _event({}, "tool_calls"),
        _counts(),
    ),
    _stream(
        "name in every fragment, without id",
        _ONE,
        _calls(_f("f", '{"a"', index=0)),
        _calls(_f("f", ": 1}", index=0)),
        _STOP,
        _counts(),
    ),
    _stream(
        "another id in every fragment",
        _ONE,
        _calls(_f("f", '{"a"', index=0, id="a", type="function")),
        _calls(_f(None, ": 1}", index=0, id="b", type="function")),
        _STOP,
        _counts(),
    ),
    _stream(
        "the name after the id",
        _ONE,
        _calls({"index": 0, "id": "a", "type": "function", "function": {"name": None, "arguments": None}}),
        _calls(_f("f", '{"a": 1}', index=0)),
        _STOP,
        _counts(),
    ),
    _stream(
        "arguments as an object",
        Meaning(calls=(("f", '{"a":1}'),), finish_reason="tool_calls"),
        _calls(_f("f", {"a": 1}, index=0, id="a")),
        _STOP,
        _counts(),
    ),
    _stream(
        "no arguments",
        Meaning(calls=(("f", "{}"), ("g", "{}")), finish_reason="tool_calls"),
        _calls(_f("f", "", index=0, id="a", type="function")),
        _calls(_f("g", None, index=1, id="b", type="function")),
        _event({}, "tool_calls"),
        _counts(),
    ),
    _stream(
        "calls and the end in one event",
        Meaning(calls=(("f", "{}"),), finish_reason="tool_calls"),
        _event({"tool_calls": [_f("f", "", index=0, id="a", type="function")]}, "stop", usage=USAGE),
    ),
    _stream(
        "text, then a call whose index counts both",
        Meaning("so: ", calls=(("f", '{"a": 1}'),), finish_reason="tool_calls"),
        _event({"content": "so: "}),
        _calls(_f("f", '{"a": 1}', index=1, id="a", type="function")),
        _STOP,
        _counts(),
    ),
)


def _plain(name: str, meaning: Meaning, message: Any, reason: Any = "stop", **top: Any) -> Dialect:
    choice = {"index": 0, "message": message, "finish_reason": reason}
    fields = {"id": "x", "object": "chat.completion", "choices": [choice], "usage": USAGE, **top}
    return Dialect(name, meaning, body=json.dumps(fields))


_F = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}

PLAIN: Sequence[Dialect] = (
    _plain("OpenAI's own", _HI, {"role": "assistant", "content": "naïve 漢😀"}),
    _plain("without role and calls", _HI, {"content": "naïve 漢😀", "tool_calls": []}),
    _plain("null in every field", _HI, {"role": None, "content": "naïve 漢😀", "tool_calls": None, "refusal": None}),
    _plain("no end", _HI, {"role": "assistant", "content": "naïve 漢😀"}, None),
    _plain("another word for the end", _HI, {"role": "assistant", "content": "naïve 漢😀"}, "end_turn"),
    _plain("nothing", Meaning(), {"role": "assistant", "content": ""}),
    _plain("not even content", Meaning(), {"role": "assistant"}),
    _plain(
        "reasoning",
        msgspec.structs.replace(_HI, reasoning="hm"),
        {"role": "assistant", "content": "naïve 漢😀", "reasoning": "hm"},
    ),
    _plain(
        "parts",
        msgspec.structs.replace(_HI, reasoning="hm"),
        {"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "naïve 漢😀"}]},
    ),
    _plain("a call", _ONE, {"role": "assistant", "content": None, "tool_calls": [_F]}, "tool_calls"),
    _plain("a call, and stop", _ONE, {"role": "assistant", "content": "", "tool_calls": [_F]}),
    _plain("a call without id and type", _ONE, {"tool_calls": [{"function": _F["function"]}]}),
    _plain("a call with an empty id", _ONE, {"content": "", "tool_calls": [{**_F, "id": ""}]}),
    _plain(
        "arguments as an object",
        Meaning(calls=(("f", '{"a":1}'),), finish_reason="tool_calls"),
        {"content": "", "tool_calls": [{"function": {"index": 0, "name": "f", "arguments": {"a": 1}}}]},
    ),
    _plain(
        "no arguments",
        Meaning(calls=(("f", "{}"), ("f", "{}")), finish_reason="tool_calls"),
        {"tool_calls": [{**_F, "function": {"name": "f", "arguments": ""}}, {"id": "b", "function": {"name": "f"}}]},
    ),
    _plain(
        "text and a call",
        Meaning("so: ", calls=(("f", '{"a": 1}'),), finish_reason="tool_calls"),
        {"role": "assistant", "content": "so: ", "tool_calls": [_F]},
    ),
    _plain("no usage", msgspec.structs.replace(_HI, usage=None), {"content": "naïve 漢😀"}, usage=None),
)
