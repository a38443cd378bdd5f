"""Measures the gateway beside the floor, the bare relay and whatever peers are named, interleaved, on this machine.

CPU a call is the figure to trust, and its ratio to the floor of the same run before all; calls per second and
percentiles move with whatever else the machine does.
"""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.benchmark import guard, instructions, peers, runs, scale, start_up
from scripts.benchmark.peers import PEERS
from scripts.benchmark.targets import OPTIONS, Missing, Target, bare, gateway

TARGETS = ("floor", "relay", *OPTIONS)


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended"))  # what was started ends, too
    try:
        with tempfile.TemporaryDirectory(prefix="spl-bench-") as folder:
            # Their own files go where the bench's are: whoever tidies the common folder would end the run.
            tempfile.tempdir = folder
            result = chosen(options, Path(folder))
    except Missing as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    if options.json:
        text = json.dumps(result, indent=1, ensure_ascii=False)
        if options.json == "-":
            print(text)
        else:
            Path(options.json).write_text(text + "\n")
    failed = result.get("failures") or {}
    return 1 if any(failed.values()) else 0


def chosen(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What was asked for."""
    if options.guard:
        return guard.guard(folder)
    if options.imports:
        return imports(options, folder)
    if options.instructions:
        return instructions.instructions(folder, options.seconds)
    if options.scale is not None:
        return scale.scale(options.scale or list(scale.KINDS), folder, options.charts)
    plan = runs.Plan(
        rounds=options.rounds,
        seconds=options.seconds,
        calls=200 if options.quick else 600,
        starts=options.rounds,
    )
    return runs.measure(plan, lambda port: assemble(options, port, folder), folder)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--quick", action="store_true", help="one short round")
    kinds.add_argument(
        "--guard", action="store_true", help="ratios alone, held to twice the recorded ones: what CI runs"
    )
    kinds.add_argument("--import", dest="imports", action="store_true", help="only import time, start and idle memory")
    kinds.add_argument(
        "--instructions",
        action="store_true",
        help="instructions a call beside the floor's, by thread, under valgrind: they do not depend on what else the"
        " machine does",
    )
    kinds.add_argument(
        "--scale",
        nargs="*",
        choices=list(scale.KINDS),
        metavar="KIND",
        help=f"cost by size, as charts: {', '.join(scale.KINDS)} (default: all); minutes each",
    )
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="JSON to FILE or standard output")
    parser.add_argument("--targets", default=",".join(TARGETS), help="which to measure (default: %(default)s)")
    parser.add_argument("--peer", action="append", default=[], choices=list(PEERS), help="another gateway, repeatable")
    parser.add_argument("--peer-dir", type=Path, default=peers.default_folder(), help="where peers are installed")
    parser.add_argument("--charts", type=Path, metavar="DIR", help="where --scale writes its charts (default: nowhere)")
    parser.add_argument("--rounds", type=int, help="turns that each target gets (default: 3; quick: 1)")
    parser.add_argument("--seconds", type=int, help="length of each turn (default: 4; quick: 2; instructions: 12)")
    options = parser.parse_args()
    options.targets = options.targets.split(",")
    unknown = set(options.targets) - set(TARGETS)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (2 if options.quick else 12 if options.instructions else 4)
    return options


def assemble(options: argparse.Namespace, upstream_port: int, folder: Path) -> Sequence[Target]:
    """All targets, ours and the peers'."""
    ours = [
        gateway(name, upstream_port, folder) if name in OPTIONS else bare(name, upstream_port)
        for name in options.targets
    ]
    return ours + [PEERS[name](upstream_port, folder, options.peer_dir) for name in options.peer]


def imports(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Import time of the core, and what a start of the gateway costs."""
    with runs.upstream(folder) as behind:
        target = gateway("gateway", behind.port, folder)
        result: dict[str, Any] = {"import_s": start_up.import_seconds(5)}
        result |= start_up.starts(target, folder / "gateway.log", max(3, options.rounds))
    runs.say(
        f"import of the core {result['import_s']:.3f} s · start to first 200 {result['cold_start_s']:.3f} s · "
        f"idle {result['idle_mb']:.1f} MB"
    )
    return result


if __name__ == "__main__":
    sys.exit(main())
