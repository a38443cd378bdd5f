"""What starting costs: import of the core, the first 200 after start, memory when idle."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from scripts.benchmark.sections import memory_mb
from scripts.benchmark.targets import ROOT, Target, running, wait_until_served

IMPORTS = """
import time; began = time.perf_counter()
import gateway_core.gateway, gateway_core.edge.app
print(time.perf_counter() - began)
"""


def import_seconds(rounds: int) -> float:
    """Median of fresh interpreters that import the assembly and the edge."""
    seen = []
    for _ in range(rounds):
        command = [sys.executable, "-c", IMPORTS]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        seen.append(float(done.stdout))
    return round(statistics.median(seen), 3)


def start(target: Target, log: Path) -> dict[str, float]:
    """One whole start: seconds to the first 200, then resident megabytes at rest."""
    began = time.monotonic()
    with running(target.command, target.env, log) as pid:
        wait_until_served(target, log)
        seconds = time.monotonic() - began
        time.sleep(1)
        return {"cold_start_s": seconds, "idle_mb": memory_mb(pid)}


def starts(target: Target, log: Path, rounds: int) -> dict[str, float]:
    """Medians of several."""
    seen = [start(target, log) for _ in range(rounds)]
    return {key: round(statistics.median(one[key] for one in seen), 3) for key in seen[0]}
