"""One interleaved run: in each round every target takes its turn at a section before the next section begins."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from scripts.benchmark import report, sections, start_up
from scripts.benchmark.sections import SECTIONS, Row, Section, Turn, Upstream
from scripts.benchmark.targets import Target, build_upstream, free_port, running, wait_until_served

Assemble = Callable[[int], Sequence[Target]]
"""The targets for an upstream at this port."""


class Plan(msgspec.Struct, frozen=True):
    """What is done, and how often."""

    rounds: int
    seconds: float
    #: One after another on one connection.
    calls: int
    sections: Sequence[Section] = SECTIONS
    #: Whole starts of each target; 0: none is measured.
    starts: int = 0


def say(text: str) -> None:
    """To the person who waits: standard output is for JSON."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def upstream(folder: Path, gap_ms: float = 10, *more: str) -> Iterator[Upstream]:
    """The fake upstream for as long as the block lasts. `more`: its further arguments."""
    port = free_port()
    program = build_upstream(folder)
    with running([str(program), str(port), str(gap_ms), *more], {}, folder / "upstream.log") as pid:
        yield Upstream(port, pid)


@contextlib.contextmanager
def serving(targets: Sequence[Target], folder: Path) -> Iterator[dict[str, int]]:
    """All targets, started and answering; each one's process."""
    with contextlib.ExitStack() as stack:
        pids = {}
        for target in targets:
            log = folder / f"{target.name}.log"
            pids[target.name] = stack.enter_context(running(target.command, target.env, log))
            wait_until_served(target, log)
        yield pids


def measure(plan: Plan, assemble: Assemble, folder: Path) -> dict[str, Any]:
    """The whole run: prints the table and what to doubt in it, and answers everything for JSON, ratios first."""
    load = os.getloadavg()[0]
    with upstream(folder) as behind:
        targets = assemble(behind.port)
        rows: dict[str, list[Row]] = {target.name: [{} for _ in range(plan.rounds)] for target in targets}
        for number in range(plan.starts):
            say(f"start {number + 1} of {plan.starts}")
            for target in targets:
                rows[target.name][number % plan.rounds] |= start_up.start(target, folder / f"{target.name}.log")
        with serving(targets, folder) as pids:
            for number in range(plan.rounds):
                _round(number, plan, targets, pids, behind, rows)
    return summary(rows, load)


def _round(
    number: int,
    plan: Plan,
    targets: Sequence[Target],
    pids: dict[str, int],
    behind: Upstream,
    rows: dict[str, list[Row]],
) -> None:
    for section in plan.sections:
        say(f"round {number + 1} of {plan.rounds}: {section.key}")
        # Every other round in the other order, so that none is always the one behind the same neighbour.
        for target in targets if number % 2 == 0 else reversed(targets):
            if target.translates or not section.translated:
                turn = Turn(target, pids[target.name], behind, plan.seconds, plan.calls)
                rows[target.name][number][section.key] = section.run(turn)
    time.sleep(1)
    for target in targets:
        rows[target.name][number]["after_mb"] = sections.memory_mb(pids[target.name])


def summary(rows: dict[str, list[Row]], load: float) -> dict[str, Any]:
    """Prints the table and what to doubt in it."""
    measured = {name: report.figures(of_target) for name, of_target in rows.items()}
    to_floor = {
        name: report.ratios(of_target, rows["floor"])
        for name, of_target in rows.items()
        if name != "floor" and "floor" in rows
    }
    others = report.busy([row for of_target in rows.values() for row in of_target])
    failed = {name: report.failures(of_target) for name, of_target in rows.items()}
    say("")
    say(report.table(measured, to_floor))
    # What the kernel does for the sockets counts as foreign, too: a third of a core of it is the bench's own.
    crowded = load > 0.5 * (os.cpu_count() or 1) or others["foreign"] > 0.5 or others["steal"] > 0.05
    if crowded:
        say(
            f"WARNING: the machine is busy (load {load:.1f} before the start; meanwhile others took "
            f"{others['foreign']:.2f} cores and the host {others['steal']:.2f}): trust the ratios, not the figures."
        )
    if any(failed.values()):
        say(f"WARNING: calls failed, so the figures of these mean nothing: {failed}")
    ours = to_floor.get("gateway", {})
    return {
        "ratio": {key: found["median"] for key, found in ours.items()},
        "ratio_spread": ours,
        "ratio_of": {name: {key: found["median"] for key, found in of.items()} for name, of in to_floor.items()},
        "busy": crowded,
        "others": others | {"load_before": round(load, 2)},
        "failures": failed,
        "figures": measured,
        "rounds": rows,
    }
