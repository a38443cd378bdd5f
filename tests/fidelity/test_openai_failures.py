"""What fails behind the gateway, as its client sees it: OpenAI's error form, the contract's status, no invented end."""

import json
from typing import Any

import pytest

from gateway_core.testing.line import sent_call

ERROR = {"message": "it is bad", "type": "invalid_request_error", "param": "temperature", "code": "bad_value"}
CHUNK = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "hi"}, "finish_reason": None}]}


def error_of(response: Any) -> dict[str, Any]:
    assert response.headers["content-type"].startswith("application/json")
    error: dict[str, Any] = response.json()["error"]
    assert isinstance(error["message"], str)
    assert isinstance(error["type"], str)
    assert error["param"] is None or isinstance(error["param"], str)
    assert error["code"] is None or isinstance(error["code"], str)
    return error


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "seen", "code"),
    [
        (400, 400, "invalid_request"),
        (422, 400, "invalid_request"),
        (413, 413, "request_too_large"),
        (401, 503, "provider_error"),
        (403, 503, "provider_error"),
        (404, 503, "provider_error"),
        (429, 429, "provider_rate_limited"),
        (500, 503, "provider_error"),
        (502, 503, "provider_error"),
        (503, 503, "provider_error"),
        (529, 503, "provider_error"),
    ],
)
def test_E1_E2_E3_E7_each_status_is_the_contracts(front: Any, status: int, seen: int, code: str, stream: bool) -> None:
    front.upstream.script("gpt-4o", status=status, body=json.dumps({"error": ERROR}), headers={"retry-after": "7"})
    response = front.ask(stream=stream)
    error = error_of(response)
    assert (response.status_code, error["code"]) == (seen, code)
    if seen in (400, 413):
        assert (error["message"], error["param"]) == ("it is bad", "temperature")
    else:
        assert "it is bad" not in response.text
    if status in (429, 503):
        assert response.headers["retry-after"] == "7"


@pytest.mark.parametrize("stream", [False, True])
def test_E2_a_429_inside_a_200_is_a_429_before_the_first_byte(front: Any, stream: bool) -> None:
    body = json.dumps({"error": {"message": "slow down", "code": 429}})
    if stream:
        front.says(body, "[DONE]")
    else:
        front.upstream.script("gpt-4o", body=body)
    assert front.ask(stream=stream).status_code == 429


@pytest.mark.parametrize(
    "script",
    [
        {"status": 500, "body": "<html><h1>502 Bad Gateway</h1></html>", "content_type": "text/html"},
        {"body": "<html>ok</html>", "content_type": "text/html"},
        {"body": '{"choices": [', "content_type": "application/json"},
        {"body": "{}"},
        {"body": '{"object": "error", "message": "x", "code": 500}'},
        {"reset_at": 1},
        {"close_at": 1},
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_E3_nonsense_of_an_upstream_is_a_503_in_openais_form(front: Any, script: dict[str, Any], stream: bool) -> None:
    front.upstream.script("gpt-4o", **script)
    response = front.ask(stream=stream)
    error = error_of(response)
    assert (response.status_code, error["code"]) == (503, "provider_error")
    assert not any(word in response.text for word in ("Traceback", "html", "127.0.0.1"))


def test_E1_a_400_inside_a_stream_is_one_while_nothing_has_begun(front: Any) -> None:
    front.says({"error": {"message": "too long", "type": "BadRequestError", "code": 400, "param": "messages"}})
    response = front.ask(stream=True)
    assert response.status_code == 400
    assert (error_of(response)["message"], error_of(response)["param"]) == ("too long", "messages")


@pytest.mark.parametrize(
    "ending",
    [
        [{"error": {"message": "overloaded", "code": 500}}],
        [{"error": {"message": "too long", "code": 400}}],
        [{"error": "plain words"}],
        [{"object": "error", "message": "x", "code": 400}],
        [{"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}, "[DONE]"],
        ["{nonsense", "[DONE]"],
        ["[DONE]"],
        [],
    ],
)
def test_E4_a_stream_that_breaks_off_ends_with_an_error(front: Any, ending: list[Any]) -> None:
    front.says(CHUNK, *ending)
    begun, last = front.events()
    assert begun["choices"][0]["delta"]["content"] == "hi"
    assert begun["choices"][0]["finish_reason"] is None
    assert last["error"]["code"] == "provider_error"


@pytest.mark.parametrize("how", ["reset_at", "close_at"])
def test_E4_a_connection_that_breaks_off_is_an_error(front: Any, how: str) -> None:
    front.upstream.script("gpt-4o", words=50, gap_ms=1, **{how: 4000})
    *begun, last = front.events()
    assert last["error"]["code"] == "provider_error"
    assert begun
    assert all(choice["finish_reason"] is None for chunk in begun for choice in chunk["choices"])


@pytest.mark.parametrize("stream", [False, True])
def test_E6_a_client_that_leaves_ends_the_upstreams_call(front: Any, stream: bool) -> None:
    if stream:
        front.upstream.script("gpt-4o", words=100_000, gap_ms=5)
    else:
        front.upstream.script("gpt-4o", hang="before_head")
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], "stream": stream}
    if stream:
        with front.http.stream("POST", "/v1/chat/completions", json=body) as answer:
            next(answer.iter_raw())
    else:
        with sent_call(front.gateway.url, front.gateway.key, body):
            front.upstream.wait_for(bool)
    front.upstream.wait_for(lambda log: log[-1]["state"] == "client_gone")


def test_K1_K2_nothing_of_the_client_goes_upstream_but_its_body(front: Any) -> None:
    headers = {"Cookie": "session=1", "X-Api-Key": "sk-other", "OpenAI-Organization": "org-1", "X-Custom": "1"}
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}
    assert front.http.post("/v1/chat/completions?key=1", json=body, headers=headers).status_code == 200
    sent = front.upstream.log()[-1]["headers"]
    assert sent["authorization"] == f"Bearer {front.upstream.key}"
    assert set(sent) == {
        "accept",
        "accept-encoding",
        "authorization",
        "content-length",
        "content-type",
        "host",
        "user-agent",
    }
    assert front.gateway.key not in json.dumps(front.upstream.log())
