"""What starting costs: import of the core, the first 200 after start, memory when idle."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

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


def starts(target: Target, log: Path, rounds: int) -> dict[str, float]:
    """Medians of whole starts: seconds to the first 200, then resident megabytes at rest."""
    seconds, memory = [], []
    for _ in range(rounds):
        began = time.monotonic()
        with running(target.command, target.env, log) as pid:
            wait_until_served(target, log)
            seconds.append(time.monotonic() - began)
            time.sleep(1)
            memory.append(resident_mb(pid))
    return {"cold_start_s": round(statistics.median(seconds), 3), "idle_mb": round(statistics.median(memory), 1)}


def resident_mb(pid: int) -> float:
    """Resident memory of one process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
