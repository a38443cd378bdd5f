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


MEASURED = {
    "floor": report.figures([row(0.04, 0.3), row(0.05, 0.3), row(0.06, 0.4)]),
    "gateway": report.figures([row(0.07, 0.33), row(0.08, 0.36), row(0.075, 0.33)]),
}


def test_figures_are_medians_with_their_spread() -> None:
    assert MEASURED["floor"]["plain"] == {"median": 50.0, "min": 40.0, "max": 60.0}
    assert "rps" not in MEASURED["floor"]


def test_ratios_compare_medians_of_one_run() -> None:
    assert report.ratios(MEASURED, "floor") == {"plain": 1.5, "stream": 1.1}
    assert report.ratios(MEASURED, "relay") == {}


def test_failed_calls_are_counted() -> None:
    failed = row(1, 1, slow_c200={"bad": 3}, seq={"bad": 1}, wrk_c64={"error": "no output"})
    assert report.failures([row(1, 1)]) == 0
    assert report.failures([row(1, 1), failed]) == 5


def test_what_others_took_is_told() -> None:
    assert report.busy([row(1, 1)])["foreign"] == 0.2


def test_the_table_has_both_and_their_ratio() -> None:
    text = report.table(MEASURED)
    assert "50 (40–60)" in text
    assert "gateway / floor: plain 1.50× · stream 1.10×" in text
