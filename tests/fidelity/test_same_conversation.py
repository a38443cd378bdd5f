"""One conversation with every provider: the caller changes the model's name and nothing else.

Every answer is held to the types of OpenAI's own SDK; what we add to them is listed here and nowhere else.
"""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(40))).decode()
SYSTEM = "You are terse: SYS-1."
ASKED = "Weather and time in these cities? ASK-1"
FOLLOW_UP = "And tomorrow? ASK-2"
FIRST, SECOND = "Oslo: 3 °C, 12:00. SAID-1", "Rain, naïve 漢字 😀. SAID-2"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": f"the {name}", "parameters": CITY}}
    for name in ("get_weather", "get_time")
]
CALLS = (("get_weather", {"city": "Oslo"}), ("get_time", {"city": "Oslo"}), ("get_weather", {"city": "Bergen"}))

#: What our answers have beyond the SDK's types.
OURS = {"usage.cost_cents", "choices.message.reasoning_content", "choices.delta.reasoning_content"}


def extras(model: BaseModel, path: str = "") -> Iterator[str]:
    """The path of every field that the SDK does not know."""
    for name in model.model_extra or {}:
        yield f"{path}{name}"
    for name in type(model).model_fields:
        value = getattr(model, name)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, BaseModel):
                yield from extras(one, f"{path}{name}.")


def completion(answer: Any) -> ChatCompletion:
    """An answer that is one to the letter."""
    held = ChatCompletion.model_validate_json(json.dumps(answer), strict=True)
    assert set(extras(held)) <= OURS
    assert held.usage is not None
    assert held.usage.total_tokens == held.usage.prompt_tokens + held.usage.completion_tokens
    assert held.id.startswith("chatcmpl-")
    return held


def joined(events: list[Any], model: str) -> dict[str, Any]:
    """A stream's chunks, each to the letter, put together as a client does."""
    chunks = [ChatCompletionChunk.model_validate_json(json.dumps(event), strict=True) for event in events]
    assert {path for chunk in chunks for path in extras(chunk)} <= OURS
    assert {(chunk.id, chunk.created, chunk.model) for chunk in chunks} == {(chunks[0].id, chunks[0].created, model)}
    *said, counted = chunks
    assert counted.choices == []
    assert counted.usage is not None
    assert [chunk.choices[0].delta.role for chunk in said] == ["assistant"] + [None] * (len(said) - 1)
    reasons = [chunk.choices[0].finish_reason for chunk in said]
    assert reasons[:-1] == [None] * (len(said) - 1)
    calls: list[dict[str, Any]] = []
    for fragment in (fragment for chunk in said for fragment in chunk.choices[0].delta.tool_calls or ()):
        assert fragment.function is not None
        if fragment.index == len(calls):
            assert fragment.id
            assert fragment.function.name
            function = {"name": fragment.function.name, "arguments": ""}
            calls.append({"id": fragment.id, "type": fragment.type, "function": function})
        else:
            assert (fragment.id, fragment.type, fragment.function.name) == (None, None, None)
        calls[fragment.index]["function"]["arguments"] += fragment.function.arguments or ""
    content = "".join(chunk.choices[0].delta.content or "" for chunk in said)
    return {"content": content, "tool_calls": calls, "finish_reason": reasons[-1], "usage": counted.usage}


def asked(behind: Any, messages: list[Any], *, stream: bool) -> dict[str, Any]:
    """One turn: content, calls and the end, however it was asked."""
    fields = {"messages": messages, "tools": TOOLS, "temperature": 0, "max_tokens": 500}
    if stream:
        return joined(behind.chunks(**fields, stream_options={"include_usage": True}), behind.model)
    held = completion(behind.answer(**fields))
    (choice,) = held.choices
    assert held.model == behind.model
    calls = [call.model_dump() for call in choice.message.tool_calls or ()]
    assert choice.message.tool_calls != []
    assert choice.message.role == "assistant"
    return {"content": choice.message.content, "tool_calls": calls, "finish_reason": choice.finish_reason}


@pytest.mark.parametrize("stream", [False, True])
def test_M1_M3_T1_T6_T7_V1_O1_O2_O3_O13_U1_X1_X2_X5_X6_the_same_conversation(behind: Any, stream: bool) -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    question = [{"type": "text", "text": ASKED}, image]
    messages: list[Any] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]

    behind.calls(*CALLS, times=1)
    turn = asked(behind, messages, stream=stream)
    assert turn["finish_reason"] == "tool_calls"
    assert (turn["content"] or "") == ""
    made = [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in turn["tool_calls"]]
    assert made == list(CALLS)
    assert len({call["id"] for call in turn["tool_calls"]}) == len(CALLS)

    # A client that keeps standard fields only, and answers in an order of its own.
    messages.append({"role": "assistant", "content": None, "tool_calls": turn["tool_calls"]})
    results = ["3 °C RESULT-0", '{"time": "12:00 RESULT-1"}', "RESULT-2"]
    told = [
        {"role": "tool", "tool_call_id": call["id"], "content": result}
        for call, result in zip(turn["tool_calls"], results, strict=True)
    ]
    behind.script(text=FIRST, times=1)
    turn = asked(behind, [*messages, *reversed(told)], stream=stream)
    assert (turn["content"], turn["finish_reason"], turn["tool_calls"]) == (FIRST, "stop", [])

    messages += [*told, {"role": "assistant", "content": FIRST}, {"role": "user", "content": FOLLOW_UP}]
    behind.script(text=SECOND)
    turn = asked(behind, messages, stream=stream)
    assert (turn["content"], turn["finish_reason"], turn["tool_calls"]) == (SECOND, "stop", [])

    # Nothing was refused, lost or moved on the way to the provider.
    log = behind.upstream.wait_for(lambda log: all(entry["state"] != "open" for entry in log))
    assert [entry["state"] for entry in log] == ["answered"] * 3
    sent = json.dumps(log[-1]["body"], ensure_ascii=False)
    order = ["ASK-1", PNG, "RESULT-0", "RESULT-1", "RESULT-2", "SAID-1", "ASK-2"]
    places = [sent.index(mark) for mark in order]
    assert places == sorted(places)
    assert sent.count("SYS-1") == 1
    assert [sent.count(mark) for mark in order] == [1] * len(order)


@pytest.mark.parametrize("stream", [False, True])
def test_O4_the_same_call_without_arguments(behind: Any, stream: bool) -> None:
    behind.calls(("get_time", {}), times=1)
    turn = asked(behind, [{"role": "user", "content": "now?"}], stream=stream)
    assert [call["function"] for call in turn["tool_calls"]] == [{"name": "get_time", "arguments": "{}"}]


@pytest.mark.parametrize("stream", [False, True])
def test_O8_the_same_empty_answer(behind: Any, stream: bool) -> None:
    behind.script(words=0)
    turn = asked(behind, [{"role": "user", "content": "say nothing"}], stream=stream)
    assert ((turn["content"] or ""), turn["finish_reason"]) == ("", "stop")
