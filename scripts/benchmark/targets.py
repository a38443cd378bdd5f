"""What is measured, as processes: the fake upstream, the floor, the bare relay and the gateway with everything on."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SPL = str(Path(sys.executable).parent / "spl")

CONFIG = """
[providers.fake]
plugin = "provider-openai"
base_url = "http://127.0.0.1:{port}/v1"
api_key = "env:BENCH_UPSTREAM_KEY"

[providers.fake-anthropic]
plugin = "provider-anthropic"
base_url = "http://127.0.0.1:{port}"
api_key = "env:BENCH_UPSTREAM_KEY"

[providers.fake-gemini]
plugin = "provider-gemini"
base_url = "http://127.0.0.1:{port}"
api_key = "env:BENCH_UPSTREAM_KEY"

# A limit that is counted and never reached: what it costs is part of what is measured.
[tiers.self-host]
requests_per_minute = 100000000
"""

MODELS = {
    "fake": ("fake", "fake"),
    "fake-slow": ("fake", "fake-slow"),
    "fake-anthropic": ("fake-anthropic", "claude-sonnet-4-5"),
    "fake-gemini": ("fake-gemini", "gemini-2.5-flash"),
}
"""Each model of the gateway: its provider, and the model there."""

MODEL = """
[models.{name}]
routes = [{{ provider = "{provider}", model = "{model}" }}]
price = {{ input = "2.50", cached_input = "1.25", output = "10.00" }}
"""

OPTIONS = {"gateway": "", "httpx2": '[upstream]\nclient = "httpx2"\n', "unwaited": ""}
"""The gateway as it comes, and its options: what each has in its configuration."""

UNWAITED = [sys.executable, "-m", "scripts.benchmark.unwaited"]
"""Served in the place of `spl`, under the option of this name."""


class Missing(Exception):
    """Something that the bench needs is not on this machine."""


class NoTool(Missing):
    """This kind of machine, or a program that is not on it."""


@dataclass
class Target:
    """One thing to measure: `command` serves it on `port`."""

    name: str
    port: int
    command: list[str]
    bearer: str
    env: dict[str, str] = field(default_factory=dict)
    #: Further headers of each request, "Name: value".
    headers: tuple[str, ...] = ()
    #: Whether it has the models of other providers' APIs, too.
    translates: bool = False
    #: Seconds that a start may take.
    patience: float = 30

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/chat/completions"


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def needed(tool: str, package: str) -> None:
    """Raises NoTool, which says how it is had, where a program is not there."""
    if shutil.which(tool) is None:
        raise NoTool(f"{tool} is not on PATH. Debian and Ubuntu: apt install {package}")


def build_upstream(folder: Path) -> Path:
    """Compiles the fake upstream."""
    if not sys.platform.startswith("linux"):
        raise NoTool("the bench reads /proc and uses epoll: it runs on Linux only")
    needed("gcc", "gcc libc6-dev")
    needed("wrk", "wrk")
    program = folder / "fake_upstream"
    source = Path(__file__).with_name("fake_upstream.c")
    done = subprocess.run(["gcc", "-O2", "-o", program, source], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"gcc cannot build {source.name}: {done.stderr.strip()[-300:]}")
    return program


def bare(name: str, upstream_port: int) -> Target:
    """The floor or the relay."""
    port = free_port()
    command = [sys.executable, "-m", f"scripts.benchmark.{name}", str(port), str(upstream_port)]
    return Target(name, port, command, "bench")


def configuration(upstream_port: int, more: str = "") -> str:
    """The gateway's TOML for an upstream at this port."""
    models = [MODEL.format(name=name, provider=provider, model=model) for name, (provider, model) in MODELS.items()]
    return CONFIG.format(port=upstream_port) + "".join(models) + more


def gateway(name: str, upstream_port: int, folder: Path, more: str = "") -> Target:
    """The gateway, with an option or without, on a home of its own: an account with a cap, a key, prices and limits."""
    config = folder / f"{name}.toml"
    config.write_text(configuration(upstream_port, OPTIONS[name] + more))
    home = folder / f"home-{name}"
    env = {"SPL_HOME": str(home), "BENCH_UPSTREAM_KEY": "not-a-secret"}
    spl(env, "account", "create", "bench", "--cap-usd", "1000000", config=config)
    secret = spl(env, "keys", "mint", "--account", "bench", "--name", "bench", config=config)["secret"]
    port = free_port()
    program = UNWAITED if name == "unwaited" else [SPL]
    command = [*program, "--config", str(config), "--home", str(home), "serve", "--port", str(port)]
    return Target(name, port, command, str(secret), env, translates=True)


def spl(env: dict[str, str], *arguments: str, config: Path) -> dict[str, object]:
    """One command of `spl` on the bench's home; its JSON."""
    command = [SPL, "--config", str(config), *arguments, "-o", "json"]
    done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"`spl {' '.join(arguments)}` failed: {done.stderr.strip()[-500:]}")
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


@contextlib.contextmanager
def running(command: list[str], env: dict[str, str], log: Path) -> Iterator[int]:
    """A process for as long as the block lasts; its id."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_served(target: Target, log: Path) -> float:
    """Asks until the first 200; the seconds that it took."""
    body = b'{"model":"fake","messages":[{"role":"user","content":"hello"}]}'
    headers = {"content-type": "application/json", "authorization": f"Bearer {target.bearer}"}
    headers |= dict(header.split(": ", 1) for header in target.headers)
    request = urllib.request.Request(target.url, body, headers)  # noqa: S310  # always http, on 127.0.0.1
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    began = time.monotonic()
    said = "nothing"
    while time.monotonic() - began < target.patience:
        try:
            with opener.open(request, timeout=5) as answer:
                answer.read()
                return time.monotonic() - began
        except urllib.error.HTTPError as error:
            said = f"{error.code} {error.read()[:300].decode(errors='replace')}"
        except OSError as error:
            said = str(error)
        time.sleep(0.005)
    tail = log.read_text(errors="replace")[-1000:]
    raise Missing(f"{target.name} did not answer with 200 within {target.patience:.0f} s; it said: {said}\n{tail}")
