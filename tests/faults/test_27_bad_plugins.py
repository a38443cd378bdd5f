"""Fault 27 on the real program: a plugin that raises, hangs or answers nonsense; hook by hook in tests/unit."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway_core.testing.installed import install
from gateway_core.testing.line import Line, line
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.server import PATIENCE, SPL

PLUGIN = """
import asyncio, pathlib
import msgspec
from gateway_core.hookspecs import API, hookimpl

class Folder(msgspec.Struct):
    folder: str = "."

class Plugin:
    API = API
    Settings = Folder

    def __init__(self, settings):
        self.folder = pathlib.Path(settings.folder)

    def misbehaves(self, hook):
        flag = self.folder / "how"
        which, _, how = flag.read_text().partition(" ") if flag.exists() else ("", "", "")
        if which != hook:
            return None
        if how == "raises":
            raise ValueError("canary-of-" + hook)
        return 42

    @hookimpl
    async def authenticate(self, credentials):
        if (answer := self.misbehaves("authenticate")) == 42:
            await asyncio.sleep(3600)
        return answer

    @hookimpl
    def admit(self, call): return self.misbehaves("admit")

    @hookimpl
    def select_backend(self, call): return self.misbehaves("select_backend")

    @hookimpl
    def price(self, call, usage): return self.misbehaves("price")

    @hookimpl
    async def emit_audit(self, record):
        self.misbehaves("emit_audit")
        with (self.folder / "taken").open("a") as file:
            print(record.sequence, file=file)
"""
ENTRY = "a-bad-one = a_bad_one:Plugin"
How = Callable[[str], None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bad-plugin")


@pytest.fixture(scope="module")
def served(folder: Path, openai_upstream_process: UpstreamHandle) -> Iterator[Line]:
    env = install(folder / "site", "spl-a-bad-one", ENTRY, PLUGIN)
    more = f'\n[plugins.a-bad-one]\nfolder = "{folder}"\n'
    with line(folder / "home", openai_upstream_process, more=more, env=env) as made:
        yield made


@pytest.fixture
def how(folder: Path, served: Line) -> Iterator[How]:
    served.upstream.reset()
    flag = folder / "how"

    def misbehave(text: str) -> None:
        flag.write_text(text)

    yield misbehave
    flag.unlink(missing_ok=True)


@pytest.mark.parametrize("hook", ["authenticate", "admit", "select_backend", "price"])
@pytest.mark.parametrize("stream", [False, True])
def test_27_a_decision_that_raises_refuses_and_names_the_plugin(
    served: Line, how: How, hook: str, stream: bool
) -> None:
    rows = len(served.rows())
    how(f"{hook} raises")
    answer = served.call(stream=stream)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "internal_error")
    assert f"plugin a-bad-one failed in {hook}: " in served.gateway.output()
    assert f"canary-of-{hook}" not in served.gateway.output() + answer.text
    assert served.upstream.log() == []
    assert len(served.rows()) == rows


@pytest.mark.parametrize("hook", ["authenticate", "admit", "select_backend", "price"])
def test_27_a_decision_that_is_none_or_never_comes_refuses(served: Line, how: How, hook: str) -> None:
    how(f"{hook} answers")
    answer = served.call()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "internal_error")
    assert served.upstream.log() == []


def test_27_a_sink_that_raises_costs_no_call_anything_and_gets_all_later(served: Line, how: How, folder: Path) -> None:
    how("emit_audit raises")
    assert [served.call().status_code for _ in range(5)] == [200] * 5
    (folder / "how").unlink()
    expected = list(range(1, len(served.rows()) + 1))
    deadline = time.monotonic() + PATIENCE
    while not (folder / "taken").exists() or len((folder / "taken").read_text().split()) < len(expected):
        assert time.monotonic() < deadline, "the sink never got its records"
        time.sleep(0.05)
    assert [int(number) for number in (folder / "taken").read_text().split()] == expected
    assert "sink a-bad-one" in served.gateway.output()


@pytest.mark.parametrize(
    ("source", "config", "complaint"),
    [
        (PLUGIN.replace("API = API", "API = 99"), "[plugins.a-bad-one]\nfolder = 'x'\n", "a-bad-one"),
        ("raise OSError('no such library')\n", "[plugins.a-bad-one]\nfolder = 'x'\n", "a-bad-one"),
        (PLUGIN, "[plugins]\nenabled = ['a-missing-one']\n", "a-missing-one"),
        (PLUGIN, "[plugins.a-bad-one]\nfolder = 7\n", "a-bad-one"),
        (PLUGIN.replace("def admit(self, call)", "def admit(self, call, more)"), "", "a-bad-one"),
    ],
)
def test_27_a_plugin_that_is_configured_and_bad_stops_the_start_by_name(
    tmp_path: Path, source: str, config: str, complaint: str
) -> None:
    env = install(tmp_path / "site", "spl-a-bad-one", ENTRY, source)
    (tmp_path / "config.toml").write_text('include = ["shipped:self-host.toml"]\n' + config)
    command = [
        str(SPL),
        "--home",
        str(tmp_path / "home"),
        "serve",
        "--port",
        "0",
        "--config",
        str(tmp_path / "config.toml"),
    ]
    if not config:
        command = [*command[:3], "plugins"]
    done = subprocess.run(
        command, env={"PATH": "/usr/bin:/bin", **env}, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert complaint in done.stderr + done.stdout
    assert bool(config) == (done.returncode != 0)


LIMITER = """
from gateway_core.hookspecs import API, hookimpl
from gateway_core.limits import MemoryLimiter
from gateway_core.ports import LimiterKind

class Lame(MemoryLimiter):
    def settle(self, reservation, tokens):
        raise LookupError("canary")

class Plugin:
    API = API

    @hookimpl
    def register_limiters(self):
        build = lambda url, store, clock: Lame("memory", store, clock)
        return [LimiterKind("lame", build)]
"""


def test_27_a_limiter_that_fails_when_a_call_ends_keeps_it_from_no_ledger(
    tmp_path: Path, openai_upstream_process: UpstreamHandle
) -> None:
    env = install(tmp_path / "site", "spl-lame", "lame = a_lame_one:Plugin", LIMITER)
    with line(tmp_path / "home", openai_upstream_process, more='\n[limits]\nurl = "lame"\n', env=env) as served:
        served.upstream.reset()
        for answer in (served.call(), served.call(stream=True)):
            assert answer.status_code == 200
            assert served.row(answer.headers["x-request-id"])["outcome"] == "ok"
        log = served.gateway.log.read_text()
        assert log.count("the limiter failed") == 2
        assert "canary" not in log
