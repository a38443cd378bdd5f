"""Clients that are there no more: who takes nothing of what waits for him, and who goes while his answer is settled."""

import asyncio
import json
import socket
import time
from collections.abc import Coroutine, Generator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.types import Message

from gateway_core import config_file
from gateway_core.errors import StoreError
from gateway_core.gateway import Gateway
from gateway_core.home import Home
from gateway_core.testing.line import HELLO, Line, line
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.server import PATIENCE
from gateway_core.types import Hold

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

    async def gone() -> None:
        await going.wait()
        asyncio.get_running_loop().call_later(0, noticed.set)

    sent = await left(gateway, key, gone())
    ledger.settle = settle  # type: ignore[method-assign]  # as it was
    assert sent == []


async def left(gateway: Gateway, key: str, gone: Coroutine[Any, Any, None], **fields: Any) -> list[Message]:
    """What a client was sent of its call that left once `gone` was over."""
    sent: list[Message] = []
    body = json.dumps({"model": "demo", "messages": HELLO, **fields}).encode()
    came = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        for message in came:
            return message
        await gone
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
    return sent


# ---------------------------------------------------------------- gone between a stream's first event and its open row

ONE_CONNECTION = """
[upstream]
max_connections = 1
connect_timeout = 1
[providers.strict]
plugin = "provider-openai"
base_url = "{base_url}"
api_key = "file:{key}"
[models.demo]
routes = [{{ provider = "strict", model = "priced" }}]
price = "free"
"""


class Row(asyncio.Future[None]):
    """An open row of which it is told when somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.awaited = asyncio.Event()

    def __await__(self) -> Generator[Any, None, None]:
        self.awaited.set()
        return super().__await__()


@pytest.mark.parametrize("why", ["its client leaves", "it cannot be written"])
async def test_a_stream_that_ends_before_its_row_is_on_disk_lets_its_provider_go(
    tmp_path: Path, openai_upstream: UpstreamHandle, why: str
) -> None:
    """Its first event is there already: what would read the rest is closed, or its connection stays taken for good."""
    openai_upstream.script("priced", words=1000, gap_ms=10)
    home = Home(tmp_path / "home")
    home.ensure()
    file = tmp_path / "one.toml"
    secret = tmp_path / "key"
    secret.write_text(openai_upstream.key)
    secret.chmod(0o600)
    file.write_text(ONE_CONNECTION.format(base_url=openai_upstream.base_url, key=secret))
    gateway = Gateway.assemble(config_file.load(file, home), home)
    await gateway.start()
    transport = httpx2.ASGITransport(gateway.app)
    operator = {"Authorization": f"Bearer {home.operator_key_path.read_text().strip()}"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=operator) as http:
        key = (await http.post("/v1/keys", json={"name": "leaves", "account": "local"})).json()["secret"]
        row, ledger = Row(), gateway.services.store.ledger
        opens = ledger.open

        def opened(hold: Hold) -> "asyncio.Future[None]":
            opens(hold)
            return row

        async def gone() -> None:
            await row.awaited.wait()
            if why == "it cannot be written":
                row.set_exception(StoreError("the disk is full"))
                await asyncio.Event().wait()

        ledger.open = opened  # type: ignore[method-assign]  # this one ledger's, for this one call
        await left(gateway, key, gone(), stream=True)
        ledger.open = opens  # type: ignore[method-assign]  # as it was
        openai_upstream.reset()
        body = {"model": "demo", "messages": HELLO}
        answer = await http.post("/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    await gateway.stop()
