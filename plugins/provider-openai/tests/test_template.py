"""An event that is like the one before it is read as it would be without that one."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spl_provider_openai.answer import ChunkDecoder

from gateway_core.errors import ProviderFault

BEGUN = {"role": "assistant", "content": ""}


def event(delta: dict[str, Any], index: int = 0, reason: str | None = None, **fields: Any) -> bytes:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return json.dumps(body | fields).encode()


def seen(decoder: ChunkDecoder, data: bytes) -> list[tuple[Any, ...]]:
    try:
        chunks = decoder.decode(data)
    except ProviderFault as met:
        return [(type(met), met.detail)]
    return [
        (
            msgspec.json.decode(each.choices),
            each.texts,
            each.finish,
            each.usage,
            each.id,
            each.created,
            dict(each.extra),
        )
        for each in chunks
    ]


def begun(*before: bytes) -> ChunkDecoder:
    decoder = ChunkDecoder()
    for data in (event(BEGUN), *before):
        decoder.decode(data)
    return decoder


TEXTS = st.text()


@given(TEXTS, st.lists(TEXTS, max_size=4))
def test_texts_are_read_the_same_with_a_template_and_without(first: str, rest: list[str]) -> None:
    with_template = begun(event({"content": first}))
    for text in rest:
        data = event({"content": text})
        assert seen(with_template, data) == seen(begun(), data)


STRANGE = [
    event({"content": "x"}, reason="stop"),
    event({"content": "x"}, index=1),
    event({"content": None}),
    event({"content": ["x"]}),
    event({"content": "x", "refusal": "no"}),
    event({"content": "x"}, usage={"prompt_tokens": 3, "completion_tokens": 4}),
    event({"content": "x"}, system_fingerprint="fp"),
    event({"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
    event({"content": "x"}, error={"message": "no"}),
    event({"content": "x"}).replace(b'"x"', b'"x", "content": "y"'),
    event({"content": "x"}).replace(b'"x"', b'"x"}, "finish_reason": "stop"}, {"delta": {"content": "y"'),
    event({"content": "x"}).replace(b'"x"', b'"x" "y"'),
    event({"content": "x"}).replace(b'"x"', b'"x'),
    event({"content": "x"}).replace(b'"x"', b'"\xff"'),
    event({"content": "x"}).replace(b'"x"', b'"\xf0\x9f\x98\x80"'),
    event({"content": "x"}).replace(b'"x"', b'"\\ud800"'),
    event({"content": "x"}).replace(b'"x"', b'"\x01"'),
    event({"content": "x"})[:-1],
    b"{}",
    b"[1]",
]


@pytest.mark.parametrize("data", STRANGE)
def test_what_differs_in_more_than_its_text_is_looked_at_whole(data: bytes) -> None:
    assert seen(begun(event({"content": "before"})), data) == seen(begun(), data)


def test_a_text_that_stands_elsewhere_too_is_not_taken_for_the_text() -> None:
    odd = {"content": "same", "annotations": {"content": "same"}}
    decoder = begun(event({"annotations": {"content": "same"}, "content": "same"}), event(odd))
    other = event({"annotations": {"content": "else"}, "content": "same"})
    assert seen(decoder, other) == seen(begun(), other)
    assert seen(decoder, event(odd | {"content": "new"})) == seen(begun(), event(odd | {"content": "new"}))


def test_choices_that_are_repeated_in_another_field_are_looked_at_whole() -> None:
    first = event({"content": "a"}, more={"choices": json.loads(event({"content": "a"}))["choices"]})
    other = event({"content": "b"}, more={"choices": json.loads(event({"content": "a"}))["choices"]})
    assert seen(begun(first), other) == seen(begun(), other)


def test_events_that_are_never_alike_cost_a_look_each_and_no_more() -> None:
    decoder = begun(*[event({"content": "x"}, obfuscation="y" * at) for at in range(9)])
    data = event({"content": "z"}, obfuscation="w")
    assert seen(decoder, data) == seen(begun(), data)
