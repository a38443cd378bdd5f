"""Clients that are there no more: who takes nothing of what waits for him, and who goes while his answer is settled."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.types import Message

from gateway_core import config_file
from gateway_core.gateway import Gateway
from gateway_core.home import Home
from gateway_core.testing.line import HELLO, Line, line
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.server import PATIENCE

PLENTY = 200_000
"""Words of a stream that no buffer between provider and client takes: 50 MB."""


@pytest.fixture(scope="module")
def impatient(openai_upstream_process: UpstreamHandle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A gateway that waits a second for a client to take something."""
    home = tmp_path_factory.mktemp("impatient") / "home"
    with line(home, openai_upstream_process, server="stall_seconds = 1") as made:
        yield made


def asked(impatient: Line, **fields: Any) -> socket.socket:
    """A call whose client has hardly any room for its answer, and reads nothing of it."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(PATIENCE)
    host, port = impatient.gateway.url.removeprefix("http://").split(":")
    raw.connect((host, int(port)))
    body = json.dumps({**impatient.body(), **fields}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: {impatient.http.headers['authorization']}\r\n"
    )
    raw.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    return raw


def everything(raw: socket.socket) -> bytes:
    """What there is to read until the connection's end, or its loss."""
    got = b""
    try:
        while data := raw.recv(65536):
            got += data
    except ConnectionError:
        pass  # it was cut
    return got


def test_a_stream_that_nobody_takes_is_cut_and_settled_and_its_provider_let_go(impatient: Line) -> None:
    impatient.upstream.reset()
    impatient.upstream.script("priced", words=PLENTY, usage="none")
    before = impatient.memory()
    with asked(impatient, stream=True) as raw:
        (entry,) = impatient.upstream.wait_for(lambda log: bool(log) and log[0]["state"] == "client_gone", PATIENCE)
        # The provider was read no faster than the client took it, but for what buffers on the way have room for.
        assert entry["sent"] < 30_000_000
        assert impatient.memory() - before < 30_000_000
        request_id = everything(raw).split(b"x-request-id: ", 1)[1].split(b"\r\n", 1)[0].decode()
    row = impatient.row(request_id)
    assert (row["stream_state"], row["outcome"]) == ("client_disconnect", "cut")
    assert 0 < row["charge"] <= row["hold_amount"]
    assert row["acknowledged_bytes"] > 0
    assert row["output"] > 0


@pytest.mark.parametrize("size", [1_000, 90_000])
@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_before_an_answer_is_heard_to_however_large_his_request(
    impatient: Line, size: int, stream: bool
) -> None:
    """A body above uvicorn's high-water mark that comes in one read: no more was read, not even the client's end."""
    impatient.upstream.reset()
    impatient.upstream.script("priced", hang="before_head")
    with asked(impatient, stream=stream, messages=[{"role": "user", "content": "x" * size}]):
        impatient.upstream.wait_for(bool)
    impatient.upstream.wait_for(lambda log: log[0]["state"] == "client_gone")


def test_a_plain_answer_that_nobody_takes_is_not_kept_waiting(impatient: Line) -> None:
    impatient.upstream.reset()
    impatient.upstream.script("priced", text="word " * 2_000_000)
    told = "a client took nothing for 1 s"
    before = impatient.gateway.output().count(told)
    with asked(impatient) as raw:
        deadline = time.monotonic() + PATIENCE
        while impatient.gateway.output().count(told) == before:
            assert time.monotonic() < deadline, "it still waits"
            time.sleep(0.05)
        assert len(everything(raw)) < 10_000_000


# ---------------------------------------------------------------- gone between settlement and answer

CONFIG = """
[providers.demo]
plugin = "provider-demo"
[models.demo]
routes = [{ provider = "demo", model = "demo" }]
price = { input = "100.00", output = "100.00" }
"""


async def test_an_answer_that_is_settled_when_its_client_has_gone_is_given_back(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.ensure()
    file = tmp_path / "vanish.toml"
    file.write_text(CONFIG)
    gateway = Gateway.assemble(config_file.load(file, home), home)
    await gateway.start()
    transport = httpx2.ASGITransport(gateway.app)
    operator = {"Authorization": f"Bearer {home.operator_key_path.read_text().strip()}"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=operator) as http:
        minted = (await http.post("/v1/keys", json={"name": "vanishes", "account": "local"})).json()
        await vanish(gateway, minted["secret"])
        (kept,) = (await http.get("/v1/threads/th_audit_api_usage/records", params={"account": "local"})).json()["data"]
        (refund,) = (await http.get("/v1/admin/adjustments", params={"account": "local"})).json()["data"]
    cost = kept["body"]["cost_usd"]
    assert float(cost) > 0
    assert (refund["amount_usd"], refund["kind"]) == (f"-{cost}", "refund")
    assert await gateway.services.store.ledger.reconcile() == []
    await gateway.stop()


async def vanish(gateway: Gateway, key: str) -> None:
    """A call whose client goes once its settlement is under way; its row is acknowledged when that was noticed."""
    going, noticed = asyncio.Event(), asyncio.Event()
    ledger = gateway.services.store.ledger
    settle = ledger.settle

    async def slowly(settled: "asyncio.Future[Any]") -> Any:
        row = await settled
        await noticed.wait()
        return row

    def settled_late(*arguments: Any) -> "asyncio.Future[Any]":
        going.set()
        return asyncio.ensure_future(slowly(settle(*arguments)))

    ledger.settle = settled_late  # type: ignore[method-assign, assignment]  # this one ledger's, for this one call
    sent: list[Message] = []
    body = json.dumps({"model": "demo", "messages": HELLO}).encode()
    came = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        for message in came:
            return message
        await going.wait()
        asyncio.get_running_loop().call_later(0, noticed.set)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "headers": [(b"authorization", f"Bearer {key}".encode())],
        "client": ("127.0.0.1", 1),
        "query_string": b"",
        "root_path": "",
    }
    await gateway.app(scope, receive, send)
    ledger.settle = settle  # type: ignore[method-assign]  # as it was
    assert sent == []
