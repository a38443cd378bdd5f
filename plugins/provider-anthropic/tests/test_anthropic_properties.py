"""Any conversation becomes a request that the strict rules take, with nothing lost and nothing out of its place; a
stream that is cut anywhere says the same; the classes of tokens make up the prompt."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spl_provider_anthropic.messages import arguments_of
from spl_provider_anthropic.models import ModelRules
from spl_provider_anthropic.request import Reply, convert
from spl_provider_anthropic.stream import StreamDecoder
from spl_provider_anthropic.usage import Counts, Report

from gateway_core.errors import InvalidRequest
from gateway_core.testing.anthropic_rules import check, signature_of
from gateway_core.testing.anthropic_script import AnthropicScript, events_of
from gateway_core.testing.conversations import bodies, calls_of, jumbled, media_of, texts_of
from gateway_core.types import Chunk
from gateway_core.wire.chat import decode_request
from gateway_core.wire.sse import SSEDecoder

MODELS = (
    "claude-3-5-haiku-20241022",
    "claude-3-7-sonnet-20250219",
    "claude-sonnet-4-20250514",
    "claude-opus-4-1",
    "claude-haiku-4-5",
    "claude-opus-4-5",
    "claude-sonnet-4-6",
    "claude-opus-4-7",
    "claude-opus-4-8",
    "claude-opus-5",
    "claude-sonnet-5",
    "claude-sonnet-5-5",
    "claude-haiku-5-5",
    "claude-opus-5-5",
    "claude-fable-5",
    "claude-fable-5-1",
    "claude-mythos-preview",
    "served-under-another-name",
)
RULES = ModelRules({})
_SYSTEM = re.compile(r"<system>\n(.*)\n</system>", re.DOTALL)


def converted(body: Mapping[str, Any], model: str, **options: Any) -> dict[str, Any]:
    """The request as it would be sent, taken by the strict rules."""
    request = decode_request(json.dumps(body).encode())
    return check(convert(request, model, RULES.of(model), **options).encode())


def blocks_of(sent: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every block, the system prompt's first, those inside results in their place."""
    yield from sent.get("system", ())
    for message in sent["messages"]:
        for block in message["content"]:
            content = block.get("content")
            if isinstance(content, str):
                yield {"type": "text", "text": content}
            elif content:
                yield from content
            yield block


def texts_sent(sent: Mapping[str, Any]) -> list[str]:
    """Every text that a conversation of the generator's can have brought."""
    found = []
    for block in blocks_of(sent):
        if block["type"] == "text":
            wrapped = _SYSTEM.fullmatch(block["text"])
            text = (wrapped[1] if wrapped else block["text"]).strip()
            if text.startswith("text-") or text in RESULTS:
                found.append(text)
    return found


RESULTS = ('{"temperature": 21}', "[1, 2]", "17", "null", "sunny")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bodies(), st.sampled_from(MODELS))
def test_any_conversation_becomes_a_request_that_is_taken_whole(body: dict[str, Any], model: str) -> None:
    sent = converted(body, model)
    assert texts_sent(sent) == [text.strip() for text in texts_of(body)]
    calls = [(block["name"], block["input"]) for block in blocks_of(sent) if block["type"] == "tool_use"]
    assert calls == [(name, arguments_of(arguments)) for name, arguments in calls_of(body)]
    media = [block["source"] for block in blocks_of(sent) if block["type"] in ("image", "document")]
    assert [source.get("url", source.get("data")) for source in media] == [
        url.partition("base64,")[2] if url.startswith("data:") else url for url in media_of(body)
    ]
    results = [block["tool_use_id"] for block in blocks_of(sent) if block["type"] == "tool_result"]
    assert len(results) == sum(message["role"] == "tool" for message in body["messages"])


def outcome(body: Mapping[str, Any], model: str) -> Any:
    try:
        return converted(body, model)
    except InvalidRequest as refused:
        return refused.message, refused.param


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bodies() | jumbled(), st.sampled_from(MODELS))
def test_a_message_of_text_alone_is_what_it_is_with_a_name_beside_it(body: dict[str, Any], model: str) -> None:
    named = [{**message, "name": "n"} for message in body["messages"]]
    assert outcome({**body, "messages": named}, model) == outcome(body, model)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bodies(media=False), st.sampled_from(MODELS), st.booleans())
def test_thinking_that_is_kept_is_given_back_in_its_place(body: dict[str, Any], model: str, whole: bool) -> None:
    calls = [call["id"] for message in body["messages"] for call in message.get("tool_calls") or ()]
    kept = {
        call: [{"type": "thinking", "thinking": call, "signature": signature_of(call)}]
        for call in (calls if whole else calls[:-1])
    }
    sent = converted(body, model, thoughts=kept)
    thoughts = [block["thinking"] for block in blocks_of(sent) if block["type"] == "thinking"]
    assert thoughts in ([], [call for call in calls if call in kept])


KEYWORDS = (
    "type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "oneOf", "allOf",
    "$ref", "$defs", "definitions", "minItems", "minimum", "exclusiveMinimum", "format", "description", "title",
    "patternProperties",
)  # fmt: skip
WORDS = ("object", "array", "string", "null", "#/$defs/a", "#/definitions/b", "#", "a", "date", "int")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from((*KEYWORDS, "a", "b")), inner, max_size=4)
    ),
    max_leaves=12,
)
SCHEMAS = st.dictionaries(st.sampled_from(KEYWORDS), VALUES, max_size=5)


@settings(max_examples=120, deadline=None)
@given(SCHEMAS, st.booleans(), st.sampled_from(MODELS))
def test_T2_F3_nothing_that_looks_like_a_schema_breaks_a_conversion(schema: Any, strict: bool, model: str) -> None:
    function = {"name": "f", "parameters": schema, "strict": strict}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": strict}}
    hello = [{"role": "user", "content": "hi"}]
    for fields in ({"tools": [{"type": "function", "function": function}]}, {"response_format": form}):
        request = decode_request(json.dumps({"model": "m", "messages": hello, **fields}).encode())
        try:
            sent = convert(request, model, RULES.of(model)).encode()
        except InvalidRequest:
            assert "tools" in fields  # whose parameters are no object
            continue
        for tool in json.loads(sent).get("tools", ()):
            assert tool["input_schema"]["type"] == "object"
            assert not {"anyOf", "oneOf", "allOf"} & set(tool["input_schema"])


CUTS = AnthropicScript(
    model="m",
    thinking=("Ünd so — wéiter", "more"),
    text="hé 漢 😀 \u2028 done",
    calls=({"name": "a", "input": {"city": "Zürich 漢", "n": [1, 2]}}, {"name": "b"}),
    oddities=True,
    cached=3,
    cache_write=2,
)
ASKED = {"model": "claude-opus-5", "messages": [{"role": "user", "content": "hi"}]}


def read(wire: bytes, cuts: list[int]) -> list[Chunk]:
    """The chunks of a stream that comes in pieces."""
    sse, decoder = SSEDecoder(2**20), StreamDecoder(Reply())
    chunks = []
    for begin, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        for data in sse.push(wire[begin:end]):
            chunk = decoder.decode(data)
            if chunk is not None:
                chunks.append(chunk)
    assert decoder.finished
    return chunks


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_X7_X8_a_stream_cut_at_any_byte_says_the_same(line_end: str) -> None:
    script = AnthropicScript(**{name: getattr(CUTS, name) for name in CUTS.__struct_fields__} | {"line_end": line_end})
    wire = b"".join(events_of(script, ASKED))
    expected = read(wire, [])
    for at in range(len(wire)):
        assert read(wire, [at]) == expected
    assert read(wire, list(range(len(wire)))) == expected


counts = st.integers(0, 10**6)


@given(counts, counts, counts, counts, counts)
def test_U2_the_classes_of_tokens_make_up_the_prompt(
    fresh: int, cached: int, written: int, output: int, thought: int
) -> None:
    told = Counts()
    told.note(Report(fresh, 1, cached, written))
    told.note(Report(None, output, None, None, {"thinking_tokens": thought}))
    usage = told.usage()
    if usage is None:
        assert fresh + cached + written + output == 0
        return
    assert usage.input == fresh + usage.cached + usage.cache_write
    assert (usage.cached, usage.cache_write, usage.output) == (cached, written, output)
    assert usage.reasoning <= usage.output
