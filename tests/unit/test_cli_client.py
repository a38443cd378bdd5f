"""The client: what is asked for, what is read, and what each refusal says."""

import json
from typing import Any

import httpx2
import pytest

from gateway_core.cli.client import Api
from gateway_core.cli.failure import CUT_SHORT, UNAVAILABLE, ApiFailure, Failure
from gateway_core.cli.inprocess import InProcess


class App:
    """Answers each request with the next of its answers, and remembers what was asked."""

    def __init__(self, *answers: tuple[int, bytes]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        target = scope["path"] + ("?" + scope["query_string"].decode() if scope["query_string"] else "")
        self.asked.append((scope["method"], target, body))
        status, answer = self.answers.pop(0)
        headers = [(b"x-request-id", b"req_1")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


def api(app: App, hint: str = "") -> Api:
    return Api(httpx2.AsyncClient(base_url="http://localhost", transport=InProcess(app)), hint=hint)


def page(*ids: int, after: int | None = None) -> tuple[int, bytes]:
    return 200, json.dumps({"data": [{"sequence": i} for i in ids], "next_after": after}).encode()


def events(*lines: str) -> tuple[int, bytes]:
    return 200, "\n\n".join(lines).encode()


async def test_parameters_and_fields_that_are_none_are_left_out() -> None:
    app = App((200, b"{}"), (200, b"{}"), (204, b""), (200, b"{}"))
    await api(app).get("/a", month="2026-11", model=None)
    await api(app).post("/b", {"name": "x", "cap_usd": None})
    assert await api(app).delete("/c") is None
    await api(app).patch("/d", {"cap_usd": None})
    assert app.asked == [
        ("GET", "/a?month=2026-11", b""),
        ("POST", "/b", b'{"name":"x"}'),
        ("DELETE", "/c", b""),
        ("PATCH", "/d", b'{"cap_usd":null}'),
    ]


async def test_a_refusal_is_the_gateways_message_its_code_and_the_request_id() -> None:
    body = {"error": {"code": "invalid_request", "message": "must be text", "param": "name", "request_id": "req_9"}}
    with pytest.raises(ApiFailure) as caught:
        await api(App((400, json.dumps(body).encode()))).get("/a")
    assert caught.value.message == "name: must be text [invalid_request, req_9]"
    assert (caught.value.status, caught.value.error_code, caught.value.code) == (400, "invalid_request", 1)


async def test_the_openai_dialect_gets_its_request_id_from_the_header() -> None:
    body = {"error": {"message": "Rate limit exceeded.", "type": "rate_limit_error", "param": None, "code": None}}
    with pytest.raises(ApiFailure, match=r"^Rate limit exceeded\. \[req_1\]$"):
        await api(App((429, json.dumps(body).encode()))).get("/a")


async def test_a_401_says_what_to_set() -> None:
    body = json.dumps({"error": {"code": "invalid_bearer", "message": "The bearer is not valid."}}).encode()
    with pytest.raises(ApiFailure, match="Set SYNCROPEL_API_KEY"):
        await api(App((401, body)), hint="Set SYNCROPEL_API_KEY.").get("/a")


@pytest.mark.parametrize("answer", [(502, b"<html>"), (404, b"[]"), (500, b'{"error": "x"}'), (200, b"<html>")])
async def test_something_that_is_no_gateway_is_named_as_such(answer: tuple[int, bytes]) -> None:
    with pytest.raises(Failure, match="is it a gateway"):
        await api(App(answer)).get("/a")


async def test_pages_follow_each_other_to_the_end() -> None:
    app = App(page(1, 2, after=2), page(3))
    rows = [row["sequence"] async for row in api(app).pages("/r", model="demo")]
    assert rows == [1, 2, 3]
    assert [target for _, target, _ in app.asked] == ["/r?model=demo&limit=1000", "/r?model=demo&after=2&limit=1000"]


async def test_a_limit_is_asked_for_and_kept() -> None:
    app = App(page(1, 2, after=2), page(3, after=3))
    assert [row["sequence"] async for row in api(app).pages("/r", limit=3)] == [1, 2, 3]
    assert [target for _, target, _ in app.asked] == ["/r?limit=3", "/r?after=2&limit=1"]


async def test_a_read_that_breaks_off_is_cut_short_and_one_that_never_began_is_refused() -> None:
    error = json.dumps({"error": {"code": "internal_error", "message": "Later."}}).encode()
    rows = api(App(page(1, after=1), (503, error))).pages("/r")
    seen = [await anext(rows)]
    with pytest.raises(Failure, match=r"^cut short: Later\.") as caught:
        await anext(rows)
    assert (caught.value.code, seen) == (CUT_SHORT, [{"sequence": 1}])
    with pytest.raises(ApiFailure, match=r"^Later\."):
        [row async for row in api(App((503, error))).pages("/r")]


async def test_events_of_a_stream() -> None:
    app = App(events('data: {"a":1}', ": keep-alive", 'data:{"a":2}', "data: [DONE]", ""))
    assert [event async for event in api(app).events("/c", {"stream": True})] == [{"a": 1}, {"a": 2}]


async def test_a_stream_without_its_end_and_one_with_an_error_are_cut_short() -> None:
    with pytest.raises(Failure, match="ended early") as caught:
        [event async for event in api(App(events('data: {"a":1}', ""))).events("/c", {})]
    assert caught.value.code == CUT_SHORT
    error = json.dumps({"error": {"code": "provider_error", "message": "It failed.", "request_id": "req_2"}})
    with pytest.raises(Failure, match=r"It failed\. \[provider_error, req_2\]") as caught:
        [event async for event in api(App(events(f"data: {error}", ""))).events("/c", {})]
    assert caught.value.code == CUT_SHORT
    with pytest.raises(ApiFailure, match="nope"):
        [e async for e in api(App((402, b'{"error":{"message":"nope","code":"x"}}'))).events("/c", {})]


async def test_an_address_where_nothing_listens(refusing_port: int) -> None:
    http = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{refusing_port}", trust_env=False)
    async with http:
        with pytest.raises(Failure, match="no gateway answers at http://127") as caught:
            await Api(http).get("/a")
    assert caught.value.code == UNAVAILABLE
