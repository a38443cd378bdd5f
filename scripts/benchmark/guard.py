"""What CI holds the gateway to: CPU a call over the floor's, in the same minute on the same machine.

Fails on a gross loss alone, twice what is recorded in recorded.toml, and after a second look; never for time that
passed on a clock. A machine without gcc or wrk measures nothing, and says so.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.benchmark import runs
from scripts.benchmark.runs import Plan, say
from scripts.benchmark.sections import SECTIONS
from scripts.benchmark.targets import Missing, NoTool, bare, gateway

RECORDED = Path(__file__).with_name("recorded.toml")
GROSS = 2.0
"""How many times the recorded ratio is a gross loss."""
GUARDED = {"wrk_c16", "stream_c16"}
PLAN = Plan(rounds=3, seconds=1.5, calls=0, sections=[one for one in SECTIONS if one.key in GUARDED])


def recorded(file: Path = RECORDED) -> dict[str, float]:
    """The ratios that were written down."""
    ratios: dict[str, float] = tomllib.loads(file.read_text())["ratio"]
    return ratios


def losses(measured: Mapping[str, float], held_to: Mapping[str, float]) -> dict[str, str]:
    """What is grossly slower than it was; what was not measured is a loss, too."""
    found = {}
    for key, ratio in held_to.items():
        if key not in measured:
            found[key] = "was not measured"
        elif measured[key] > GROSS * ratio:
            found[key] = f"{measured[key]:.2f}× the floor, more than {GROSS:g} times the recorded {ratio:.2f}×"
    return found


def guard(folder: Path) -> dict[str, Any]:
    """Prints the ratios; `failures` has what was lost."""
    held_to = recorded()
    try:
        result = _measure(folder)
        lost = losses(result["ratio"], held_to)
        if lost:
            say(f"bench: looking again: {lost}")
            result = _measure(folder)
            lost = losses(result["ratio"], held_to)
    except NoTool as error:
        say(f"bench: not measured: {error}")
        return {"ratio": {}, "failures": {}}
    for key, ratio in held_to.items():
        if key in result["ratio"]:
            say(f"bench: {key} {result['ratio'][key]:.2f}× the floor (recorded: {ratio:.2f}×)")
    for key, text in lost.items():
        say(f"bench: LOST: {key} {text}. Profile the path of a call, or record the ratio anew where the loss is meant")
    return {"ratio": result["ratio"], "ratio_spread": result["ratio_spread"], "failures": lost}


def _measure(folder: Path) -> dict[str, Any]:
    result = runs.measure(PLAN, lambda port: [bare("floor", port), gateway("gateway", port, folder)], folder)
    if any(result["failures"].values()):
        raise Missing(f"calls failed, so nothing is measured: {result['failures']}")
    return result
