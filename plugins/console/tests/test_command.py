"""`spl console login`, as a person runs it."""

import os
import subprocess
from pathlib import Path

import httpx2

from gateway_core.testing.server import PATIENCE, SPL, serving


def test_login_prints_a_link_that_opens(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as served:
        link = served.spl("console", "login").strip()
        assert link.startswith(f"{served.url}/console/link?token=")
        assert httpx2.get(link).status_code == 200
        owner = served.spl("keys", "mint", "--name", "owner", "--scope", "owner", "-o", "jsonl")
        secret = owner.split('"secret":')[1].split('"')[1]
        elsewhere = run("--url", served.url, "console", "login", SYNCROPEL_API_KEY=secret)
        assert elsewhere.stdout.startswith(f"{served.url}/console/link?token=")
        refused = run("--url", served.url, "console", "login", SYNCROPEL_API_KEY=served.key)
        assert (refused.returncode, "owner" in refused.stderr) == (1, True)
        with httpx2.Client(base_url=served.url) as http:
            answer = http.post("/console/link", data={"token": link.partition("token=")[2]})
            assert answer.status_code == 303
            assert "Overview" in http.get("/console").text


def test_login_without_a_server_says_what_it_needs(tmp_path: Path) -> None:
    done = run("--home", str(tmp_path / "home"), "console", "login")
    assert done.returncode == 3
    assert "needs a running server" in done.stderr


def run(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """A command line, as it is."""
    return subprocess.run(
        [str(SPL), *arguments],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
