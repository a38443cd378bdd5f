"""What holds whoever answers: the stream, the errors, keys and headers, on the strict upstream of each provider."""

import json
from typing import Any

import pytest

from gateway_core.testing.line import sent_call

PATH = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Hello"}]
TEXT = "naïve 漢字 😀 \u2028 text, and some more of it"
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
STATUSES = [
    (400, 400, "invalid_request"),
    (413, 413, "request_too_large"),
    (401, 503, "provider_error"),
    (403, 503, "provider_error"),
    (404, 503, "provider_error"),
    (429, 429, "provider_rate_limited"),
    (500, 503, "provider_error"),
    (502, 503, "provider_error"),
    (503, 503, "provider_error"),
    (529, 503, "provider_error"),
]


def said(chunks: list[dict[str, Any]]) -> str:
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def refusal(behind: Any) -> str:
    """An error as the provider writes it."""
    forms: dict[str, Any] = {
        "openai": {"error": {"message": "it is bad", "type": "invalid_request_error", "param": None, "code": None}},
        "anthropic": {"type": "error", "error": {"type": "invalid_request_error", "message": "it is bad"}},
        "gemini": {"error": {"code": 400, "message": "it is bad", "status": "INVALID_ARGUMENT"}},
    }
    return json.dumps(forms[behind.provider])


def error_of(response: Any) -> dict[str, Any]:
    assert response.headers["content-type"].startswith("application/json")
    error: dict[str, Any] = response.json()["error"]
    assert {"message", "type", "param", "code"} <= set(error)
    assert isinstance(error["message"], str)
    assert isinstance(error["type"], str)
    assert error["param"] is None or isinstance(error["param"], str)
    assert error["code"] is None or isinstance(error["code"], str)
    return error


def test_O1_U1_a_plain_answer(behind: Any) -> None:
    behind.script(text=TEXT)
    answer = behind.answer()
    assert answer["id"].startswith("chatcmpl-")
    assert (answer["object"], answer["model"], type(answer["created"])) == ("chat.completion", behind.model, int)
    (choice,) = answer["choices"]
    assert (choice["index"], choice["message"]["role"], choice["message"]["content"]) == (0, "assistant", TEXT)
    assert choice["finish_reason"] == "stop"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


def test_O12_no_list_of_calls_is_empty(behind: Any) -> None:
    assert "[]" not in json.dumps(behind.answer(tools=[TOOL])["choices"])
    chunks = behind.chunks(tools=[TOOL])
    assert all("tool_calls" not in choice["delta"] for chunk in chunks for choice in chunk["choices"])


def test_X1_X3_X14_a_stream(behind: Any) -> None:
    behind.script(text=TEXT)
    chunks = behind.chunks()
    assert said(chunks) == TEXT
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in chunks}) == 1
    assert all(chunk["choices"] and not chunk.get("usage") for chunk in chunks)
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert [choice["delta"].get("role") for choice in choices] == ["assistant"] + [None] * (len(choices) - 1)
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]


def test_X2_usage_comes_once_at_the_end(behind: Any) -> None:
    *chunks, last = behind.chunks(stream_options={"include_usage": True})
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == last["usage"]["prompt_tokens"] + last["usage"]["completion_tokens"] > 0
    assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)


def test_U3_counts_that_grow_are_not_added_up(behind: Any) -> None:
    plain = behind.answer()["usage"]
    streamed = behind.chunks(stream_options={"include_usage": True})[-1]["usage"]
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert [streamed[name] for name in counts] == [plain[name] for name in counts]


def test_X4_each_event_is_written_as_it_comes(behind: Any) -> None:
    behind.script(words=20, gap_ms=200)
    body = {"model": behind.model, "messages": HELLO, "stream": True}
    with behind.http.stream("POST", PATH, json=body) as answer:
        reads = answer.iter_raw()  # kept: a generator that is dropped hangs up
        first = next(read for read in reads if b"data: " in read)
        assert behind.log()[-1]["state"] == "open"
    assert b"data: " in first


@pytest.mark.parametrize(
    "script",
    [
        {"split": 1},
        {"split": 7, "line_end": "\n"},
        {"split": 5, "line_end": "\r\n"},
        {"split": 1_000_000},
        {"comments": True, "line_end": "\r\n"},
    ],
)
def test_X7_X8_a_stream_is_the_same_however_it_is_written(behind: Any, script: dict[str, Any]) -> None:
    behind.script(text=TEXT, **script)
    assert said(behind.chunks()) == TEXT


def test_X5_X6_calls_of_a_stream(behind: Any) -> None:
    behind.calls(("f", {"a": 1}), ("f", {"a": 1}), ("f", {}))
    choices = [choice for chunk in behind.chunks(tools=[TOOL]) for choice in chunk["choices"]]
    fragments = [fragment for choice in choices for fragment in choice["delta"].get("tool_calls") or ()]
    named = [fragment for fragment in fragments if fragment.get("id")]
    assert [fragment["index"] for fragment in named] == [0, 1, 2]
    assert len({fragment["id"] for fragment in named}) == 3
    assert [fragment["function"]["name"] for fragment in named] == ["f"] * 3
    assert all("name" not in fragment["function"] for fragment in fragments if fragment not in named)
    arguments = ["".join(f["function"]["arguments"] for f in fragments if f["index"] == at) for at in range(3)]
    assert [json.loads(text) for text in arguments] == [{"a": 1}, {"a": 1}, {}]
    assert choices[-1]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "seen", "code"), STATUSES)
def test_E1_E2_E3_E7_each_status_is_the_contracts(behind: Any, status: int, seen: int, code: str, stream: bool) -> None:
    behind.script(status=status, body=refusal(behind), headers={"retry-after": "7"})
    response = behind.ask(stream=stream)
    assert (response.status_code, error_of(response)["code"]) == (seen, code)
    assert ("it is bad" in response.text) is (seen in (400, 413))
    if status in (429, 503):
        assert response.headers["retry-after"] == "7"


@pytest.mark.parametrize(
    "script",
    [
        {"status": 500, "body": "<html><h1>Bad Gateway</h1></html>", "content_type": "text/html"},
        {"body": "<html>ok</html>", "content_type": "text/html"},
        {"body": '{"half": [', "content_type": "application/json"},
        {"body": "[]", "content_type": "application/json"},
        {"reset_at": 1},
        {"close_at": 1},
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_E3_nonsense_is_a_503_in_openais_form(behind: Any, script: dict[str, Any], stream: bool) -> None:
    behind.script(**script)
    response = behind.ask(stream=stream)
    assert (response.status_code, error_of(response)["code"]) == (503, "provider_error")
    assert not any(word in response.text for word in ("Traceback", "html", "127.0.0.1"))


@pytest.mark.parametrize("how", ["reset_at", "close_at"])
def test_E4_a_stream_that_breaks_off_ends_with_an_error(behind: Any, how: str) -> None:
    behind.script(words=200, gap_ms=1)
    whole = behind.ask(stream=True)
    length = behind.log()[-1]["sent"]
    assert whole.text.endswith("data: [DONE]\n\n")
    behind.upstream.reset()
    behind.script(words=200, gap_ms=1, **{how: length // 2})
    *begun, last = behind.events()
    assert last["error"]["code"] == "provider_error"
    assert begun
    assert all(choice["finish_reason"] is None for chunk in begun for choice in chunk["choices"])


def test_E6_a_client_that_leaves_ends_the_upstreams_call(behind: Any) -> None:
    behind.script(words=50_000, gap_ms=5)
    body = {"model": behind.model, "messages": HELLO, "stream": True}
    with behind.http.stream("POST", PATH, json=body) as answer:
        reads = answer.iter_raw()
        next(reads)
    behind.upstream.wait_for(lambda log: log[-1]["state"] == "client_gone")


def test_E6_a_plain_call_that_nobody_waits_for_is_ended_too(behind: Any) -> None:
    behind.script(hang="before_head")
    with sent_call(behind.gateway.url, behind.gateway.key, {"model": behind.model, "messages": HELLO}):
        behind.upstream.wait_for(bool)
    behind.upstream.wait_for(lambda log: log[-1]["state"] == "client_gone")


def test_K1_K2_nothing_of_the_client_goes_upstream_but_what_it_says(behind: Any) -> None:
    headers = {"Cookie": "session=1", "X-Api-Key": "sk-other", "X-Goog-Api-Key": "other", "X-Custom": "1"}
    answer = behind.http.post(PATH, json={"model": behind.model, "messages": HELLO}, headers=headers)
    assert answer.status_code == 200
    entry = behind.log()[-1]
    ours = {
        "openai": ("authorization", f"Bearer {behind.upstream.key}"),
        "anthropic": ("x-api-key", behind.upstream.key),
        "gemini": ("x-goog-api-key", behind.upstream.key),
    }
    name, value = ours[behind.provider]
    sent = entry["headers"]
    assert sent[name] == value
    credentials = {"authorization", "x-api-key", "x-goog-api-key", "cookie", "x-custom"} & set(sent)
    assert credentials == {name}
    if behind.provider == "anthropic":
        assert sent["anthropic-version"] == "2023-06-01"
    told = json.dumps(entry)
    assert behind.gateway.key not in told
    assert "key=" not in entry.get("path", "")
