"""What a call costs as everything grows: connections, open streams, rows of the ledger, keys.

CPU of the gateway's process alone, beside the floor's where the floor has such a thing. A point is the median of its
rounds. The bench writes the charts itself (charts.py).
"""

import contextlib
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway_core.home import Home
from gateway_core.key_text import new_key_text
from gateway_core.keyring import Keyring
from scripts.benchmark import seeding
from scripts.benchmark.charts import Chart, svg
from scripts.benchmark.held_streams import Crowd, allow_files
from scripts.benchmark.runs import say, serving, upstream
from scripts.benchmark.sections import Turn, Upstream, memory_mb, stick
from scripts.benchmark.targets import Missing, Target, bare, gateway

CONNECTIONS = (1, 4, 16, 64, 256, 1000)
STREAMS = (1, 10, 100, 1000, 3000, 10_000)
ROWS = (1, 10_000, 100_000, 1_000_000, 10_000_000)
KEYS = (1, 1000, 10_000, 100_000, 1_000_000)
KEYS_IN_TURN = 10_000
EVENTS_A_SECOND = 2000
"""Of all streams together: gaps grow with their number, so that what changes is how many are open."""
FIRST_EVENTS = 3
"""Of each stream: they come before what is measured."""
SECONDS = 3
ROUNDS = 3

# As many as are wanted, and streams that are cut cost the house what they like.
ROOMY = """
[limits]
loss_usd_per_day = "unlimited"
"""
ROOMY_UPSTREAM = "[upstream]\nmax_connections = 20000\n"

IN_TURN = """
local bearers = {{}}
for line in io.lines("{file}") do bearers[#bearers + 1] = line end
local at = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [==[{body}]==]
request = function()
  at = at % #bearers + 1
  wrk.headers["Authorization"] = "Bearer " .. bearers[at]
  return wrk.format()
end
done = function(s)
  local e = s.errors
  io.write(string.format("@@%d %d\\n", s.requests, e.connect + e.read + e.write + e.timeout + e.status))
end
"""

Points = dict[str, dict[int, float]]
"""A figure by its name, then by size."""


def cpu_s(pid: int) -> float:
    """CPU seconds of one process, to the nanosecond: its own clock."""
    return time.clock_gettime((~pid << 3) | 2)


def plain_us(turn: Turn, at_once: int) -> float:
    """CPU µs of a plain call."""
    stick.wrk(turn.asked(), at_once, 1, 0, [turn.pid], [turn.upstream.pid])
    before = cpu_s(turn.pid)
    row = stick.wrk(turn.asked(), at_once, round(turn.seconds), 0, [turn.pid], [turn.upstream.pid])
    if row.get("error") or row["errors"]:
        raise Missing(f"{turn.target.name}: calls failed at {at_once} at once: {row}")
    requests: int = row["requests"]
    return (cpu_s(turn.pid) - before) / requests * 1e6


def connections(folder: Path) -> Points:
    """From one connection to a thousand."""
    seen: dict[str, dict[int, list[float]]] = {"gateway": {}, "floor": {}}
    with upstream(folder) as behind:
        targets = [bare("floor", behind.port), gateway("gateway", behind.port, folder, ROOMY)]
        with serving(targets, folder) as pids:
            for number in range(ROUNDS):
                time.sleep(4)  # wrk leaves a thousand calls behind, which are still being ended
                for at_once in CONNECTIONS:
                    for target in targets if number % 2 == 0 else reversed(targets):
                        found = plain_us(Turn(target, pids[target.name], behind, SECONDS, 0), at_once)
                        seen[target.name].setdefault(at_once, []).append(found)
                        say(f"{target.name}, {at_once} connections: {found:.0f} µs a call")
    return _medians(seen)


def streams(folder: Path) -> Points:
    """From one open stream to ten thousand, or to what the limit of open files allows: two of each in the gateway."""
    most = (allow_files() - 200) // 2
    points: Points = {"gateway": {}, "floor": {}, "gateway, MB": {}, "floor, MB": {}}
    for size in [min(wanted, most) for wanted in STREAMS]:
        for name in ("floor", "gateway"):
            with upstream(folder, max(10, size / EVENTS_A_SECOND * 1000), "endless") as behind:
                target = bare(name, behind.port) if name == "floor" else _fresh_gateway(behind.port, folder)
                with serving([target], folder) as pids:
                    found, memory = _held(Turn(target, pids[name], behind, 8, 0), size)
                    os.kill(behind.pid, signal.SIGTERM)  # the floor reads its upstream to the end, whoever has left
            points[name][size] = found
            points[f"{name}, MB"][size] = memory
            say(f"{name}, {size} streams: {found:.0f} µs an event, {memory:.0f} MB")
    return points


def _fresh_gateway(port: int, folder: Path) -> Target:
    home = Path(tempfile.mkdtemp(dir=folder))
    return gateway("gateway", port, home, ROOMY_UPSTREAM + ROOMY)


def _held(turn: Turn, size: int) -> tuple[float, float]:
    """CPU µs an event beyond what the process takes when nobody asks it, and megabytes, with so many streams open."""
    with Crowd(turn.target.port, turn.asked().raw(True, True)) as crowd:
        idle = _cpu_a_second(turn, crowd)[0]
        opened = crowd.open(size)
        if opened != size:
            raise Missing(f"{turn.target.name}: {opened} of {size} streams began")
        # A stream's first events are read more closely than all that follow.
        crowd.watch(max(1, FIRST_EVENTS * size / EVENTS_A_SECOND))
        busy, events = _cpu_a_second(turn, crowd)
        return (busy - idle) * turn.seconds / events * 1e6, memory_mb(turn.pid)


def _cpu_a_second(turn: Turn, crowd: Crowd) -> tuple[float, int]:
    """CPU seconds a second, and the events of the whole time."""
    before = cpu_s(turn.pid)
    events = crowd.watch(turn.seconds)
    return (cpu_s(turn.pid) - before) / turn.seconds, events


def ledger(folder: Path) -> Points:
    """From an empty ledger to ten million rows, each with its record, of ten thousand accounts."""
    points: Points = {"gateway": {}, "floor": {}, "start, s": {}, "MB": {}}
    have = 0
    with upstream(folder) as behind:
        target = gateway("gateway", behind.port, folder, ROOMY)
        store = Home(folder / "home-gateway").store_path
        with serving([target], folder):
            pass  # it answered once, so there is a row to copy
        for size in ROWS:
            began = time.monotonic()
            if size > 1:
                seeding.calls(store, have, size)
                have = size
            say(f"{size:,} rows: seeded in {time.monotonic() - began:.0f} s, {store.stat().st_size / 2**30:.2f} GB")
            _at_size(points, size, target, behind, folder)
    return points


def keys(folder: Path) -> Points:
    """From one key to a million: calls with one of them, and with another of ten thousand each time."""
    points: Points = {"gateway": {}, "another key each call": {}, "floor": {}, "start, s": {}, "MB": {}}
    have = 0
    texts = [new_key_text() for _ in range(KEYS_IN_TURN)]
    (folder / "bearers").write_text("\n".join(texts))
    with upstream(folder) as behind:
        target = gateway("gateway", behind.port, folder, ROOMY)
        home = Home(folder / "home-gateway")
        with serving([target], folder):
            pass  # the keyring is made
        keyring = Keyring(home)
        digests = [keyring.digest(text) for text in texts]
        for size in KEYS:
            if size > 1:
                seeding.keys(home.store_path, have, size, digests)
                have = size
            _at_size(points, size, target, behind, folder, in_turn=size >= KEYS_IN_TURN)
    return points


def _at_size(
    points: Points, size: int, target: Target, behind: Upstream, folder: Path, *, in_turn: bool = False
) -> None:
    """A start of the gateway on a store of this size, and calls; the floor, which has no store, shows the noise."""
    floor = bare("floor", behind.port)
    seen: dict[str, dict[int, list[float]]] = {name: {size: []} for name in ("gateway", "floor")}
    with serving([floor], folder) as floor_pids:
        began = time.monotonic()
        with serving([target], folder) as pids:
            points["start, s"][size] = time.monotonic() - began
            turn = Turn(target, pids[target.name], behind, SECONDS, 0)
            for _ in range(ROUNDS):
                seen["floor"][size].append(plain_us(Turn(floor, floor_pids["floor"], behind, SECONDS, 0), 16))
                seen["gateway"][size].append(plain_us(turn, 16))
                if in_turn:
                    seen.setdefault("another key each call", {size: []})[size].append(_many_keys_us(turn, folder))
            points["MB"][size] = memory_mb(turn.pid)
    for name, of in _medians(seen).items():
        points[name] |= of
    say(f"{size:,}: " + ", ".join(f"{name} {of[size]:.1f}" for name, of in points.items() if size in of))


def _many_keys_us(turn: Turn, folder: Path) -> float:
    """CPU µs of a plain call at 16 at once, each with another key."""
    script = folder / "in_turn.lua"
    script.write_text(IN_TURN.format(file=folder / "bearers", body=turn.asked().body().decode()))
    before = cpu_s(turn.pid)
    command = ["wrk", "-t1", "-c16", f"-d{SECONDS}s", "-s", str(script), turn.target.url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    used = cpu_s(turn.pid) - before
    _, _, said = done.stdout.partition("@@")
    requests, errors = (int(number) for number in said.split()[:2])
    if errors or not requests:
        raise Missing(f"calls with {KEYS_IN_TURN} keys failed: {errors} of {requests}")
    return used / requests * 1e6


def _medians(seen: Mapping[str, Mapping[int, Sequence[float]]]) -> Points:
    return {name: {size: statistics.median(all_of) for size, all_of in of.items()} for name, of in seen.items()}


KINDS: dict[str, Callable[[Path], Points]] = {
    "connections": connections,
    "streams": streams,
    "ledger": ledger,
    "keys": keys,
}
TITLES = {
    "connections": ("CPU µs per plain call", "connections, each with a call at a time", ("gateway", "floor")),
    "streams": ("CPU µs per event, at most 2,000 a second in all", "open streams", ("gateway", "floor")),
    "ledger": ("CPU µs per plain call, 16 at once", "rows of the ledger, each with its record", ("gateway", "floor")),
    "keys": ("CPU µs per plain call, 16 at once", "keys", ("gateway", "another key each call", "floor")),
}


def chart(kind: str, points: Points) -> Chart:
    """What is drawn of a kind."""
    title, x, names = TITLES[kind]
    return Chart(title, x, {name: sorted(points[name].items()) for name in names if points.get(name)})


def table(points: Points) -> str:
    """Markdown: a row a size."""
    sizes = sorted({size for of in points.values() for size in of})
    lines = ["| | " + " | ".join(points) + " |", "|---" * (len(points) + 1) + "|"]
    for size in sizes:
        cells = [f"{of[size]:,.3g}" if size in of else "–" for of in points.values()]
        lines.append(f"| {size:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def scale(kinds: Sequence[str], folder: Path, charts: Path | None) -> dict[str, Any]:
    """All of these kinds, each in a folder of its own that is gone before the next begins."""
    result: dict[str, Any] = {}
    for kind in kinds:
        with _room(folder) as room:
            points = KINDS[kind](room)
        say(f"\n{kind}\n{table(points)}\n")
        result[kind] = points
        if charts:
            charts.mkdir(parents=True, exist_ok=True)
            (charts / f"{kind}.svg").write_text(svg(chart(kind, points)))
    return result


@contextlib.contextmanager
def _room(folder: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        yield Path(name)
