"""User-space instructions a call, counted by callgrind: the same on a busy machine as on a quiet one, within 0.3%.

They tell whether a change made the path of a call shorter. They tell nothing of what the kernel does, of caches, and
of threads that wait for each other's interpreter lock: CPU decides, and this says where to look. Everything runs some
fifty times slower meanwhile, so deadlines and group commits do not fall as they do otherwise.
"""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from scripts.benchmark import runs
from scripts.benchmark.sections import Turn, stick
from scripts.benchmark.targets import Missing, Target, bare, gateway, needed, running, wait_until_served

AT_ONCE = 16
WARM = 4
"""Seconds before it is counted: what is done once in a process's life, and the interpreter's own learning."""
PATIENCE = 300
LOOP = "01"
"""The thread that callgrind numbers first: it runs the loop."""
_TOTALS = re.compile(rb"^totals: (\d+)", re.MULTILINE)


class Kind(msgspec.Struct, frozen=True):
    """A kind of call. Of the floor only what is not translated is counted: the rest is held to its plain stream."""

    key: str
    title: str
    model: str = "fake"
    stream: bool = True
    base: str = "stream"


KINDS: Sequence[Kind] = (
    Kind("plain", "plain call", stream=False, base="plain"),
    Kind("stream", "stream, no gaps"),
    Kind("stream_anthropic", "Anthropic stream, no gaps", model="fake-anthropic"),
    Kind("stream_gemini", "Gemini stream, no gaps", model="fake-gemini"),
)


class Count(msgspec.Struct, frozen=True):
    """Thousand instructions a call: of the thread that runs the loop, and of all others."""

    loop: float
    others: float

    @property
    def all(self) -> float:
        return self.loop + self.others


Counts = Mapping[str, Mapping[str, Count]]
"""Of each target, by kind."""


def instructions(folder: Path, seconds: int) -> dict[str, Any]:
    """Prints the table; for JSON the ratios first. Raises Missing where callgrind is not there."""
    needed("valgrind", "valgrind")
    needed("callgrind_control", "valgrind")
    found: dict[str, dict[str, Count]] = {}
    failed: dict[str, int] = {}
    with runs.upstream(folder) as behind:
        for target in (bare("floor", behind.port), gateway("gateway", behind.port, folder)):
            target.patience = PATIENCE
            found[target.name], failed[target.name] = {}, 0
            with counting(target, folder) as pid:
                turn = Turn(target, pid, behind, seconds, calls=0)
                for kind in KINDS:
                    if target.translates or kind.key == kind.base:
                        runs.say(f"{target.name}: {kind.title}")
                        count, bad = counted(turn, kind, folder)
                        found[target.name][kind.key] = count
                        failed[target.name] += bad
    runs.say("")
    runs.say(table(found))
    if any(failed.values()):
        runs.say(f"WARNING: calls failed, so the figures of these mean nothing: {failed}")
    return {"ratio": ratios(found), "failures": failed, "instructions": msgspec.to_builtins(found)}


@contextlib.contextmanager
def counting(target: Target, folder: Path) -> Iterator[int]:
    """The target under callgrind, which does not count yet; its process."""
    command = target.command if target.command[0] == sys.executable else [sys.executable, *target.command]
    callgrind = ["--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes"]
    log = folder / f"{target.name}.log"
    with running(
        ["valgrind", *callgrind, f"--callgrind-out-file={folder / target.name}.count", *command], target.env, log
    ) as pid:
        wait_until_served(target, log)
        yield pid


def counted(turn: Turn, kind: Kind, folder: Path) -> tuple[Count, int]:
    """The instructions of one kind of call, and how many of these failed."""
    asked = turn.asked(kind.model)
    pids = [turn.pid], [turn.upstream.pid]
    ask = stick.streams if kind.stream else lambda *of: stick.wrk(*of[:3], 0, *of[3:])
    ask(asked, AT_ONCE, WARM, *pids)
    _control(turn.pid, "--zero")
    _control(turn.pid, "--instr=on")
    row = ask(asked, AT_ONCE, round(turn.seconds), *pids)
    _control(turn.pid, "--instr=off")
    _control(turn.pid, "--dump")
    by_thread = threads(folder, turn.target.name)
    calls = row.get("streams") or row.get("requests")
    if not calls or LOOP not in by_thread:
        raise Missing(f"nothing of {turn.target.name} was counted: {row}")
    loop = by_thread.pop(LOOP)
    count = Count(round(loop / calls / 1000, 1), round(sum(by_thread.values()) / calls / 1000, 1))
    return count, row.get("bad", 0) + row.get("errors", 0)


def threads(folder: Path, name: str) -> dict[str, int]:
    """The instructions of each thread in what callgrind has written since this was last asked, by its number."""
    found: dict[str, int] = {}
    for file in folder.glob(f"{name}.count.*-*"):
        total = _TOTALS.search(file.read_bytes())
        thread = file.name.rpartition("-")[2]
        found[thread] = found.get(thread, 0) + (int(total[1]) if total else 0)
        file.unlink()
    return found


def ratios(found: Counts) -> dict[str, float]:
    """The gateway's instructions, of all threads, over the floor's."""
    floor, ours = found["floor"], found["gateway"]
    return {kind.key: round(ours[kind.key].all / floor[kind.base].all, 2) for kind in KINDS}


def table(found: Counts) -> str:
    """Each kind of call a line: thousand instructions of the floor, of our loop, of our other threads; the ratio."""
    floor, ours, over = found["floor"], found["gateway"], ratios(found)
    heads = ("floor", "gateway: loop", "other threads", "× the floor")
    lines = [f"{'thousand instructions a call, 16 at once':43}" + "".join(f"{head:>17}" for head in heads)]
    for kind in KINDS:
        of = floor.get(kind.key)
        cells = (
            "–" if of is None else f"{of.all:,.1f}",
            f"{ours[kind.key].loop:,.1f}",
            f"{ours[kind.key].others:,.1f}",
            f"{over[kind.key]:.2f}",
        )
        lines.append(f"{kind.title:43}" + "".join(f"{cell:>17}" for cell in cells))
    return "\n".join(lines)


def _control(pid: int, order: str) -> None:
    """Tells callgrind something, and waits until it is done."""
    done = subprocess.run(["callgrind_control", order, str(pid)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"callgrind_control {order} failed: {(done.stderr or done.stdout).strip()[-300:]}")
