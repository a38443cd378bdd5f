"""GET /v1/usage: totals of many keys are made beside the loop, which serves everybody else."""

import asyncio
from pathlib import Path

import httpx2
import pytest

from gateway_core import config_file
from gateway_core.gateway import Gateway
from gateway_core.home import Home
from gateway_core.store_ports import UsageRow
from gateway_core.types import Usage

MANY = 20_000


@pytest.mark.parametrize("path", ["/v1/usage", "/v1/admin/usage?account=local"])
async def test_the_loop_goes_on_while_many_rows_are_written(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    home.ensure()
    gateway = Gateway.assemble(config_file.load(None, home), home)
    await gateway.start()
    turns, counting = 0, False

    async def totals(*_: object) -> list[UsageRow]:
        nonlocal counting
        counting = True
        row = UsageRow("2026-11-22", "a", "key_1", "demo", "self-host", 1, Usage(1, 1), 10**13 + 1, 0, 10**13 + 1, 5, 0)
        return [row] * MANY

    async def others() -> None:
        nonlocal turns
        while True:
            turns += counting
            await asyncio.sleep(0)

    monkeypatch.setattr(gateway.services.store.reports, "totals", totals)
    beside = asyncio.create_task(others())
    try:
        headers = {"authorization": f"Bearer {gateway.services.keyring.operator_key}"}
        transport = httpx2.ASGITransport(gateway.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://gateway.test", headers=headers) as http:
            answer = await http.get(path)
    finally:
        beside.cancel()
        await gateway.stop()
    assert len(answer.json()["data"]) == MANY
    assert turns > 5
