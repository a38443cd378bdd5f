"""Fault 32, a tenth of it: memory stays where it is after warming up. `scripts/soak calls --count 1000000`: all."""

from pathlib import Path

from scripts.trials.soak import MOST_GROWTH, calls

CALLS = 100_000


def test_32_memory_stays_after_warming_up(tmp_path: Path) -> None:
    found = calls(tmp_path, CALLS)
    print(f"growth {found.growth:+.1%}, MiB: {[round(sample / 2**20, 1) for sample in found.samples]}")
    assert found.settled == CALLS
    assert found.growth < MOST_GROWTH
