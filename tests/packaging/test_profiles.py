"""The shipped profiles from the wheels: each is a good configuration, and `spl serve` runs it."""

import json
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

PROFILES = ("self-host", "synaptiq", "syncropic")
PATIENCE = 30.0


def shipped(installed: Any, name: str) -> Path:
    (found,) = installed.folder.glob(f"lib/*/site-packages/gateway_core/conf/{name}.toml")
    return Path(found)


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_good(installed: Any, name: str) -> None:
    assert "good" in installed.run("spl", "config", "check", str(shipped(installed, name)))


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_served(installed: Any, name: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = [installed.folder / "bin" / "spl", "--home", home, "serve", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--config", shipped(installed, name)],
        cwd=installed.folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not (home / "server.json").exists():
            assert process.poll() is None, "spl serve ended"
            assert time.monotonic() < deadline, "spl serve does not serve"
            time.sleep(0.02)
        url = json.loads((home / "server.json").read_text())["url"]
        with urllib.request.urlopen(f"{url}/v1/capabilities", timeout=PATIENCE) as answer:  # noqa: S310  # our own
            served = {each["model"] for each in json.load(answer)["data"]}
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0
    # Without a key a provider is off, and its models with it: the demo's are always there.
    assert len(served) == {"self-host": 1, "synaptiq": 4, "syncropic": 0}[name]
