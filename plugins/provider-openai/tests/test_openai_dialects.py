"""What servers that are nearly OpenAI's say becomes what OpenAI would have said, however the bytes were cut."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spl_provider_openai.answer import ChunkDecoder, decode_completion

from gateway_core.errors import Unavailable
from gateway_core.testing.openai_dialects import PLAIN, TEXTS, TOOLS, Dialect, Meaning
from gateway_core.types import Chunk
from gateway_core.wire.sse import SSEDecoder

STREAMS = (*TEXTS, *TOOLS)
REASONS = {"stop", "length", "tool_calls", "content_filter"}


def of(*dialects: Dialect) -> Any:
    return pytest.mark.parametrize("dialect", dialects, ids=[dialect.name for dialect in dialects])


def chunks_of(events: list[bytes]) -> list[Chunk]:
    decoder = ChunkDecoder()
    chunks = [chunk for data in events if data != b"[DONE]" for chunk in decoder.decode(data)]
    assert decoder.finished
    return chunks


def choices_of(chunks: list[Chunk]) -> list[dict[str, Any]]:
    return [choice for chunk in chunks for choice in json.loads(bytes(chunk.choices))]


def read(chunks: list[Chunk]) -> Meaning:
    """What a client makes of it that believes every word: strict where OpenAI's own stream is."""
    content, reasoning, reasons = "", "", []
    calls: list[dict[str, Any]] = []
    for number, choice in enumerate(choices_of(chunks)):
        assert choice["index"] == 0
        delta = choice["delta"]
        assert delta.get("role") == ("assistant" if number == 0 else None)
        content += delta.get("content") or ""
        reasoning += delta.get("reasoning_content") or ""
        assert "reasoning" not in delta or delta["reasoning"] is None
        assert delta.get("tool_calls") != []
        for fragment in delta.get("tool_calls") or ():
            if fragment["index"] == len(calls):
                assert fragment["id"]
                assert fragment["type"] == "function"
                calls.append({"id": fragment["id"], "name": "", "arguments": ""})
            else:
                assert "id" not in fragment
                assert "type" not in fragment
            calls[fragment["index"]]["name"] += fragment["function"].get("name") or ""
            calls[fragment["index"]]["arguments"] += fragment["function"]["arguments"]
        reasons += [choice["finish_reason"]] if choice["finish_reason"] is not None else []
    assert len({call["id"] for call in calls}) == len(calls)
    (reason,) = reasons
    usages = [chunk.usage for chunk in chunks if chunk.usage is not None]
    named = tuple((call["name"], call["arguments"]) for call in calls)
    return Meaning(content, reasoning, named, reason, usages[-1] if usages else None)


def sent(dialect: Dialect, end: str = "\n") -> bytes:
    return "".join(f"data: {json.dumps(json.loads(data), ensure_ascii=False)}{end}{end}" if data != "[DONE]" else
                   f"data: [DONE]{end}{end}" for data in dialect.events).encode()  # fmt: skip


@of(*TEXTS)
def test_O1_O6_O8_O12_U1_X1_X9_a_text_in_every_dialect(dialect: Dialect) -> None:
    assert read(chunks_of([data.encode() for data in dialect.events])) == dialect.meaning


@of(*TOOLS)
def test_O2_O3_O4_O5_O13_X5_X6_calls_in_every_dialect(dialect: Dialect) -> None:
    chunks = chunks_of([data.encode() for data in dialect.events])
    assert read(chunks) == dialect.meaning
    billed = "".join(text for chunk in chunks for text in chunk.texts)
    written = dialect.meaning.content + "".join(arguments for _, arguments in dialect.meaning.calls)
    assert sorted(billed) == sorted(written)


@of(*PLAIN)
def test_O1_O2_O3_O4_O5_O6_O8_O12_O13_U1_a_plain_answer_in_every_dialect(dialect: Dialect) -> None:
    assert dialect.body is not None
    completion = decode_completion(dialect.body.encode())
    (choice,) = json.loads(bytes(completion.choices))
    message = choice["message"]
    assert (choice["index"], message["role"]) == (0, "assistant")
    assert "content" in message
    calls = message.get("tool_calls") or []
    assert message.get("tool_calls") != []
    assert [call["type"] for call in calls] == ["function"] * len(calls)
    assert all(call["id"] for call in calls)
    assert len({call["id"] for call in calls}) == len(calls)
    assert not calls or message["content"] != ""
    named = tuple((call["function"]["name"], call["function"]["arguments"]) for call in calls)
    reasoning = message.get("reasoning_content") or ""
    said = Meaning(message["content"] or "", reasoning, named, choice["finish_reason"], completion.usage)
    assert said == dialect.meaning


@of(*TEXTS, *TOOLS)
def test_X7_X8_a_stream_cut_at_any_one_byte_is_the_same(dialect: Dialect) -> None:
    for end in ("\n", "\r\n"):
        body = sent(dialect, end)
        whole = SSEDecoder(2**20).push(body)
        for at in range(1, len(body)):
            cut = SSEDecoder(2**20)
            assert cut.push(body[:at]) + cut.push(body[at:]) + cut.finish() == whole
        assert read(chunks_of(whole)) == dialect.meaning


@given(st.data())
def test_X7_X8_a_stream_cut_anywhere_gives_the_same_chunks(data: st.DataObject) -> None:
    dialect = data.draw(st.sampled_from(STREAMS))
    body = sent(dialect, data.draw(st.sampled_from(["\n", "\r\n", "\r"])))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(body) - 1), max_size=12)))
    decoder = SSEDecoder(2**20)
    events: list[bytes] = []
    for begin, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        events += decoder.push(body[begin:end])
    assert read(chunks_of(events + decoder.finish())) == dialect.meaning


PIECE = st.text(max_size=6)
NAMES = st.sampled_from(["f", "g"])
ARGUMENTS = st.dictionaries(PIECE, st.integers() | PIECE, max_size=3).map(json.dumps)


@given(
    contents=st.lists(PIECE, max_size=5),
    calls=st.lists(st.tuples(NAMES, ARGUMENTS), max_size=4),
    indexed=st.booleans(),
    whole=st.booleans(),
    roles=st.booleans(),
)
def test_O5_O13_X5_X6_no_text_is_lost_or_reordered(
    contents: list[str], calls: list[tuple[str, str]], indexed: bool, whole: bool, roles: bool
) -> None:
    deltas: list[dict[str, Any]] = [{"content": piece} for piece in contents]
    for number, (name, arguments) in enumerate(calls):
        place = {"index": number} if indexed else {}
        first = {**place, "id": f"call_{number}", "function": {"name": name, "arguments": arguments if whole else ""}}
        deltas.append({"tool_calls": [first]})
        rest = [] if whole else [arguments[at : at + 3] for at in range(0, len(arguments), 3)]
        deltas += [{"tool_calls": [{**place, "function": {"arguments": piece}}]} for piece in rest]
    if roles:
        deltas = [{"role": "assistant", **delta} for delta in deltas]
    events = [json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() for delta in deltas]
    events.append(b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}')
    reason = "tool_calls" if calls else "stop"
    assert read(chunks_of(events)) == Meaning("".join(contents), "", tuple(calls), reason, None)


@pytest.mark.parametrize("reason", ["error", "abort", "insufficient_system_resource"])
def test_E4_an_end_that_says_it_is_none_is_no_end(reason: str) -> None:
    choice = {"index": 0, "delta": {"content": "x"}, "message": {"content": "x"}, "finish_reason": reason}
    answer = json.dumps({"choices": [choice]}).encode()
    with pytest.raises(Unavailable):
        ChunkDecoder().decode(answer)
    with pytest.raises(Unavailable):
        decode_completion(answer)


def test_several_choices_in_one_event_are_a_chunk_each() -> None:
    choices = [{"index": index, "delta": {"content": "x"}, "finish_reason": "stop"} for index in (0, 1)]
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    chunks = ChunkDecoder().decode(json.dumps({"choices": choices, "usage": usage}).encode())
    assert [chunk.finish for chunk in chunks] == [True, True]
    assert [chunk.usage is None for chunk in chunks] == [True, False]
    assert [choice["index"] for choice in choices_of(chunks)] == [0, 1]
