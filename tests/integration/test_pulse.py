"""The pulse: whatever one beat fails by, the next one comes."""

import asyncio
from pathlib import Path

import pytest

from gateway_core import config_file, gateway
from gateway_core.errors import StoreError
from gateway_core.home import Home
from gateway_core.testing.server import PATIENCE


@pytest.mark.parametrize("fault", [TypeError("canary"), StoreError("full")])
async def test_a_beat_that_fails_is_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    monkeypatch.setattr(gateway, "PULSE", 0)
    home = Home(tmp_path / "home")
    home.ensure()
    made = gateway.Gateway.assemble(config_file.load(None, home), home)
    beats, again = 0, asyncio.Event()

    async def beat() -> None:
        nonlocal beats
        beats += 1
        if beats == 1:
            raise fault
        again.set()

    monkeypatch.setattr(made.live, "beat", beat)
    await made.start()
    await asyncio.wait_for(again.wait(), PATIENCE)
    await made.stop()
    assert "the pulse failed" in caplog.text or "the store cannot be written" in caplog.text
