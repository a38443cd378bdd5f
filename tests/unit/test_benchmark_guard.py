"""What CI holds the gateway to."""

from pathlib import Path

from scripts.benchmark.guard import GROSS, GUARDED, PLAN, losses, recorded
from scripts.benchmark.report import PATHS

HELD_TO = {"plain": 1.5, "stream": 1.1}


def test_up_to_twice_the_recorded_ratio_is_no_loss() -> None:
    assert losses({"plain": 1.5 * GROSS, "stream": 0.9}, HELD_TO) == {}


def test_more_is_a_loss_and_says_how_much() -> None:
    assert losses({"plain": 3.01, "stream": 1.1}, HELD_TO) == {
        "plain": "3.01× the floor, more than 2 times the recorded 1.50×"
    }


def test_what_was_not_measured_is_a_loss() -> None:
    assert losses({"plain": 1.5}, HELD_TO) == {"stream": "was not measured"}


def test_what_is_recorded_is_what_is_measured() -> None:
    assert {PATHS[key].split(".")[0] for key in recorded()} == GUARDED
    assert {section.key for section in PLAN.sections} == GUARDED


def test_the_record_says_of_when_it_is(tmp_path: Path) -> None:
    file = tmp_path / "recorded.toml"
    file.write_text('date = "2026-11-22"\ncommit = "abc"\n[ratio]\nplain = 1.5\n')
    assert recorded(file) == {"plain": 1.5}
