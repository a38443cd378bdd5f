"""Whatever the conversation: the API takes it, nothing of it is lost, and streams are the same however they are cut."""

import copy
import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spl_provider_gemini.answer import UsageMetadata, usage_of
from spl_provider_gemini.given import Given
from spl_provider_gemini.messages import CLOSING, OPENING
from spl_provider_gemini.parts import links_in
from spl_provider_gemini.request import encode_request
from spl_provider_gemini.rules import rules_of
from spl_provider_gemini.stream import StreamDecoder

from gateway_core.errors import InvalidRequest, ProviderFault
from gateway_core.ports import MediaFile
from gateway_core.testing.conversations import bodies, calls_of, jumbled, media_of, texts_of
from gateway_core.testing.gemini_rules import check
from gateway_core.testing.gemini_script import GeminiScript, encoded, stream_of
from gateway_core.types import ChatRequest
from gateway_core.wire.chat import decode_request
from gateway_core.wire.sse import SSEDecoder

MODELS = ("gemini-2.0-flash", "gemini-2.5-pro", "gemini-2.5-flash-lite", "gemini-3-pro-preview", "gemini-3.8-flash")
Body = dict[str, Any]


def converted(body: Body, model: str) -> tuple[ChatRequest, Body]:
    request = decode_request(json.dumps(body).encode())
    media = {link.url: MediaFile("image/png", link.url.encode()) for link in links_in(request.body["messages"], ())}
    known = Given(model="m", rules=rules_of(model, {}), media=media, include_thoughts=True)
    before = copy.deepcopy(request)
    raw, _ = encode_request(request, known, None)
    assert request == before
    return request, check(raw, model)


def leaves(value: Any, *names: str) -> Iterator[str]:
    """Every text under one of these names, in order."""
    if isinstance(value, list):
        for child in value:
            yield from leaves(child, *names)
    elif isinstance(value, dict):
        for name, child in value.items():
            if name in names and isinstance(child, str):
                yield child
            else:
                yield from leaves(child, *names)


@settings(max_examples=120, deadline=None)
@given(bodies(), st.sampled_from(MODELS))
def test_M3_T6_any_conversation_is_one_that_the_api_takes(body: Body, model: str) -> None:
    converted(body, model)


def outcome(body: Body, model: str) -> Any:
    try:
        return converted(body, model)[1]
    except InvalidRequest as refused:
        return refused.message, refused.param


@settings(max_examples=150, deadline=None)
@given(bodies() | jumbled(), st.sampled_from(MODELS))
def test_a_message_of_text_alone_is_what_it_is_with_a_name_beside_it(body: Body, model: str) -> None:
    named = [{**message, "name": "n"} for message in body["messages"]]
    assert outcome({**body, "messages": named}, model) == outcome(body, model)


@settings(max_examples=80, deadline=None)
@given(bodies(settings=False), st.sampled_from(MODELS))
def test_M1_M2_M3_no_text_is_lost_or_moved(body: Body, model: str) -> None:
    _, sent = converted(body, model)
    system = list(leaves(sent.get("systemInstruction", {}), "text"))
    turns = [text for turn in sent["contents"] for part in turn["parts"] if "text" in part for text in [part["text"]]]
    said = [text for text in system + turns if text.strip() and text not in (OPENING, CLOSING)]
    assert said == texts_of(body, "system", "developer", "user", "assistant")


@settings(max_examples=80, deadline=None)
@given(bodies(settings=False), st.sampled_from(MODELS))
def test_T6_T7_no_call_and_no_result_is_lost(body: Body, model: str) -> None:
    _, sent = converted(body, model)
    parts = [part for turn in sent["contents"] for part in turn["parts"]]
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    assert [call["name"] for call in calls] == [name for name, _ in calls_of(body)]
    for call, (_, arguments) in zip(calls, calls_of(body), strict=True):
        assert call["args"] == _object(arguments)
    responses = json.dumps([part for part in parts if "functionResponse" in part], ensure_ascii=False)
    for text in texts_of(body, "tool"):
        first = text.split("{")[0].split("[")[0].strip(' .\n"')
        assert json.dumps(first, ensure_ascii=False)[1:-1] in responses
    # Each result stands at its call's place: the ids are all different.
    order = [call["id"] for message in body["messages"] for call in message.get("tool_calls") or ()]
    if model.startswith("gemini-3"):
        assert [part["functionResponse"]["id"] for part in parts if "functionResponse" in part] == order


def _object(arguments: str) -> Any:
    if not arguments:
        return {}
    try:
        value = json.loads(arguments)
    except ValueError:
        return {"input": arguments}
    return value if isinstance(value, dict) else {"input": value}


@settings(max_examples=80, deadline=None)
@given(bodies(settings=False), st.sampled_from(MODELS))
def test_V1_V2_V3_no_image_or_file_is_lost(body: Body, model: str) -> None:
    _, sent = converted(body, model)
    found = sorted(leaves(sent["contents"], "data"))
    expected = []
    for url in media_of(body):
        if url.startswith("data:"):
            expected.append(url.partition(",")[2])
        else:
            expected.append(b64encode(url.encode()).decode())
    assert found == sorted(expected)


@settings(max_examples=80, deadline=None)
@given(bodies(calls=False, media=False), st.sampled_from(MODELS))
def test_S2_S6_no_setting_is_lost(body: Body, model: str) -> None:
    _, sent = converted(body, model)
    config = sent.get("generationConfig", {})
    for name, theirs in (("temperature", "temperature"), ("top_p", "topP"), ("seed", "seed")):
        assert config.get(theirs) == body.get(name)


STRANGE = st.sampled_from([None, True, 0, -1, 1e300, "", "x", "\u2028", [], [None], {}, {"a": 1}, {"type": "object"}])


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a body, with each of its keys."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


@settings(max_examples=120, deadline=None)
@given(bodies(), st.sampled_from(MODELS), st.data())
def test_T8_a_body_with_anything_anywhere_is_converted_or_refused(body: Body, model: str, data: st.DataObject) -> None:
    body = copy.deepcopy(body)  # what it is drawn from is not to change
    for _ in range(data.draw(st.integers(1, 3))):
        holder, key = data.draw(st.sampled_from(list(places(body))))
        holder[key] = copy.deepcopy(data.draw(STRANGE))
    with suppress(InvalidRequest):
        request = decode_request(json.dumps(body).encode())
        media = {link.url: MediaFile("image/png", b"x") for link in links_in(request.body["messages"], ())}
        known = Given(model="m", rules=rules_of(model, {}), media=media, include_thoughts=True)
        encode_request(request, known, None)


# ---------------------------------------------------------------- streams

CALL = {"name": "get_weather", "args": {"city": "Zürich", "deep": [{"a": "漢"}]}}
SCRIPTS: tuple[dict[str, Any], ...] = (
    {"text": "naïve 漢字 😀 text"},
    {"thoughts": "Hm ü.", "text": "Ja.", "sign_text": True},
    {"text": "See 漢:", "calls": ((CALL, CALL), (CALL,))},
    {"finish_everywhere": True, "oddities": True, "comments": True},
    {"finish_reason": "SAFETY", "words": 1},
    {"block_reason": "SAFETY"},
)
ASKED: Body = {
    "contents": [{"role": "user", "parts": [{"text": "Hello"}]}],
    "generationConfig": {"candidateCount": 2, "thinkingConfig": {"includeThoughts": True}},
}


def read(pieces: list[bytes]) -> list[Any]:
    """What a client reads: the choices, with the random ids of calls left out, and the counts."""
    events, decoder = SSEDecoder(2**20), StreamDecoder(2, {})
    data = [event for piece in pieces for event in events.push(piece)] + events.finish()
    chunks = [chunk for event in data if (chunk := decoder.decode(event)) is not None] + decoder.finish()
    found: list[Any] = []
    for chunk in chunks:
        choices = json.loads(bytes(chunk.choices))
        for choice in choices:
            for call in choice["delta"].get("tool_calls", ()):
                call["id"] = "…"
        found.append((choices, chunk.texts, chunk.usage, chunk.finish))
    return found


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_X7_X8_a_stream_that_is_cut_at_every_byte_is_the_same(script: dict[str, Any], line_end: Any) -> None:
    made = GeminiScript(model="gemini-3.8-flash", line_end=line_end, **script)
    pieces = encoded(made, stream_of(made, ASKED, made.model))
    expected = read(pieces)
    whole = b"".join(pieces)
    assert read([whole]) == expected
    assert read([whole[at : at + 1] for at in range(len(whole))]) == expected
    for at in range(1, len(whole), 1 if len(whole) < 2_000 else 7):
        assert read([whole[:at], whole[at:]]) == expected


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SCRIPTS), st.data())
def test_E4_a_stream_that_lacks_its_end_is_never_a_success(script: dict[str, Any], data: st.DataObject) -> None:
    made = GeminiScript(model="gemini-3.8-flash", **{**script, "finish_everywhere": False, "oddities": False})
    pieces = encoded(made, stream_of(made, ASKED, made.model))
    kept = pieces[: data.draw(st.integers(0, len(pieces) - 1))]
    with pytest.raises(ProviderFault):
        read(kept)


COUNT = st.none() | st.integers(0, 10**6)


@given(COUNT, COUNT, COUNT, COUNT, COUNT)
def test_U1_U2_U3_the_classes_partition_the_counts(
    prompt: int | None, spoken: int | None, thought: int | None, cached: int | None, read: int | None
) -> None:
    usage = usage_of(UsageMetadata(prompt, spoken, thought, cached, read))
    if prompt is None:
        assert usage is None
        return
    assert usage is not None
    assert usage.input == prompt + (read or 0)
    assert 0 <= usage.cached <= usage.input
    assert usage.output == (spoken or 0) + (thought or 0)
    assert 0 <= usage.reasoning <= usage.output
    assert usage.estimated == ((cached or 0) > prompt)
