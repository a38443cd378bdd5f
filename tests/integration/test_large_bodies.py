"""Large bodies: while one is decoded, checked and written anew, the loop serves everybody else."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway_core import config_file, gates
from gateway_core.gateway import Gateway
from gateway_core.home import Home
from gateway_core.ports import LARGE_REQUEST
from gateway_core.testing.server import PATIENCE

CONFIG = """
[providers.demo]
plugin = "provider-demo"
[models.demo]
routes = [{ provider = "demo", model = "demo" }]
price = { input = "1.00", output = "1.00" }
"""
TOOLS = [{"type": "function", "function": {"name": f"tool_{number}"}} for number in range(3000)]


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    home = Home(tmp_path / "home")
    home.ensure()
    file = tmp_path / "large.toml"
    file.write_text(CONFIG)
    gateway = Gateway.assemble(config_file.load(file, home), home)
    await gateway.start()
    operator = {"Authorization": f"Bearer {home.operator_key_path.read_text().strip()}"}
    transport = httpx2.ASGITransport(gateway.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=operator) as client:
        minted = (await client.post("/v1/keys", json={"name": "large", "account": "local"})).json()
        client.headers["Authorization"] = f"Bearer {minted['secret']}"
        yield client
    await gateway.stop()


def while_the_loop_runs(work: Callable[..., Any], went_on: list[bool]) -> Callable[..., Any]:
    """The same work, which first asks the loop for something, and notes whether it did that meanwhile."""
    loop = asyncio.get_running_loop()

    def waits(*arguments: Any, **named: Any) -> Any:
        done = threading.Event()
        loop.call_soon_threadsafe(done.set)
        went_on.append(threading.current_thread() is not threading.main_thread() and done.wait(PATIENCE))
        return work(*arguments, **named)

    return waits


@pytest.mark.parametrize(("tools", "apart"), [(TOOLS, True), (TOOLS[:10], False)])
async def test_the_loop_goes_on_while_a_large_body_is_decoded(
    http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, tools: list[Any], apart: bool
) -> None:
    went_on: list[bool] = []
    monkeypatch.setattr(gates, "decode_request", while_the_loop_runs(gates.decode_request, went_on))
    body = {"model": "demo", "messages": [{"role": "user", "content": "hi"}], "tools": tools}
    answer = await http.post("/v1/chat/completions", json=body)
    assert (answer.status_code, went_on) == (200, [apart])


async def test_a_large_body_is_refused_as_a_small_one_is(http: httpx2.AsyncClient) -> None:
    good = {"model": "demo", "messages": [{"role": "user", "content": "hi"}]}
    for tools in (TOOLS, []):
        for wrong in ({"max_tokens": -1}, {"messages": []}, {"tools": [*tools, {"type": "function"}]}):
            answer = await http.post("/v1/chat/completions", json={**good, "tools": tools, **wrong})
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (400, "invalid_request")
            assert error["param"].startswith(next(iter(wrong)))
    assert len(json.dumps(TOOLS)) > LARGE_REQUEST
