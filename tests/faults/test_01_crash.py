"""Fault 1: the real program is killed under mixed load, at random and at each named point; what must hold after it."""

from pathlib import Path

from gateway_core.testing.crash_points import POINTS
from gateway_core.testing.openai_fixture import UpstreamHandle
from scripts.trials.crash import Trial, plans

RUNS = 20
SEED = 4


def test_01_twenty_kills_lose_nothing_and_bill_nothing_twice(tmp_path: Path, openai_upstream: UpstreamHandle) -> None:
    """`scripts/crash --runs 200` is the same for longer; --seed replays the plan of a trial that failed."""
    trial = Trial(tmp_path, openai_upstream, SEED)
    trial.run(RUNS)
    print(f"seed {SEED}: {trial.report()}")
    assert sum(trial.deaths.values()) == RUNS
    assert trial.recovered > 0
    assert {plan.point for plan in plans(RUNS, trial.dice)} == {"", *POINTS}
