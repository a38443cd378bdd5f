"""The conversation as it reaches the API. Every body here has passed the strict rules."""

from contextlib import suppress
from typing import Any

import pytest
from spl_provider_gemini.given import Given
from spl_provider_gemini.request import encode_request
from spl_provider_gemini.rules import rules_of

from gateway_core.errors import InvalidRequest
from gateway_core.testing.provider_suite import chat

Sent = Any
USER = {"role": "user", "content": "Hello"}
OLD, NEW = "gemini-2.5-flash", "gemini-3.8-flash"


def call(call_id: str, name: str = "get_weather", arguments: str = '{"city": "Bern"}', **more: Any) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def calls(*made: dict[str, Any], content: Any = None, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(made), **more}


def result(call_id: str, content: Any = "sunny") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def says(text: str) -> list[dict[str, Any]]:
    return [{"text": text}]


# ---------------------------------------------------------------- messages


def test_M1_every_system_and_developer_message_at_the_head_arrives_in_order(sent: Sent) -> None:
    body = sent(
        messages=[
            {"role": "system", "content": "one"},
            {"role": "developer", "content": [{"type": "text", "text": "two"}, {"type": "text", "text": "three"}]},
            {"role": "system", "content": "four"},
            USER,
        ]
    )
    assert body["systemInstruction"] == {"parts": [{"text": text} for text in ("one", "two", "three", "four")]}
    assert body["contents"] == [{"role": "user", "parts": says("Hello")}]


def test_M2_a_later_system_message_stays_in_its_place_as_the_users(sent: Sent) -> None:
    body = sent(
        messages=[
            USER,
            {"role": "assistant", "content": "Hi"},
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "And?"},
        ]
    )
    assert body["contents"][2] == {"role": "user", "parts": [{"text": "be brief"}, {"text": "And?"}]}
    assert "systemInstruction" not in body


def test_M2_a_system_message_alone_gets_an_opening(sent: Sent) -> None:
    body = sent(messages=[{"role": "system", "content": "Tell a joke."}])
    assert body["systemInstruction"] == {"parts": says("Tell a joke.")}
    assert body["contents"] == [{"role": "user", "parts": says("Begin.")}]


def test_M3_messages_of_one_role_in_a_row_are_one_turn(sent: Sent) -> None:
    body = sent(
        messages=[
            {"role": "user", "content": "a"},
            {"role": "user", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]},
            {"role": "assistant", "content": "d"},
            {"role": "assistant", "content": "e"},
            {"role": "user", "content": "f"},
        ]
    )
    assert body["contents"] == [
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}, {"text": "c"}]},
        {"role": "model", "parts": [{"text": "d"}, {"text": "e"}]},
        {"role": "user", "parts": says("f")},
    ]


def test_M4_a_conversation_that_begins_with_the_assistant_gets_an_opening(sent: Sent) -> None:
    body = sent(messages=[{"role": "assistant", "content": "Welcome!"}, USER])
    assert [turn["role"] for turn in body["contents"]] == ["user", "model", "user"]
    assert body["contents"][0]["parts"] == says("Begin.")


def test_M4_a_prefill_is_passed_on(sent: Sent) -> None:
    body = sent(messages=[USER, {"role": "assistant", "content": "The answer is "}])
    assert body["contents"][-1] == {"role": "model", "parts": says("The answer is ")}


@pytest.mark.parametrize("to", ["gemini-3.5-flash-lite", "gemini-3.6-flash", "gemini-3.8-flash", "gemini-flash-latest"])
def test_M4_where_no_prefill_is_taken_the_user_speaks_last(sent: Sent, to: str) -> None:
    """As on OpenAI, the answer is a message after that of the assistant."""
    body = sent(to, messages=[USER, {"role": "assistant", "content": "The"}])
    assert [turn["role"] for turn in body["contents"]] == ["user", "model", "user"]
    assert body["contents"][-1]["parts"] == says("Continue.")


@pytest.mark.parametrize(
    ("to", "roles"),
    [
        ("gemini-2.5-flash", ["user", "model", "user"]),
        ("gemini-3.5-flash", ["user", "model", "user"]),
        (NEW, ["user", "model", "user", "user"]),
    ],
)
def test_T7_results_stand_alone_where_the_model_wants_it(sent: Sent, to: str, roles: list[str]) -> None:
    more = {"role": "system", "content": "More."}
    turns = sent(to, messages=[USER, calls(call("c1")), result("c1"), more, USER])["contents"]
    assert [turn["role"] for turn in turns] == roles
    assert "functionResponse" in turns[2]["parts"][0]
    texts = [part["text"] for turn in turns[2:] for part in turn["parts"] if "text" in part]
    assert texts == ["More.", USER["content"]]
    if len(turns) == 4:
        assert len(turns[2]["parts"]) == 1


@pytest.mark.parametrize("empty", ["", [{"type": "text", "text": ""}]])
def test_M5_empty_text_is_left_out(sent: Sent, empty: Any) -> None:
    body = sent(
        messages=[
            {"role": "system", "content": empty},
            {"role": "user", "content": empty},
            {"role": "assistant", "content": empty},
            {"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": " "}]},
        ]
    )
    assert body == {
        "contents": [{"role": "user", "parts": says(" ")}],
    }


def test_M5_nothing_at_all_is_still_a_request(sent: Sent) -> None:
    assert sent(messages=[{"role": "user", "content": ""}])["contents"] == [{"role": "user", "parts": says("Begin.")}]


@pytest.mark.parametrize("content", [None, "", "Hi", [{"type": "text", "text": "Hi"}], "absent"])
@pytest.mark.parametrize("with_calls", [False, True])
def test_M6_an_assistants_content_may_be_anything(sent: Sent, content: Any, with_calls: bool) -> None:
    said: dict[str, Any] = {
        "role": "assistant",
        "content": content,
        "name": "bot",
        "refusal": None,
        "annotations": [],
        "audio": None,
    }
    if content == "absent":
        del said["content"]
    rest: list[Any] = [USER]
    if with_calls:
        said["tool_calls"] = [call("c1")]
        rest = [result("c1"), USER]
    body = sent(messages=[{**USER, "name": "ann"}, said, *rest])
    texts = [
        part["text"] for turn in body["contents"] if turn["role"] == "model" for part in turn["parts"] if "text" in part
    ]
    assert texts == (["Hi"] if content in ("Hi", [{"type": "text", "text": "Hi"}]) else [])


def test_M6_a_refusal_in_the_history_is_what_was_said(sent: Sent) -> None:
    part = {"type": "refusal", "refusal": "No, too."}
    body = sent(
        messages=[
            USER,
            {"role": "assistant", "content": None, "refusal": "No."},
            USER,
            {"role": "assistant", "content": [part]},
            USER,
        ]
    )
    assert [turn["parts"] for turn in body["contents"] if turn["role"] == "model"] == [says("No."), says("No, too.")]


def test_M6_audio_that_only_openai_has_is_refused_where_nothing_else_was_said(sent: Sent) -> None:
    with pytest.raises(InvalidRequest) as refused:
        sent(messages=[USER, {"role": "assistant", "audio": {"id": "audio_1"}}, USER])
    assert refused.value.param == "messages[1].audio"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"functions": [{"name": "f", "parameters": {}}]}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"messages": [USER, {"role": "function", "name": "f", "content": "x"}]}, "messages[1].role"),
        (
            {"messages": [USER, {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}]},
            "messages[1].function_call",
        ),
    ],
)
def test_M7_the_older_functions_are_refused_and_named(sent: Sent, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest, match="use tools") as refused:
        sent(**fields)
    assert refused.value.param == param


def test_M8_cache_control_is_left_out(sent: Sent) -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    tool = {"type": "function", "function": {"name": "f", **mark}, **mark}
    body = sent(
        messages=[{"role": "user", "content": [{"type": "text", "text": "Hello", **mark}], **mark}], tools=[tool]
    )
    assert "cache" not in str(body)


# ---------------------------------------------------------------- calls and their results


@pytest.mark.parametrize("to", [OLD, NEW])
def test_T6_the_whole_loop_works_with_standard_fields_only(sent: Sent, to: str) -> None:
    body = sent(
        to,
        messages=[
            USER,
            calls(call("c1"), content="Let me see."),
            result("c1"),
            calls(call("c2"), call("c3", "get_time", "{}")),
            result("c3", "noon"),
            result("c2", "rainy"),
            {"role": "assistant", "content": "Rainy at noon."},
            {"role": "user", "content": "Thanks"},
        ],
    )
    turns = body["contents"]
    assert [turn["role"] for turn in turns] == ["user", "model", "user", "model", "user", "model", "user"]
    assert [next(iter(part)) for part in turns[1]["parts"]] == ["text", "functionCall"]
    answers = [part["functionResponse"] for part in turns[4]["parts"]]
    assert [(answer["name"], answer["response"]) for answer in answers] == [
        ("get_weather", {"output": "rainy"}),
        ("get_time", {"output": "noon"}),
    ]
    assert [answer.get("id") for answer in answers] == (["c2", "c3"] if to == NEW else [None, None])


@pytest.mark.parametrize(
    ("content", "response"),
    [
        ("sunny", {"output": "sunny"}),
        ("", {"output": ""}),
        (None, {"output": ""}),
        ('{"temperature": 21.5}', {"temperature": 21.5}),
        ('  {"a": 1}', {"a": 1}),
        ('{"error": "no such city"}', {"error": "no such city"}),
        ("[1, 2]", {"output": [1, 2]}),
        ("17", {"output": "17"}),
        ("null", {"output": "null"}),
        ('{"broken": ', {"output": '{"broken": '}),
        ("[" * 5000, {"output": "[" * 5000}),
        ([{"type": "text", "text": "sun"}, {"type": "text", "text": "ny"}], {"output": "sunny"}),
        ([], {"output": ""}),
    ],
)
def test_T7_a_result_is_an_object_whatever_it_was(sent: Sent, content: Any, response: Any) -> None:
    body = sent(messages=[USER, calls(call("c1")), result("c1", content)])
    assert body["contents"][-1]["parts"] == [{"functionResponse": {"name": "get_weather", "response": response}}]


def test_T7_the_users_text_stands_after_all_results(sent: Sent) -> None:
    body = sent(messages=[USER, calls(call("c1"), call("c2")), result("c2", "b"), result("c1", "a"), USER])
    parts = body["contents"][-1]["parts"]
    assert [part.get("functionResponse", {}).get("response") for part in parts] == [
        {"output": "a"},
        {"output": "b"},
        None,
    ]
    assert parts[-1] == {"text": "Hello"}


def test_T7_two_identical_calls_stay_two(sent: Sent) -> None:
    body = sent(messages=[USER, calls(call("same"), call("same")), result("same", "first"), result("same", "second")])
    assert len(body["contents"][1]["parts"]) == 2
    answers = [part["functionResponse"]["response"] for part in body["contents"][2]["parts"]]
    assert answers == [{"output": "first"}, {"output": "second"}]


@pytest.mark.parametrize(
    ("arguments", "args"),
    [
        ("", {}),
        ("{}", {}),
        ('{"a": [1, null, {"b": 1e3}]}', {"a": [1, None, {"b": 1000.0}]}),
        ("not json", {"input": "not json"}),
        ("[1]", {"input": [1]}),
        ("null", {"input": None}),
        ('"x"', {"input": "x"}),
        ("[" * 5000, {"input": "[" * 5000}),
    ],
)
def test_T8_arguments_are_an_object_whatever_they_were(sent: Sent, arguments: str, args: Any) -> None:
    body = sent(messages=[USER, calls(call("c1", arguments=arguments)), result("c1")])
    assert body["contents"][1]["parts"][0]["functionCall"]["args"] == args


def test_T8_what_is_nested_too_deeply_is_never_a_crash() -> None:
    known = Given(model="m", rules=rules_of(NEW, {}))
    for depth in range(300, 1200, 25):
        deep = '{"a":' * depth + "1" + "}" * depth
        messages = [USER, calls(call("c1", arguments=deep)), result("c1", deep)]
        with suppress(InvalidRequest):
            encode_request(chat(messages=messages), known, None)


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([USER, result("c1")], "messages[1].tool_call_id"),
        ([USER, calls(call("c1")), result("c2")], "messages[2].tool_call_id"),
        ([USER, calls(call("c1")), result("c1"), result("c1")], "messages[3].tool_call_id"),
        ([USER, calls(call("c1")), USER], "messages[2]"),
        ([USER, calls(call("c1"), call("c2")), result("c1"), {"role": "assistant", "content": "x"}], "messages[3]"),
        ([USER, calls(call("c1"))], "messages"),
    ],
)
def test_T10_calls_and_results_that_do_not_meet_are_refused(sent: Sent, messages: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        sent(messages=messages)
    assert refused.value.param == param


def test_a_custom_tools_call_is_refused(sent: Sent) -> None:
    custom = {"id": "c1", "type": "custom", "custom": {"name": "f", "input": "x"}}
    with pytest.raises(InvalidRequest) as refused:
        sent(messages=[USER, calls(custom), result("c1")])
    assert refused.value.param == "messages[1].tool_calls[0].type"


def test_names_that_the_api_does_not_take_are_renamed_everywhere(sent: Sent) -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("1st", "_1st", "-x")]
    made = calls(call("c1", "1st"), call("c2", "-x"))
    body = sent(
        messages=[USER, made, result("c1"), result("c2")],
        tools=tools,
        tool_choice={"type": "function", "function": {"name": "1st"}},
    )
    declared = [one["name"] for one in body["tools"][0]["functionDeclarations"]]
    assert declared == ["_1st", "__1st", "_-x"]
    assert [part["functionCall"]["name"] for part in body["contents"][1]["parts"]] == ["_1st", "_-x"]
    assert body["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"] == ["_1st"]


# ---------------------------------------------------------------- signatures


DUMMY = "skip_thought_signature_validator"
ONE, THREE, OURS, CLIENT = "b25l", "dGhyZWUh", "b3Vycw==", "Y2xpZW50"
LOOP = [USER, calls(call("c1"), call("c2")), result("c1"), result("c2"), calls(call("c3")), result("c3")]


def signatures(body: dict[str, Any]) -> list[Any]:
    return [
        part.get("thoughtSignature") for turn in body["contents"] for part in turn["parts"] if "functionCall" in part
    ]


def test_R6_remembered_signatures_are_restored(sent: Sent) -> None:
    body = sent(NEW, given={"signatures": {"c1": ONE, "c3": THREE}}, messages=LOOP)
    assert signatures(body) == [ONE, None, THREE]


def test_R6_a_lost_signature_of_the_current_turn_is_replaced(sent: Sent) -> None:
    assert signatures(sent(NEW, messages=LOOP)) == [DUMMY, None, DUMMY]
    assert signatures(sent(NEW, given={"signatures": {"c3": THREE}}, messages=LOOP)) == [DUMMY, None, THREE]


def test_R6_turns_that_are_over_need_none(sent: Sent) -> None:
    assert signatures(sent(NEW, messages=[*LOOP, {"role": "assistant", "content": "Sunny."}, USER])) == [None] * 3
    later = [*LOOP, {"role": "assistant", "content": "Sunny."}, USER, calls(call("c4")), result("c4")]
    assert signatures(sent(NEW, messages=later)) == [None, None, None, DUMMY]


def test_R6_words_of_the_user_beside_results_may_not_begin_a_turn(sent: Sent) -> None:
    """The two are one turn for Google. Whether it counts that as a new one is nowhere said; a dummy is always taken."""
    assert signatures(sent("gemini-3.5-flash", messages=[*LOOP, USER])) == [DUMMY, None, DUMMY]


def test_R6_a_signature_that_the_client_gives_back_comes_first(sent: Sent) -> None:
    signed = call("c1", extra_content={"google": {"thought_signature": CLIENT}})
    body = sent(NEW, given={"signatures": {"c1": OURS}}, messages=[USER, calls(signed), result("c1")])
    assert signatures(body) == [CLIENT]


@pytest.mark.parametrize("extra", [None, 5, {"google": 5}, {"google": {"thought_signature": 5}}, {"other": {}}])
def test_R6_what_is_no_signature_is_none(sent: Sent, extra: Any) -> None:
    assert signatures(sent(NEW, messages=[USER, calls(call("c1", extra_content=extra)), result("c1")])) == [DUMMY]


def test_R6_the_dummy_is_data(sent: Sent) -> None:
    dummy = "context_engineering_is_the_way_to_go"
    body = sent(NEW, overrides={"dummy_signature": dummy}, messages=[USER, calls(call("c1")), result("c1")])
    assert signatures(body) == [dummy]


def test_R6_models_that_demand_none_get_what_there_is(sent: Sent) -> None:
    assert signatures(sent(OLD, given={"signatures": {"c1": ONE}}, messages=LOOP)) == [ONE, None, None]
    assert signatures(sent("gemini-2.0-flash", given={"signatures": {"c1": ONE}}, messages=LOOP)) == [None] * 3


def test_R6_a_texts_signature_is_taken_back(sent: Sent) -> None:
    signed = {"extra_content": {"google": {"thought_signature": CLIENT}}}
    body = sent(NEW, messages=[USER, {"role": "assistant", "content": "Hi", **signed}, USER])
    assert body["contents"][1]["parts"] == [{"text": "Hi", "thoughtSignature": CLIENT}]
    body = sent(NEW, messages=[USER, {"role": "assistant", "content": "", **signed}, USER])
    assert body["contents"][1]["parts"] == [{"text": "", "thoughtSignature": CLIENT}]
