"""Other gateways beside ours in the bench: where they are installed, and what is said when they cannot be."""

from pathlib import Path

import pytest

from scripts.benchmark import peers
from scripts.benchmark.peers import PEERS, default_folder
from scripts.benchmark.targets import Missing


def installed(folder: Path, program: str) -> Path:
    """A folder in which this program is there already, so that nothing is installed."""
    file = folder / program
    file.parent.mkdir(parents=True)
    file.touch()
    return folder


def test_the_folder_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder().is_relative_to(tmp_path)


def test_litellm_knows_the_upstream_by_its_configuration(tmp_path: Path) -> None:
    target = PEERS["litellm"](9100, tmp_path, installed(tmp_path / "peers", "litellm/bin/litellm"))
    config = (tmp_path / "litellm.yaml").read_text()
    assert config.count('api_base: "http://127.0.0.1:9100/v1"') == 2
    assert f"master_key: {target.bearer}" in config
    assert str(tmp_path / "litellm.yaml") in target.command


def test_portkey_is_told_of_the_upstream_in_headers(tmp_path: Path) -> None:
    server = "portkey/node_modules/@portkey-ai/gateway/build/start-server.js"
    target = PEERS["portkey"](9100, tmp_path, installed(tmp_path / "peers", server))
    assert "x-portkey-custom-host: http://127.0.0.1:9100/v1" in target.headers
    assert target.command[1] == str(tmp_path / "peers" / server)


def test_what_cannot_be_installed_says_which_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Missing, match="portkey cannot be installed: npm is not on PATH"):
        PEERS["portkey"](9100, tmp_path, tmp_path)


def test_a_packager_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho no such package >&2\nexit 3\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(Missing, match="npm ended with 3: no such package"):
        PEERS["portkey"](9100, tmp_path, tmp_path / "peers")
    assert peers.PEERS.keys() == {"litellm", "portkey"}
