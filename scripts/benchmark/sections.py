"""The sections of the measuring stick (measure.py), each a call of its own, so that targets take turns at it."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from scripts.benchmark.targets import Target

stick: Any = importlib.import_module("scripts.benchmark.measure")  # kept as it came: without types
Row = dict[str, Any]


class Upstream(msgspec.Struct, frozen=True):
    """The fake upstream that is behind every target."""

    port: int
    pid: int


class Turn(msgspec.Struct, frozen=True):
    """One target's turn at one section."""

    target: Target
    pid: int
    upstream: Upstream
    seconds: float
    calls: int

    def asked(self, model: str = "fake") -> Any:
        """The target as the stick knows it."""
        header = f"Authorization: Bearer {self.target.bearer}"
        return stick.Target(self.target.url, [header, *self.target.headers], model, "fake-slow")

    def direct(self) -> Any:
        """The upstream itself, without a gateway."""
        return stick.Target(f"http://127.0.0.1:{self.upstream.port}/v1/chat/completions", [], "fake", "fake-slow")


class Section(msgspec.Struct, frozen=True):
    """What is measured: under which key, how, and of which targets."""

    key: str
    run: Callable[[Turn], Row]
    #: Only of targets that have the models of other providers' APIs.
    translated: bool = False


def _latency(key: str, *, stream: bool) -> Section:
    def run(turn: Turn) -> Row:
        calls, blocks = (max(50, turn.calls // 4), 5) if stream else (turn.calls, 10)
        row: Row = stick.latency(turn.asked(), turn.direct(), calls, blocks, stream)
        return row

    return Section(key, run)


def _plain(at_once: int) -> Section:
    def run(turn: Turn) -> Row:
        row: Row = stick.wrk(turn.asked(), at_once, round(turn.seconds), 1, [turn.pid], [turn.upstream.pid])
        return row

    return Section(f"wrk_c{at_once}", run)


def _streams(key: str, at_once: int, *, model: str = "fake", slow: bool = False) -> Section:
    def run(turn: Turn) -> Row:
        more = {"slow": True, "ramp": 0.6} if slow else {"warm": 0.5}
        row: Row = stick.streams(turn.asked(model), at_once, turn.seconds, [turn.pid], [turn.upstream.pid], **more)
        return row

    return Section(f"{key}_c{at_once}", run, translated=model != "fake")


SECTIONS: Sequence[Section] = (
    _latency("seq", stream=False),
    _latency("seq_ttfb", stream=True),
    _plain(16),
    _plain(64),
    _streams("stream", 16),
    _streams("stream_anthropic", 16, model="fake-anthropic"),
    _streams("stream_gemini", 16, model="fake-gemini"),
    _streams("slow", 20, slow=True),
    _streams("slow", 200, slow=True),
)


def memory_mb(pid: int) -> float:
    """Resident memory of a process and those that it started."""
    found: float = stick.mem_mb([pid])["rss_mb"]
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds that a process and those that it started have taken."""
    found: float = stick.cpu_s([pid])
    return found


def host_cpu() -> tuple[float, float]:
    """CPU seconds of the whole machine: busy, and taken by the host for others."""
    busy, steal = stick.host_cpu()
    return busy, steal
