"""Every entry of P0 and P1 is held by a test in every column it has; the entries are those of the specification."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.fidelity.__main__ import PAGE, holes
from scripts.fidelity.entries import SPECIFICATION, Entry, differences, read_entries, specified
from scripts.fidelity.tests import columns_of, held, ids_of

ROOT = Path(__file__).parents[2]


def entry(name: str = "M1", priority: str = "P0", columns: tuple[str, ...] = ("openai", "gemini")) -> Entry:
    return Entry(name, priority, "a line", columns, {})


def test_every_entry_has_its_tests() -> None:
    command = [sys.executable, "-m", "scripts.fidelity", "--holes"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_the_entries_are_those_of_the_specification() -> None:
    entries = read_entries()
    assert len(entries) > 90
    assert differences(entries) == []
    if not SPECIFICATION.is_file():
        pytest.skip("the specification is not at hand")
    assert set(specified(SPECIFICATION.read_text())) == set(entries)


def test_the_page_has_every_entry() -> None:
    rows = [line.split(" | ")[0].removeprefix("| ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    assert [row for row in rows if row in read_entries()] == list(read_entries())


def test_a_hole_is_seen_and_an_exception_is_none() -> None:
    entries = {one.id: one for one in (entry(), entry("M8", "P2"), entry("G1", columns=("gateway",)))}
    nodes = ["plugins/provider-openai/tests/test_x.py::test_M1_G1_both", "tests/fidelity/test_gateway_x.py::test_G1_y"]
    assert holes(entries, held(nodes)) == ["M1 gemini"]


@pytest.mark.parametrize(
    ("node", "columns", "ids"),
    [
        ("plugins/provider-gemini/tests/test_x.py::test_M1_M2_x[a-b]", ("gemini",), ("M1", "M2")),
        ("tests/fidelity/test_openai_x.py::test_O13_x", ("openai",), ("O13",)),
        ("tests/fidelity/test_gateway_x.py::test_G1_x[gemini-pro]", ("gemini",), ("G1",)),
        ("tests/fidelity/test_every.py::TestX::test_E1_x[True-500-anthropic]", ("anthropic",), ("E1",)),
        ("tests/clients/test_x.py::test_C1_x[openai]", ("clients",), ("C1",)),
        ("tests/clients/test_openai_sdk.py::test_plain", ("clients",), ("C1",)),
        ("tests/fidelity/test_every.py::test_plain_words", ("gateway",), ()),
    ],
)
def test_a_test_counts_for_its_column(node: str, columns: tuple[str, ...], ids: tuple[str, ...]) -> None:
    assert columns_of(node) == columns
    assert ids_of(node, {"C1": ("openai_sdk",), "C2": ("other",)}) == ids


def test_what_failed_and_what_was_passed_by_are_told() -> None:
    nodes = [f"tests/fidelity/test_openai_x.py::test_M1_{name}" for name in "abc"]
    (found,) = held(nodes, failed=nodes[:1], skipped=nodes[1:2]).values()
    assert (len(found.tests), found.failed, found.skipped) == (3, nodes[:1], nodes[1:2])


@pytest.mark.parametrize(
    "text",
    ["**M1 P0** All", "**O2/O3 P0** Tool calls", "P1: own chunk with `usage:null` (X13). **X3 P1**", "C1 openai"],
)
def test_an_id_is_read_from_the_specification(text: str) -> None:
    assert set(specified(text)) & {"M1", "O2", "O3", "X13", "C1"}
