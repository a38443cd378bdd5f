"""Every row of the faults has a test with its number in its name, and a line for operators."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROWS = set(range(1, 40))
ELSEWHERE = {6, 7, 8, 31}
"""PostgreSQL and Redis: with the plugins that bring them."""


def test_every_row_has_a_test() -> None:
    found = set()
    for path in (*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("plugins/*/tests/test_*.py")):
        for name in (path.name, *re.findall(r"def (test_\w+)\(", path.read_text())):
            numbers = re.match(r"test((?:_\d\d)+)_", name)
            found |= {int(number) for number in numbers[1].split("_")[1:]} if numbers else set()
    assert found >= ROWS - ELSEWHERE


def test_every_row_is_explained_to_operators() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    assert {int(number) for number in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)} == ROWS - ELSEWHERE
