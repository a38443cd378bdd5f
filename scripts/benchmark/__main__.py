"""Measures the gateway beside the floor and the bare relay, interleaved, on whatever machine this is.

Each round gives every target its turn of the measuring stick (measure.py), all against one fake upstream. CPU per
call is the figure to trust; calls per second and percentiles move with whatever else the machine does.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from scripts.benchmark import report, start_up
from scripts.benchmark.targets import (
    ROOT,
    Missing,
    Target,
    bare,
    build_upstream,
    free_port,
    gateway,
    running,
    wait_until_served,
)

TARGETS = ("floor", "relay", "gateway")


def main() -> int:
    options = arguments()
    try:
        with tempfile.TemporaryDirectory(prefix="spl-bench-") as folder:
            result = imports(options, Path(folder)) if options.imports else measure(options, Path(folder))
    except Missing as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    if options.json:
        text = json.dumps(result, indent=1, ensure_ascii=False)
        if options.json == "-":
            print(text)
        else:
            Path(options.json).write_text(text + "\n")
    return 1 if result.get("failures") else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, for CI: about a minute")
    parser.add_argument("--import", dest="imports", action="store_true", help="only import time, start and idle memory")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="JSON to FILE or standard output")
    parser.add_argument("--targets", default=",".join(TARGETS), help="which to measure (default: %(default)s)")
    parser.add_argument("--rounds", type=int, help="turns that each target gets (default: 3; quick: 1)")
    parser.add_argument("--seconds", type=int, help="length of each section (default: 4; quick: 2)")
    options = parser.parse_args()
    options.targets = options.targets.split(",")
    unknown = set(options.targets) - set(TARGETS)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (2 if options.quick else 4)
    return options


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def assemble(options: argparse.Namespace, upstream_port: int, folder: Path) -> list[Target]:
    return [
        gateway(upstream_port, folder) if name == "gateway" else bare(name, upstream_port) for name in options.targets
    ]


def imports(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Import time of the core, and what a start of the gateway costs."""
    port = free_port()
    with running([str(build_upstream(folder)), str(port)], {}, folder / "upstream.log"):
        target = gateway(port, folder)
        result: dict[str, Any] = {"import_s": start_up.import_seconds(5)}
        result |= start_up.starts(target, folder / "gateway.log", max(3, options.rounds))
    say(
        f"import of the core {result['import_s']:.3f} s · start to first 200 {result['cold_start_s']:.3f} s · "
        f"idle {result['idle_mb']:.1f} MB"
    )
    return result


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All targets, round by round."""
    load = os.getloadavg()[0]
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in options.targets}
    with contextlib.ExitStack() as stack:
        port = free_port()
        program = build_upstream(folder)
        upstream = stack.enter_context(running([str(program), str(port), "10"], {}, folder / "upstream.log"))
        targets = assemble(options, port, folder)
        starts = {}
        for target in targets:
            say(f"{target.name}: starting {options.rounds + 1} times")
            starts[target.name] = start_up.starts(target, folder / f"{target.name}.log", options.rounds)
        pids = {}
        for target in targets:
            log = folder / f"{target.name}.log"
            pids[target.name] = stack.enter_context(running(target.command, target.env, log))
            wait_until_served(target, log)
        for number in range(options.rounds):
            for target in targets:
                say(f"round {number + 1} of {options.rounds}: {target.name}")
                row = stick(target, pids[target.name], port, upstream, folder, options)
                row["cold_start_s"] = starts[target.name]["cold_start_s"]
                row["idle"] = {"rss_mb": starts[target.name]["idle_mb"]}
                rows[target.name].append(row)
    return summary(rows, load)


def stick(
    target: Target, pid: int, upstream_port: int, upstream: int, folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """One turn of the measuring stick; its JSON."""
    seconds = str(options.seconds)
    command = [sys.executable, str(Path(__file__).with_name("measure.py")), "--name", target.name]
    command += ["--url", target.url, "--header", f"Authorization: Bearer {target.bearer}", "--pid", str(pid)]
    command += ["--direct", f"http://127.0.0.1:{upstream_port}/v1/chat/completions", "--upstream-pid", str(upstream)]
    command += [
        "--lock",
        "",
        "--reps",
        "1",
        "--secs",
        seconds,
        "--warm",
        "1",
        "--seq",
        "200" if options.quick else "600",
    ]
    command += ["--stream-secs", seconds, "--slow-secs", seconds, "--slow-conc", "20" if options.quick else "20,200"]
    # Its own files go where the bench's are: whoever tidies the common folder meanwhile would end the run.
    env = os.environ | {"TMPDIR": str(folder)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"the measuring of {target.name} ended: {done.stderr.strip()[-500:]}")
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def summary(rows: dict[str, list[dict[str, Any]]], load: float) -> dict[str, Any]:
    """Prints the table and what to doubt in it; answers everything for JSON, the ratios first."""
    measured = {name: report.figures(of_target) for name, of_target in rows.items()}
    everything = [row for of_target in rows.values() for row in of_target]
    others = report.busy(everything)
    failed = {name: report.failures(of_target) for name, of_target in rows.items()}
    say("")
    say(report.table(measured))
    # What the kernel does for the sockets counts as foreign, too: a third of a core of it is the bench's own.
    crowded = load > 0.5 * (os.cpu_count() or 1) or others["foreign"] > 0.5 or others["steal"] > 0.05
    if crowded:
        say(
            f"WARNING: the machine is busy (load {load:.1f} before the start; meanwhile others took "
            f"{others['foreign']:.2f} cores and the host {others['steal']:.2f}): do not trust these figures."
        )
    if any(failed.values()):
        say(f"WARNING: calls failed, so the figures mean nothing: {failed}")
    return {
        "ratio": report.ratios(measured, "floor"),
        "ratio_to_relay": report.ratios(measured, "relay"),
        "busy": crowded,
        "others": others | {"load_before": round(load, 2)},
        "failures": sum(failed.values()),
        "figures": measured,
        "rounds": rows,
    }


if __name__ == "__main__":
    sys.exit(main())
