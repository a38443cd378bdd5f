"""The whole order of hooks, end to end: a plugin that is installed, a served gateway, one call over a socket."""

import json
import socket
import time
from itertools import groupby
from pathlib import Path
from textwrap import dedent
from urllib.parse import urlsplit

import pytest

from gateway_core.config_file import default_config_path
from gateway_core.hookspecs import HOOKS
from gateway_core.testing.server import PATIENCE, ServedGateway, serving

RECORDER = """
import msgspec
from gateway_core.hookspecs import API, hookimpl

class RecorderSettings(msgspec.Struct):
    file: str = ""

class Plugin:
    API = API
    Settings = RecorderSettings

    def __init__(self, settings):
        self.file = settings.file

    def note(self, hook):
        with open(self.file, "a") as file:
            print(hook, file=file)

    @hookimpl
    def register_providers(self): self.note("register_providers")
    @hookimpl
    def register_stores(self): self.note("register_stores")
    @hookimpl
    def register_limiters(self): self.note("register_limiters")
    @hookimpl
    def register_routes(self): self.note("register_routes")
    @hookimpl
    def register_commands(self): self.note("register_commands")
    @hookimpl
    async def startup(self): self.note("startup")
    @hookimpl
    async def shutdown(self): self.note("shutdown")
    @hookimpl
    async def authenticate(self): self.note("authenticate")
    @hookimpl
    def admit(self): self.note("admit")
    @hookimpl
    def select_backend(self): self.note("select_backend")
    @hookimpl
    def price(self): self.note("price")
    @hookimpl
    async def emit_audit(self): self.note("emit_audit")
    @hookimpl
    async def wants_audit(self):
        self.note("wants_audit")
        return True
"""


def install(folder: Path) -> None:
    """A distribution with the recorder, so that only an entry point leads to it."""
    folder.mkdir()
    (folder / "spl_recorder.py").write_text(dedent(RECORDER))
    info = folder / "spl_recorder-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: spl-recorder\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[spl_gateway]\na-recorder = spl_recorder:Plugin\n")


def call(gateway: ServedGateway, seen: Path, *, late: bool) -> int:
    """One call's status; with `late` its body follows only when somebody has looked at its head."""
    body = json.dumps({"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {gateway.key}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    address = urlsplit(gateway.url)
    with socket.create_connection((address.hostname, address.port), PATIENCE) as connection:
        if late:
            connection.sendall(head.encode())
            wait_for(seen, "admit")
            connection.sendall(body)
        else:
            connection.sendall(head.encode() + body)
        return int(connection.makefile("rb").readline().split()[1])


def wait_for(seen: Path, hook: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while hook not in seen.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.parametrize("late", [False, True])
def test_every_hook_is_called_in_the_order_of_the_line(tmp_path: Path, late: bool) -> None:
    install(tmp_path / "site")
    seen = tmp_path / "seen"
    config = f'include = ["{default_config_path()}"]\n[plugins.a-recorder]\nfile = "{seen}"\n'
    with serving(tmp_path / "home", config=config, env={"PYTHONPATH": str(tmp_path / "site")}) as gateway:
        before = len(seen.read_text().split())
        assert call(gateway, seen, late=late) == 200
        wait_for(seen, "emit_audit")
        assert gateway.stop() == 0
    hooks = seen.read_text().split()
    at_start = hooks[:before]
    assert at_start[-1] == "startup"
    assert set(at_start) >= {"register_providers", "register_stores", "register_limiters", "register_routes"}
    after = [hook for hook, _ in groupby(hooks[before:])]
    assert after == [
        "authenticate",
        *(["admit"] if late else []),  # a look that takes nothing, while the body is on its way
        "select_backend",
        "admit",
        "price",
        "wants_audit",
        "emit_audit",
        "shutdown",
    ]
    assert set(HOOKS) - set(hooks) <= {"register_commands"}  # which only the command line asks for
