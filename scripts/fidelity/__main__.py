"""Prints the table of fidelity, or writes it into docs/fidelity.md.

    python -m scripts.fidelity [--run] [--write] [--holes]

--run runs the tests and puts their results in; --write writes the page; --holes prints only what lacks a test, and
exits with 1 where something does.
"""

import argparse
import contextlib
import io
import sys
from collections.abc import Mapping

from scripts.fidelity.entries import COLUMNS, ROOT, Entry, differences, read_entries
from scripts.fidelity.tests import Held, find

PAGE = ROOT / "docs" / "fidelity.md"
HEAD = """# Fidelity

What a caller may rely on whichever provider answers, entry by entry, and how many tests hold it: in the provider's own
tests on its strict upstream, and through the whole gateway in `tests/fidelity`. A test names its entries
(`test_M1_…`); the entries are data in `tests/fidelity/entries.toml`, and a test refuses an entry of P0 or P1 that any
of its columns does not hold. This page is written by `python -m scripts.fidelity --run --write`.

What could not be verified against the real APIs stands in each provider's README.

"""


def holes(entries: Mapping[str, Entry], table: Mapping[tuple[str, str], Held]) -> list[str]:
    """ "ID column" of everything that must have a test and has none."""
    return [
        f"{name} {column}"
        for name, entry in entries.items()
        if entry.needed
        for column in entry.columns
        if (name, column) not in table
    ]


def page(entries: Mapping[str, Entry], table: Mapping[tuple[str, str], Held], *, ran: bool) -> str:
    """The whole page."""
    lines = [f"| id | | what must hold | {' | '.join(COLUMNS)} |", f"|---|---|---|{'---|' * len(COLUMNS)}"]
    for name, entry in entries.items():
        cells = [_cell(entry, column, table.get((name, column)), ran=ran) for column in COLUMNS]
        lines.append(f"| {name} | {entry.priority} | {entry.line} | {' | '.join(cells)} |")
    reasons = [
        f"- {name}, {column}: {why}" for name, entry in entries.items() for column, why in entry.exceptions.items()
    ]
    told = "A number is that of the tests, all of which pass" if ran else "A number is that of the tests"
    legend = f"{told}; – means that the entry does not apply there.\n\n"
    return HEAD + legend + "\n".join(lines) + "\n\n## Where an entry does not apply\n\n" + "\n".join(reasons) + "\n"


def _cell(entry: Entry, column: str, found: Held | None, *, ran: bool) -> str:
    if found is None:
        return "**none**" if column in entry.columns and entry.needed else "" if column in entry.columns else "–"
    said = str(len(found.tests))
    if ran and found.skipped:
        said += f" ({len(found.skipped)} skipped)"
    return f"{said}, **{len(found.failed)} failed**" if found.failed else said


def main() -> int:
    """The status to exit with."""
    parser = argparse.ArgumentParser(prog="python -m scripts.fidelity", description=__doc__.splitlines()[0])
    parser.add_argument("--run", action="store_true", help="run the tests")
    parser.add_argument("--write", action="store_true", help="write docs/fidelity.md")
    parser.add_argument("--holes", action="store_true", help="print what lacks a test")
    chosen = parser.parse_args()
    entries = read_entries()
    if unlike := differences(entries):
        sys.stderr.write(f"not as the specification has them: {', '.join(unlike)}\n")
        return 1
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(sys.stderr if chosen.run else said):
            table = find(run=chosen.run, clients={name: entry.clients for name, entry in entries.items()})
    except RuntimeError as failed:
        sys.stderr.write(f"{said.getvalue()}{failed}\n")
        return 2
    open_ones = holes(entries, table)
    if chosen.holes:
        print("\n".join(open_ones))
        return 1 if open_ones else 0
    text = page(entries, table, ran=chosen.run)
    if chosen.write:
        PAGE.write_text(text)
    else:
        print(text)
    return 1 if any(one.failed for one in table.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
