"""What the bench makes of callgrind's counts."""

from pathlib import Path

import pytest

from scripts.benchmark import instructions
from scripts.benchmark.instructions import KINDS, LOOP, Count, ratios, table, threads
from scripts.benchmark.targets import NoTool

FOUND = {
    "floor": {"plain": Count(100.0, 0.0), "stream": Count(800.0, 0.0)},
    "gateway": {kind.key: Count(1000.0, 250.5) for kind in KINDS},
}


def written(folder: Path, name: str, total: int | None) -> None:
    """A file as callgrind writes it; one that has nothing to tell has no totals."""
    body = "# callgrind format\nversion: 1\nevents: Ir\n\nfn=(1) main\n16 400\ncalls=1 0\n"
    (folder / name).write_text(body + ("" if total is None else f"totals: {total}\n"))


def test_a_threads_instructions_are_those_of_all_its_files(tmp_path: Path) -> None:
    written(tmp_path, "gateway.count.1-01", 70)
    written(tmp_path, "gateway.count.2-01", 5)
    written(tmp_path, "gateway.count.1-03", 20)
    written(tmp_path, "gateway.count.1-04", None)
    written(tmp_path, "floor.count.1-01", 9)
    assert threads(tmp_path, "gateway") == {LOOP: 75, "03": 20, "04": 0}
    assert threads(tmp_path, "gateway") == {}
    assert threads(tmp_path, "floor") == {LOOP: 9}


def test_all_threads_are_held_to_the_floor_and_what_is_translated_to_its_plain_stream() -> None:
    assert ratios(FOUND) == {"plain": 12.51, "stream": 1.56, "stream_anthropic": 1.56, "stream_gemini": 1.56}


def test_the_table_has_a_line_for_each_kind_of_call() -> None:
    head, *lines = table(FOUND).splitlines()
    assert len(lines) == len(KINDS)
    assert head.split()[-3:] == ["×", "the", "floor"]
    assert lines[0].split()[-4:] == ["100.0", "1,000.0", "250.5", "12.51"]
    assert lines[3].split()[-4:] == ["–", "1,000.0", "250.5", "1.56"]


def test_a_machine_without_valgrind_is_told_how_to_have_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoTool, match=r"valgrind is not on PATH.*apt install valgrind"):
        instructions.instructions(tmp_path, 1)
