"""What messages become: M, and of T what is about calls and results in a history."""

from collections.abc import Callable
from typing import Any

import pytest

Sent = Callable[..., dict[str, Any]]
Refused = Callable[..., str | None]

USER = {"role": "user", "content": "Hello"}


def text(value: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **more}


def call(call_id: str = "call_1", name: str = "f", arguments: str = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def loop(*calls: dict[str, Any], content: Any = None, **results: Any) -> list[dict[str, Any]]:
    """A user's question, the calls, and a result for each."""
    answers = [{"role": "tool", "tool_call_id": one["id"], "content": results.get(one["id"], "done")} for one in calls]
    return [USER, {"role": "assistant", "content": content, "tool_calls": list(calls)}, *answers]


def use(call_id: str = "call_1", name: str = "f", **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def result(call_id: str = "call_1", content: Any = "done") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, **({"content": content} if content else {})}


def test_M1_all_of_the_system_prompt_goes_in_order(sent: Sent) -> None:
    head = [
        {"role": "system", "content": "one"},
        {"role": "developer", "content": [text("two"), text("three")]},
        {"role": "system", "content": [text("four")]},
    ]
    body = sent(messages=[*head, USER])
    assert body["system"] == [text("one"), text("two"), text("three"), text("four")]
    assert body["messages"] == [{"role": "user", "content": [text("Hello")]}]


def test_M2_a_later_system_message_stands_where_it_stood(sent: Sent) -> None:
    messages = [USER, {"role": "assistant", "content": "hi"}, {"role": "system", "content": "be brief"}, USER]
    body = sent(messages=messages)
    wrapped = text("<system>\nbe brief\n</system>")
    assert body["messages"][-1] == {"role": "user", "content": [wrapped, text("Hello")]}
    assert "system" not in body


@pytest.mark.parametrize("last", [[], [{"role": "assistant", "content": "hi"}, USER]])
def test_M2_models_with_a_system_role_get_it_as_one(sent: Sent, last: Any) -> None:
    body = sent("claude-opus-4-8", messages=[USER, {"role": "developer", "content": "be brief"}, *last])
    assert body["messages"][1] == {"role": "system", "content": [text("be brief")]}


def test_M2_a_system_role_where_it_may_not_stand_is_text(sent: Sent) -> None:
    system = {"role": "system", "content": "be brief"}
    body = sent("claude-opus-4-8", messages=[USER, system, system, USER])
    wrapped = text("<system>\nbe brief\n</system>")
    assert body["messages"] == [{"role": "user", "content": [text("Hello"), wrapped, wrapped, text("Hello")]}]
    after = sent("claude-opus-4-8", messages=[USER, {"role": "assistant", "content": "hi"}, system])
    assert after["messages"][-1] == {"role": "user", "content": [wrapped]}


def test_M2_a_system_message_alone_works(sent: Sent) -> None:
    body = sent(messages=[{"role": "system", "content": "tell a joke"}])
    assert body["system"] == [text("tell a joke")]
    assert body["messages"] == [{"role": "user", "content": [text(".")]}]


def test_M3_messages_of_one_side_are_one_turn(sent: Sent) -> None:
    messages = [
        USER,
        {"role": "user", "content": [text("a"), text("b")]},
        {"role": "assistant", "content": "c"},
        {"role": "assistant", "content": "d"},
        USER,
    ]
    assert sent(messages=messages)["messages"] == [
        {"role": "user", "content": [text("Hello"), text("a"), text("b")]},
        {"role": "assistant", "content": [text("c"), text("d")]},
        {"role": "user", "content": [text("Hello")]},
    ]


def test_M4_a_conversation_may_begin_with_the_assistant(sent: Sent) -> None:
    body = sent(messages=[{"role": "assistant", "content": "Hi!"}, USER])
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][1]["content"] == [text("Hi!")]


def test_M4_a_last_assistants_message_is_continued_where_that_can_be(sent: Sent) -> None:
    messages = [USER, {"role": "assistant", "content": "The answer is \n"}]
    assert sent(messages=messages)["messages"][-1] == {"role": "assistant", "content": [text("The answer is")]}


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("claude-opus-4-6", {}),
        ("claude-sonnet-4-5", {"reasoning_effort": "low"}),
        (
            "claude-sonnet-4-5",
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {
                "type": "object", "properties": {"a": {"type": "string"}}}}}},
        ),
    ],
)  # fmt: skip
def test_M4_where_it_cannot_the_user_asks_to_go_on(sent: Sent, model: str, fields: Any) -> None:
    body = sent(model, messages=[USER, {"role": "assistant", "content": "The answer is "}], **fields)
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][1]["content"] == [text("The answer is ")]


@pytest.mark.parametrize("blank", ["", " \n", [text("")], [text(" "), text("")]])
@pytest.mark.parametrize("role", ["user", "assistant", "system"])
def test_M5_texts_that_say_nothing_are_left_out(sent: Sent, role: str, blank: Any) -> None:
    said = {"role": role, "content": blank}
    assert sent(messages=[said, USER])["messages"][-1] == {"role": "user", "content": [text("Hello")]}
    assert sent(messages=[USER, said])["messages"] == [{"role": "user", "content": [text("Hello")]}]
    assert sent(messages=[said])["messages"] == [{"role": "user", "content": [text(".")]}]
    parts = [text(""), text("x"), text("\t")]
    assert text("x") in sent(messages=[{"role": "user", "content": parts}])["messages"][0]["content"]


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "claude-opus-4-8"])
def test_M2_M5_a_message_that_says_nothing_is_no_turn_to_stand_behind(sent: Sent, model: str) -> None:
    said, silent = {"role": "assistant", "content": "said"}, {"role": "user", "content": ""}
    late = {"role": "system", "content": "late"}
    begun = {"role": "user", "content": [text(".")]}
    spoken = {"role": "assistant", "content": [text("said")]}
    wrapped = {"role": "user", "content": [text("<system>\nlate\n</system>")]}
    assert sent(model, messages=[said, silent, silent, late])["messages"] == [begun, spoken, wrapped]


@pytest.mark.parametrize("content", [None, "", "said", [text("said")], [text("")], []])
def test_M6_an_assistants_content_may_be_anything(sent: Sent, content: Any) -> None:
    history = loop(call(), content=content)
    assistant = sent(messages=[*history, USER])["messages"][1]
    expected = [text("said")] if content in ("said", [text("said")]) else []
    assert assistant == {"role": "assistant", "content": [*expected, use()]}


def test_M6_what_is_openais_own_stays_behind(sent: Sent) -> None:
    own: dict[str, Any] = {
        "name": "bob",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "weight": 1,
    }
    messages = [{**USER, "name": "ann"}, {"role": "assistant", "content": "hi", **own}, USER]
    assert sent(messages=messages)["messages"][:2] == [
        {"role": "user", "content": [text("Hello")]},
        {"role": "assistant", "content": [text("hi")]},
    ]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None, "refusal": "I will not"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "I will not"}]},
    ],
)
def test_M6_a_refusal_in_the_history_is_what_was_said(sent: Sent, message: Any) -> None:
    assert sent(messages=[USER, message, USER])["messages"][1]["content"] == [text("I will not")]


def test_M7_the_older_form_of_calls_is_translated(sent: Sent) -> None:
    messages = [
        USER,
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a": 1}'}},
        {"role": "function", "name": "f", "content": "done"},
    ]
    body = sent(messages=messages, functions=[{"name": "f", "parameters": {}}], function_call={"name": "f"})
    assert body["messages"][1]["content"] == [use("function_f", a=1)]
    assert body["messages"][2]["content"] == [result("function_f")]
    assert [tool["name"] for tool in body["tools"]] == ["f"]
    assert body["tool_choice"] == {"type": "tool", "name": "f", "disable_parallel_tool_use": True}


def test_M8_cache_marks_go_along(sent: Sent) -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    body = sent(
        messages=[
            {"role": "system", "content": [text("a", **mark)]},
            {"role": "user", "content": [text("b", **mark)]},
        ],
        tools=[{"type": "function", "function": {"name": "f"}, **mark}],
    )
    assert body["system"] == [text("a", **mark)]
    assert body["messages"][0]["content"] == [text("b", **mark)]
    assert body["tools"][0]["cache_control"] == mark["cache_control"]


def test_M8_of_more_than_four_the_last_count(sent: Sent) -> None:
    parts = [text(str(at), cache_control={"type": "ephemeral", "ttl": "5m"}) for at in range(6)]
    content = sent(messages=[{"role": "user", "content": parts}])["messages"][0]["content"]
    assert ["cache_control" in block for block in content] == [False, False, True, True, True, True]


@pytest.mark.parametrize("mark", [{"type": "ephemeral", "ttl": "1h"}, {"type": "forever"}, 1])
def test_M8_a_mark_that_has_no_price_is_refused(refused: Refused, mark: Any) -> None:
    parts = [{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}, "cache_control": mark}]
    assert refused(messages=[{"role": "user", "content": parts}]) == "messages[0].content[0].cache_control"


# ---------------------------------------------------------------- calls and results


def test_T6_a_loop_with_standard_fields_only(sent: Sent) -> None:
    calls = [call("a", "f", '{"x": 1}'), call("b", "f", '{"x": 1}'), call("c", "g", "{}")]
    history = loop(*calls, content="let me see", a="1", b="2", c="3")
    body = sent(messages=[*history, {"role": "assistant", "content": "done"}, *loop(call("d"), content=None)])
    roles = [message["role"] for message in body["messages"]]
    assert roles == ["user", "assistant", "user", "assistant", "user", "assistant", "user"]
    assert body["messages"][1]["content"] == [
        text("let me see"), use("a", x=1), use("b", x=1), use("c", "g"),
    ]  # fmt: skip
    assert body["messages"][2]["content"] == [result("a", "1"), result("b", "2"), result("c", "3")]


def test_T6_a_history_of_calls_without_tools(sent: Sent) -> None:
    body = sent(messages=loop(call("a", "f"), call("b", "g"), call("c", "f")))
    schema = {"type": "object", "properties": {}}
    assert body["tools"] == [{"name": "f", "input_schema": schema}, {"name": "g", "input_schema": schema}]
    assert body["tool_choice"] == {"type": "none"}


def test_T7_all_results_come_first_in_one_turn(sent: Sent) -> None:
    first, second = call("a"), call("b")
    messages = [
        USER,
        {"role": "assistant", "tool_calls": [first, second]},
        {"role": "tool", "tool_call_id": "b", "content": "2"},
        {"role": "user", "content": "and?"},
        {"role": "tool", "tool_call_id": "a", "content": [text("1"), text("one")]},
        {"role": "system", "content": "go on"},
    ]
    assert sent(messages=messages)["messages"][2] == {
        "role": "user",
        "content": [
            result("b", "2"),
            result("a", [text("1"), text("one")]),
            text("and?"),
            text("<system>\ngo on\n</system>"),
        ],
    }


@pytest.mark.parametrize("content", ["", None, " ", [text("")], []])
def test_T7_an_empty_result_is_one(sent: Sent, content: Any) -> None:
    assert sent(messages=loop(call(), call_1=content))["messages"][2]["content"] == [result(content=None)]


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ("", {}),
        (" ", {}),
        ("{}", {}),
        ('{"a": {"b": [1, null]}}', {"a": {"b": [1, None]}}),
        ("[1, 2]", {"input": [1, 2]}),
        ("7", {"input": 7}),
        ("null", {"input": None}),
        ("not json", {"input": "not json"}),
        ('{"a": ', {"input": '{"a": '}),
        ('{"a": 1e999}', {"input": '{"a": 1e999}'}),
        ("[" * 10_000, {"input": "[" * 10_000}),
    ],
)
def test_T8_arguments_become_an_object_whatever_they_are(sent: Sent, arguments: str, given: Any) -> None:
    assert sent(messages=loop(call(arguments=arguments)))["messages"][1]["content"] == [
        {"type": "tool_use", "id": "call_1", "name": "f", "input": given}
    ]


def test_T9_foreign_ids_are_made_to_fit_in_both_places(sent: Sent) -> None:
    calls = [call("fn.1:x/é"), call("fn_1:x/é"), call("call_0"), call("")]
    body = sent(messages=[*loop(*calls), *loop(call("call_0"))])
    ids = [[block["id"] for block in message["content"] if block["type"] == "tool_use"] for message in body["messages"]]
    answered = [
        [block["tool_use_id"] for block in message["content"] if block["type"] == "tool_result"]
        for message in body["messages"]
    ]
    assert ids[1] == ["fn_1_x__", "fn_1_x___2", "call_0", "call"] == answered[2]
    assert ids[3] == ["call_0_2"] == answered[4]


def test_T9_two_calls_under_one_id_have_a_result_each(sent: Sent) -> None:
    messages = [
        USER,
        {"role": "assistant", "tool_calls": [call("x"), call("x")]},
        {"role": "tool", "tool_call_id": "x", "content": "1"},
        {"role": "tool", "tool_call_id": "x", "content": "2"},
    ]
    assert sent(messages=messages)["messages"][2]["content"] == [result("x", "1"), result("x_2", "2")]


TOOL = {"role": "tool", "tool_call_id": "a", "content": "1"}
CALLS = {"role": "assistant", "tool_calls": [call("a"), call("b")]}


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([USER, TOOL], "messages[1].tool_call_id"),
        ([USER, {"role": "function", "name": "f", "content": "1"}], "messages[1].name"),
        ([USER, CALLS, TOOL, TOOL], "messages[3].tool_call_id"),
        ([USER, CALLS, TOOL], "messages[1].tool_calls"),
        ([USER, CALLS, TOOL, {"role": "assistant", "content": "x"}], "messages[1].tool_calls"),
        ([USER, CALLS], "messages[1].tool_calls"),
        ([USER, {"role": "assistant", "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "x",
          "input": ""}}]}], "messages[1].tool_calls[0].type"),
    ],
)  # fmt: skip
def test_T10_a_call_without_its_result_and_the_reverse_are_named(refused: Refused, messages: Any, param: str) -> None:
    assert refused(messages=messages) == param
