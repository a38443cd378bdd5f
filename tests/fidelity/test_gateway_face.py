"""The gateway's own face: keys, models, bodies, routes, headers, as OpenAI's own API shows them."""

import asyncio
import json
from typing import Any

import httpx2
import openai
import pytest
from openai import OpenAI

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
PATH = "/v1/chat/completions"


def error_of(response: httpx2.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("application/json")
    error: dict[str, Any] = response.json()["error"]
    assert isinstance(error["message"], str)
    assert isinstance(error["type"], str)
    assert error["param"] is None or isinstance(error["param"], str)
    assert error["code"] is None or isinstance(error["code"], str)
    return error


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("header", [None, "Bearer sk-wrong", "Bearer", "Basic YTpi", "sk-wrong"])
def test_G1_a_wrong_or_missing_key_is_a_401(front: Any, header: str | None, stream: bool) -> None:
    headers = {} if header is None else {"Authorization": header}
    response = httpx2.post(front.gateway.url + PATH, json={"model": "gpt-4o", "messages": HELLO}, headers=headers)
    assert error_of(response, 401)["code"] in ("invalid_bearer", "invalid_api_key")
    assert front.upstream.log() == []


@pytest.mark.parametrize("stream", [False, True])
def test_G2_an_unknown_model_is_a_404(front: Any, stream: bool) -> None:
    error = error_of(front.ask("gpt-77", stream=stream), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"x"', b"null", b"12", b"\xff\xfe", b'{"model": "gpt-4o"}', b'{"messages": []}', b"{}"],
)
def test_G3_what_is_no_request_is_a_400(front: Any, body: bytes) -> None:
    response = front.http.post(PATH, content=body, headers={"content-type": "application/json"})
    assert error_of(response, 400)["code"] == "invalid_request"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [5]}, "messages[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "bot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"model": None}, "model"),
        ({"model": 5}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": {}}, "tools"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"logit_bias": {"5": 1000}}, "logit_bias"),
    ],
)
def test_G3_a_field_that_is_wrong_is_named(front: Any, fields: dict[str, Any], param: str) -> None:
    error = error_of(front.ask(**fields), 400)
    assert (error["code"], error["type"]) == ("invalid_request", "invalid_request_error")
    assert error["param"].startswith(param)
    assert front.upstream.log() == []


def test_G4_the_models_and_each_of_them(front: Any) -> None:
    listed = front.http.get("/v1/models").json()
    assert listed["object"] == "list"
    for model in listed["data"]:
        assert (model["object"], type(model["created"]), type(model["owned_by"])) == ("model", int, str)
        assert front.http.get(f"/v1/models/{model['id']}").json() == model
    assert {model["id"] for model in listed["data"]} >= {"gpt-4o", "o3", "compat"}
    error_of(front.http.get("/v1/models/nothing"), 404)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/", "/v2/chat/completions", "/v1/chat/completions/x"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_G5_an_unknown_route_is_a_404_in_openais_form(front: Any, path: str, method: str) -> None:
    error_of(front.http.request(method, path, json={}), 404)


def test_G5_another_method_is_told_which(front: Any) -> None:
    response = front.http.get(PATH)
    error_of(response, 405)
    assert "POST" in response.headers["allow"]


async def test_G6_forty_streams_at_once_do_not_mix(front: Any) -> None:
    front.upstream.script("compat", words=40, gap_ms=1)
    headers = {"Authorization": f"Bearer {front.gateway.key}"}
    async with httpx2.AsyncClient(base_url=front.gateway.url, headers=headers, timeout=30) as client:

        async def one(number: int) -> tuple[str, str]:
            model = "compat" if number % 2 else "gpt-4o"
            body = {"model": model, "messages": HELLO, "stream": True}
            return model, (await client.post(PATH, json=body)).text

        answers = await asyncio.gather(*(one(number) for number in range(40)))
    ids = set()
    for model, text in answers:
        *chunks, done = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
        assert done == "[DONE]"
        said = [json.loads(chunk) for chunk in chunks if not chunk.startswith(":")]
        assert {chunk["model"] for chunk in said} == {model}
        (one_id,) = {chunk["id"] for chunk in said}
        ids.add(one_id)
        words = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in said).split()
        assert words == [f"word{number}" for number in range(40 if model == "compat" else 5)]
    assert ids


@pytest.mark.parametrize("text", ["words " * 330_000, "漢" * 700_000])
def test_G6_a_body_of_two_megabytes(front: Any, text: str) -> None:
    assert front.sent(messages=[{"role": "user", "content": text}])["messages"][0]["content"] == text


def test_H1_X11_X12_the_content_types(front: Any) -> None:
    assert front.ask().headers["content-type"].startswith("application/json")
    front.upstream.script("gpt-4o", comments=True)
    response = front.ask(stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert "no-cache" in response.headers["cache-control"]
    lines = [line for line in response.text.split("\n") if line and not line.startswith(":")]
    assert all(line.startswith("data: ") for line in lines)
    assert response.text.count("\n\n") == len(lines)
    assert "\r" not in response.text


def test_H2_every_reply_has_its_id(front: Any) -> None:
    anonymous = httpx2.get(front.gateway.url + "/v1/models/none")
    replies = [front.ask(), front.ask(stream=True), front.ask(n=0), front.ask("none"), anonymous]
    replies += [front.http.get("/v1/models"), front.http.get("/nowhere"), front.http.get("/healthz")]
    ids = [reply.headers["x-request-id"] for reply in replies]
    assert all(one.startswith("req_") for one in ids)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/json;charset=UTF-8"])
@pytest.mark.parametrize("escaped", [False, True])
def test_H3_a_charset_and_utf_8_escaped_or_not(front: Any, kind: str, escaped: bool) -> None:
    text = "naïve 漢字 😀 \u2028"
    front.upstream.script("gpt-4o", text=text)
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}, ensure_ascii=escaped)
    response = front.http.post(PATH, content=body.encode(), headers={"content-type": kind})
    assert json.loads(response.content.decode("utf-8"))["choices"][0]["message"]["content"] == text
    assert front.upstream.log()[-1]["body"]["messages"][0]["content"] == text


def test_X10_a_slow_first_byte_is_no_failure(front: Any) -> None:
    front.upstream.script("gpt-4o", delay_ms=1500)
    assert front.chunks()[0]["choices"][0]["delta"]["role"] == "assistant"
    assert front.answer()["choices"][0]["message"]["content"]


def test_X13_usage_has_a_chunk_of_its_own_and_is_null_before(front: Any) -> None:
    front.upstream.script("gpt-4o", usage={"prompt_tokens": 9, "completion_tokens": 4})
    *chunks, counted = front.chunks(stream_options={"include_usage": True})
    assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)
    assert (counted["choices"], counted["usage"]["total_tokens"]) == ([], 13)


@pytest.mark.parametrize("stream", [False, True])
def test_E5_the_sdks_own_retry_honours_retry_after_and_succeeds(front: Any, stream: bool) -> None:
    front.upstream.script("gpt-4o", status=429, body="{}", headers={"retry-after": "1"}, times=1)
    with OpenAI(base_url=front.gateway.base_url, api_key=front.gateway.key, max_retries=1) as client:
        answer: Any = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=stream)
        if stream:
            assert [chunk.choices[0].finish_reason for chunk in answer][-1] == "stop"
        else:
            assert answer.choices[0].finish_reason == "stop"
    assert len(front.upstream.log()) == 2


def test_E5_what_is_not_to_be_retried_is_not(front: Any) -> None:
    with (
        OpenAI(base_url=front.gateway.base_url, api_key=front.gateway.key, max_retries=3) as client,
        pytest.raises(openai.BadRequestError),
    ):
        client.chat.completions.create(model="gpt-4o", messages=HELLO, extra_body={"top_k": 1})
    assert len(front.upstream.log()) == 1
