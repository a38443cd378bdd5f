"""The guard around every request: what a handler raises becomes an answer, and nothing of it leaks."""

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message

from gateway_core import config_file
from gateway_core.edge.app import App
from gateway_core.edge.guard import ClientGone
from gateway_core.errors import ConfigError, InvalidRequest, StoreError, StoreTooNew
from gateway_core.gateway import Gateway
from gateway_core.home import Home
from gateway_core.ports import Endpoint
from gateway_core.types import Principal

Handler = Callable[[Request, Principal | None], Any]


@asynccontextmanager
async def application(home: Path, handler: Handler, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[App]:
    """A real gateway's application, with one more endpoint, which anybody may call."""
    endpoint = Endpoint("POST", "/test", "public", handler, "For this test.")
    monkeypatch.setattr("gateway_core.plugins.PluginSet.endpoints", lambda _self, _services: [endpoint])
    gateway = Gateway.assemble(config_file.load(None, Home(home)), Home(home))
    assert isinstance(gateway.app, App)
    await gateway.start()
    try:
        yield gateway.app
    finally:
        await gateway.stop()


async def ask(
    app: App, path: str = "/test", method: str = "POST", body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    """One request; what was sent for it. Status 0: nothing was."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [], "client": ("127.0.0.1", 1)}
    await app({**scope, "query_string": b"", "root_path": ""}, receive, send)
    if not sent:
        return 0, {}, b""
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join([message.get("body", b"") for message in sent[1:]])


def raising(error: BaseException) -> Handler:
    async def handler(_request: Request, _principal: Principal | None) -> Response:
        raise error

    return handler


async def test_a_bug_is_503_with_an_id_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with application(tmp_path, raising(ValueError("what the client sent")), monkeypatch) as app:
        status, headers, body = await ask(app)
    assert status == 503
    error = json.loads(body)["error"]
    assert error["code"] == "internal_error"
    assert error["request_id"] == headers["x-request-id"] == headers["x-syncropic-request-id"]
    assert b"what the client sent" not in body
    assert b"ValueError" not in body
    assert [record.exc_info is not None for record in caplog.records if record.levelno == logging.ERROR] == [True]


async def test_a_store_that_fails_is_503_to_be_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with application(tmp_path, raising(StoreError("disk full at /secret")), monkeypatch) as app:
        status, headers, body = await ask(app)
    assert (status, headers["retry-after"]) == (503, "5")
    assert b"/secret" not in body


async def test_a_refusal_is_rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with application(tmp_path, raising(InvalidRequest("bad", param="x")), monkeypatch) as app:
        status, _, body = await ask(app)
    assert (status, json.loads(body)["error"]["param"]) == (400, "x")


@pytest.mark.parametrize("gone", [ClientGone(), ClientDisconnect()])
async def test_nobody_is_answered_who_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: Exception) -> None:
    async with application(tmp_path, raising(gone), monkeypatch) as app:
        assert await ask(app) == (0, {}, b"")


async def test_an_answer_that_breaks_off_stays_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Half(Response):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise InvalidRequest("too late")

    async def handler(_request: Request, _principal: Principal | None) -> Response:
        return Half()

    async with application(tmp_path, handler, monkeypatch) as app:
        assert (await ask(app))[::2] == (200, b"")


async def test_a_handler_cannot_read_beyond_the_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def handler(request: Request, _principal: Principal | None) -> Response:
        return Response(str(len(await request.body())))

    async with application(tmp_path, handler, monkeypatch) as app:
        assert (await ask(app, body=b"x" * 1000))[2] == b"1000"
        assert (await ask(app, body=b"x" * (20 * 1024 * 1024 + 1)))[0] == 413


async def test_ids_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with application(tmp_path, raising(InvalidRequest("m")), monkeypatch) as app:
        ids = {(await ask(app))[1]["x-request-id"] for _ in range(10)}
    assert len(ids) == 10


async def test_while_draining_only_health_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with application(tmp_path, raising(InvalidRequest("m")), monkeypatch) as app:
        app._host.draining = True
        assert (await ask(app))[0] == 503
        assert (await ask(app, "/healthz", "GET"))[0] == 200
        status, headers, body = await ask(app, "/readyz", "GET")
    assert (status, headers["retry-after"], json.loads(body)["status"]) == (503, "5", "draining")


def test_a_plugin_cannot_take_a_route_of_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for method, path in (("GET", "/v1/keys"), ("POST", "/v1/chat/completions")):
        endpoint = Endpoint(method, path, "public", raising(InvalidRequest("m")), "Not its own.")
        monkeypatch.setattr("gateway_core.plugins.PluginSet.endpoints", lambda _s, _v, found=endpoint: [found])
        with pytest.raises(ConfigError, match=f"a plugin registers {method} {path}, which is the gateway's own"):
            Gateway.assemble(config_file.load(None, Home(tmp_path)), Home(tmp_path))


async def lifespan(app: App) -> list[str]:
    """What the application says to a server that starts and stops it."""
    said: list[str] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup" if not said else "lifespan.shutdown"}

    async def send(message: Message) -> None:
        said.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    return said


async def test_any_asgi_server_can_run_it(tmp_path: Path) -> None:
    gateway = Gateway.assemble(config_file.load(None, Home(tmp_path)), Home(tmp_path))
    assert await lifespan(gateway.app) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_failed_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = Gateway.assemble(config_file.load(None, Home(tmp_path)), Home(tmp_path))

    async def fail() -> None:
        raise StoreTooNew("written by a later version")

    monkeypatch.setattr(gateway, "start", fail)
    assert await lifespan(gateway.app) == ["lifespan.startup.failed"]
