"""What the server's answers become."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spl_provider_openai import answer
from spl_provider_openai.answer import decode_any_completion, decode_completion
from spl_provider_openai.provider import OpenAIProvider

from gateway_core.errors import ProviderFault
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.provider_suite import ask, chat, choices_of
from gateway_core.types import Completion


async def test_what_a_plain_answer_becomes(provider: OpenAIProvider) -> None:
    completion: Completion = await ask(provider, chat())
    assert completion.id == "chatcmpl-upstream"
    assert completion.created == 1_700_000_000
    assert {name: json.loads(bytes(raw)) for name, raw in completion.extra.items()} == {
        "system_fingerprint": "fp_upstream",
        "service_tier": "default",
    }
    assert completion.usage is not None
    assert completion.usage.output == 5
    assert completion.usage_fields is not None
    assert "prompt_tokens_details" in completion.usage_fields


async def test_every_billed_text_is_seen(provider: OpenAIProvider, openai_upstream: UpstreamHandle) -> None:
    delta = {
        "role": "assistant",
        "content": "a",
        "reasoning_content": "b",
        "refusal": "c",
        "tool_calls": [
            {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "d"}},
            {"index": 1, "id": "call_2", "type": "custom", "custom": {"name": "g", "input": "e"}},
        ],
        "function_call": {"arguments": "f"},
        "annotations": [{"type": "url_citation"}],
        "audio": {"id": "x"},
    }
    choice = {"index": 0, "finish_reason": "tool_calls", "logprobs": {"content": []}, "odd": 1}
    openai_upstream.script("m", body=json.dumps({"choices": [{**choice, "message": delta}]}), times=1)
    completion: Completion = await ask(provider, chat())
    openai_upstream.script("m", events=(json.dumps({"choices": [{**choice, "delta": delta}]}), "[DONE]"))
    (chunk,) = await ask(provider, chat(stream=True))
    assert completion.texts == chunk.texts == ("a", "b", "c", "d", "e", "f")
    assert json.loads(bytes(completion.choices)) == [{**choice, "message": delta}]
    assert json.loads(bytes(chunk.choices)) == [{**choice, "delta": delta}]


@pytest.mark.parametrize(
    "content",
    [[{"type": "text", "text": "hi"}, {"type": "thinking"}], "hi"],
)
async def test_content_may_be_parts(provider: OpenAIProvider, openai_upstream: UpstreamHandle, content: Any) -> None:
    message = {"role": "assistant", "content": content, "reasoning": {"odd": 1}}
    openai_upstream.script("m", body=json.dumps({"choices": [{"message": message}]}))
    assert (await ask(provider, chat())).texts == ("hi",)


async def test_the_role_that_a_server_leaves_out_is_put_in(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle
) -> None:
    openai_upstream.script("m", role=False)
    choices = choices_of(await ask(provider, chat(stream=True, n=2)))
    firsts = [next(choice for choice in choices if choice["index"] == index) for index in (0, 1)]
    assert [choice["delta"] for choice in firsts] == [{"role": "assistant", "content": "word0"}] * 2
    assert sum("role" in choice["delta"] for choice in choices) == 2


# ---------------------------------------------------------------- read in one pass, or looked at closely

ORDINARY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "gpt-4o",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "héllo"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    "service_tier": "default",
}
LEFT_OUT = object()
STRANGE: list[Any] = [LEFT_OUT, None, "", "text", "\ud800", True, -1, 3, 4.0, 10**30, [], {}, [{}], {"a": [1]}]
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["assistant", "user", None])},
    optional={"content": st.sampled_from([None, "", "x", [{"type": "text", "text": "x"}]]), "refusal": st.just("no")},
)
CHOICES = st.fixed_dictionaries(
    {"message": MESSAGES},
    optional={
        "index": st.sampled_from([0, 1, None]),
        "finish_reason": st.sampled_from(["stop", "length", "eos", None]),
        "usage": st.just({"prompt_tokens": 3, "completion_tokens": 4}),
    },
)
CHANGES = st.dictionaries(
    st.sampled_from([*ORDINARY, "system_fingerprint", "error", "x"]), st.sampled_from(STRANGE), max_size=3
)


@settings(max_examples=1500, deadline=None)
@given(CHANGES, st.none() | st.lists(CHOICES, max_size=2), st.booleans(), st.none() | st.integers(0, 400))
def test_an_answer_as_openai_writes_it_is_read_in_one_pass_and_means_the_same(
    changes: dict[str, Any], choices: list[Any] | None, ascii_only: bool, spoilt: int | None
) -> None:
    fields = {**ORDINARY, **({} if choices is None else {"choices": choices}), **changes}
    text = json.dumps({name: value for name, value in fields.items() if value is not LEFT_OUT}, ensure_ascii=ascii_only)
    body = text.encode(errors="surrogatepass")
    if spoilt is not None:
        body = body[:spoilt] + b"\xff" + body[spoilt + 1 :]
    assert outcome(decode_completion, body) == outcome(decode_any_completion, body)


def outcome(decode: Any, body: bytes) -> Any:
    try:
        return decode(body, "sk-secret")
    except ProviderFault as fault:
        return type(fault), fault.detail


def test_only_what_openai_writes_is_read_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    closely: list[bytes] = []

    def any_completion(body: bytes, secret: str | None) -> None:
        closely.append(body)

    monkeypatch.setattr("spl_provider_openai.answer.decode_any_completion", any_completion)
    for change, looked in (({}, 0), ({"system_fingerprint": "fp"}, 0), ({"timings": 1}, 1), ({"usage": None}, 1)):
        closely.clear()
        decode_completion(json.dumps({**ORDINARY, **change}).encode())
        assert len(closely) == looked


def test_a_model_whose_answers_are_never_ordinary_is_hardly_asked_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary, odd = (json.dumps(fields).encode() for fields in (ORDINARY, {**ORDINARY, "timings": 1}))
    looked: list[bytes] = []

    def look(body: bytes) -> Completion | None:
        looked.append(body)
        return found(body)

    found = answer._ordinary_completion
    monkeypatch.setattr("spl_provider_openai.answer._ordinary_completion", look)
    completions = answer.Completions()
    for body in (odd, odd, ordinary) * 3:
        assert completions.decode(body, None) == decode_any_completion(body)
    assert len(looked) == 9  # an ordinary one among them is enough
    looked.clear()
    for _ in range(600):
        completions.decode(odd, None)
    assert len(looked) == 3 * answer._TRIES
    assert completions.decode(ordinary, None) == decode_any_completion(ordinary)
