"""The bench's own charts and tables."""

from xml.etree import ElementTree as ET

import pytest

from scripts.benchmark.charts import Chart, nice_step, short, svg
from scripts.benchmark.scale import KINDS, TITLES, chart, table

POINTS = {"gateway": {1: 90.0, 1000: 80.0, 1_000_000: 85.0}, "floor": {1: 50.0, 1000: 40.0}}


def test_a_chart_is_well_formed_and_has_a_point_for_each_value() -> None:
    root = ET.fromstring(svg(Chart("a < b", "size", {"one": [(1, 2.0), (10, 4.0)], "two": [(1, 3.0)]})))  # noqa: S314  # our own
    tag = "{http://www.w3.org/2000/svg}"
    assert root.findtext(f"{tag}title") == "a < b"
    assert len(root.findall(f"{tag}circle")) == 3
    assert len(root.findall(f"{tag}polyline")) == 2


def test_zero_is_at_the_bottom_and_sizes_lie_by_their_logarithm() -> None:
    root = ET.fromstring(svg(Chart("t", "x", {"one": [(1, 0.0), (10, 5.0), (100, 5.0)]})))  # noqa: S314  # our own
    circles = root.findall("{http://www.w3.org/2000/svg}circle")
    xs, ys = ([float(circle.attrib[axis]) for circle in circles] for axis in ("cx", "cy"))
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)
    assert ys[0] > ys[1] == ys[2]


def test_a_single_point_is_a_chart_too() -> None:
    assert "<circle" in svg(Chart("t", "x", {"one": [(1, 0.0)]}))


@pytest.mark.parametrize(("largest", "step"), [(100, 20), (93, 20), (8, 2), (450, 100), (0.4, 0.1)])
def test_grid_lines_are_round_numbers(largest: float, step: float) -> None:
    assert nice_step(largest) == pytest.approx(step)


@pytest.mark.parametrize(("number", "text"), [(1, "1"), (9900, "9.9k"), (10_000, "10k"), (10_000_000, "10M")])
def test_sizes_are_short(number: float, text: str) -> None:
    assert short(number) == text


def test_a_table_has_a_row_a_size_and_says_what_is_missing() -> None:
    assert table(POINTS).splitlines() == [
        "| | gateway | floor |",
        "|---|---|---|",
        "| 1 | 90 | 50 |",
        "| 1,000 | 80 | 40 |",
        "| 1,000,000 | 85 | – |",
    ]


def test_every_kind_has_a_chart() -> None:
    assert TITLES.keys() == KINDS.keys()
    assert list(chart("connections", POINTS).series) == ["gateway", "floor"]
    assert list(chart("ledger", POINTS).series) == ["gateway", "floor"]
