"""What the bench makes of the measuring stick's figures."""

from typing import Any

from scripts.benchmark import report


def row(plain: float, stream: float, **more: Any) -> dict[str, Any]:
    """One turn of the stick: CPU seconds for a thousand calls."""
    return {
        "wrk_c16": {"gw_cpu_s_per_1000": plain, "errors": 0, "wall_s": 2, "foreign_cpu_util": 0.2, "steal_util": 0.0},
        "stream_c16": {"gw_cpu_s_per_1000": stream, "bad": 0},
        **more,
    }


FLOOR = [row(0.04, 0.3), row(0.05, 0.3), row(0.06, 0.4)]
OURS = [row(0.07, 0.33), row(0.08, 0.36), row(0.075, 0.33)]
MEASURED = {"floor": report.figures(FLOOR), "gateway": report.figures(OURS)}


def test_figures_are_medians_with_their_spread() -> None:
    assert MEASURED["floor"]["plain"] == {"median": 50.0, "min": 40.0, "max": 60.0}
    assert "rps" not in MEASURED["floor"]


def test_ratios_compare_what_was_measured_in_one_round() -> None:
    assert report.ratios(OURS, FLOOR) == {
        "plain": {"median": 1.6, "min": 1.25, "max": 1.75},
        "stream": {"median": 1.1, "min": 0.825, "max": 1.2},
    }
    assert report.ratios(OURS, []) == {}


def test_translated_streams_are_held_to_the_floors_plain_ones() -> None:
    ours = [row(1, 0.6, stream_gemini_c16={"gw_cpu_s_per_1000": 0.45}, stream_anthropic_c16={"gw_cpu_s_per_1000": 0.6})]
    found = report.ratios(ours, FLOOR)
    assert (found["stream_gemini"]["median"], found["stream_anthropic"]["median"]) == (1.5, 2.0)


def test_a_round_that_was_not_measured_has_no_ratio() -> None:
    assert report.ratios([row(0, 0.3)], FLOOR)["stream"]["median"] == 1.0
    assert "plain" not in report.ratios([row(0, 0.3)], FLOOR)


def test_failed_calls_are_counted() -> None:
    failed = row(
        1, 1, slow_c200={"bad": 3}, seq={"bad": 1}, wrk_c64={"error": "no output"}, stream_gemini_c16={"bad": 2}
    )
    assert report.failures([row(1, 1)]) == 0
    assert report.failures([row(1, 1), failed]) == 7


def test_what_others_took_is_told() -> None:
    assert report.busy([row(1, 1)])["foreign"] == 0.2


def test_the_table_has_both_and_their_ratio() -> None:
    lines = report.table(MEASURED, {"gateway": report.ratios(OURS, FLOOR)}).splitlines()
    assert lines[1].startswith("CPU µs per plain call, 16 at once")
    assert lines[1].split()[-4:] == ["50", "(40–60)", "75", "(70–80)"]
    assert lines[-2].startswith("× the floor: plain ")
    assert lines[-2].split()[-3:] == ["–", "1.6", "(1.25–1.75)"]
