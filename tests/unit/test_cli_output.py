"""How the command line prints."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_core.cli import output
from gateway_core.cli.output import Column, listing

COLUMNS = (Column("name", "NAME"), Column("body.cost_usd", "COST", number=True), Column("models", "MODELS"))
ROWS: tuple[output.Row, ...] = (
    {"name": "laptop", "body": {"cost_usd": "0.5"}, "models": ["demo", "gpt-4o"]},
    {"name": "日本語", "body": {"cost_usd": "12.25"}, "models": None},
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


def printed(form: str | None, rows: tuple[output.Row, ...] = ROWS, file: io.StringIO | None = None) -> str:
    file = file or io.StringIO()
    with listing(form, COLUMNS, file=file, empty="no keys yet") as out:
        for row in rows:
            out.row(row)
    return file.getvalue()


def test_json_is_one_array_with_rows_whole() -> None:
    assert json.loads(printed("json")) == list(ROWS)
    assert json.loads(printed("json", ())) == []


def test_json_is_the_default_where_nobody_looks_and_a_table_on_a_terminal(plain: None) -> None:
    assert json.loads(printed(None)) == list(ROWS)
    assert printed(None, file=Terminal()).startswith("NAME")


def test_json_lines_are_one_object_a_line() -> None:
    assert [json.loads(line) for line in printed("jsonl").splitlines()] == list(ROWS)


def test_csv_names_the_columns_and_has_a_line_a_row() -> None:
    rows = list(csv.reader(io.StringIO(printed("csv"))))
    assert rows == [["name", "cost_usd", "models"], ["laptop", "0.5", "demo, gpt-4o"], ["日本語", "12.25", ""]]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@sum", "\t=1", "\n=1"])
def test_no_cell_of_csv_is_a_formula_to_a_spreadsheet(name: str) -> None:
    file = io.StringIO(newline="")
    with listing("csv", COLUMNS, file=file) as out:
        out.row({"name": name, "body": {"cost_usd": "-1.5"}, "models": ["=x", "\r=y"]})
    file.seek(0)
    assert list(csv.reader(file))[1:] == [[f"'{name}", "-1.5", "'=x,  =y"]]


def test_a_listing_that_breaks_off_is_visibly_incomplete() -> None:
    file = io.StringIO()
    out = listing("json", COLUMNS, file=file)
    out.row(ROWS[0])
    out.__exit__(RuntimeError, RuntimeError(), None)
    with pytest.raises(json.JSONDecodeError):
        json.loads(file.getvalue())


def test_table_aligns_text_left_numbers_right_by_their_width_on_screen() -> None:
    assert printed("table").splitlines() == [
        "NAME     COST  MODELS",
        "laptop    0.5  demo, gpt-4o",
        "日本語  12.25",
    ]


def test_details_are_for_csv_and_for_one_things_own_page() -> None:
    columns = (Column("name", "NAME"), Column("id", "ID", detail=True))
    shown = {}
    for form in ("table", "csv"):
        shown[form] = io.StringIO()
        with listing(form, columns, file=shown[form]) as out:
            out.row({"name": "a", "id": "1"})
    assert shown["table"].getvalue() == "NAME\na\n"
    assert shown["csv"].getvalue() == "name,id\na,1\n"


def test_table_says_in_words_that_nothing_is_there() -> None:
    assert printed("table", ()) == "no keys yet\n"


def test_table_fits_the_terminal_without_ever_cutting_a_number(plain: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    row = {"name": "a" * 60, "body": {"cost_usd": "0.000000000001"}, "models": "b" * 60}
    lines = printed("table", (row,), Terminal()).splitlines()
    assert output.width_of(lines[1]) == 40
    assert "0.000000000001" in lines[1]
    assert lines[1].count("…") == 2


def test_what_is_to_be_copied_is_never_cut(plain: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    file = Terminal()
    with listing("table", (Column("id", "ID", whole=True), Column("name", "NAME")), file=file) as out:
        out.row({"id": "x" * 20, "name": "y" * 20})
    assert file.getvalue().splitlines()[1] == "x" * 20 + "  " + "y" * 7 + "…"


def test_table_is_not_cut_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    assert "a" * 60 in printed("table", ({"name": "a" * 60},))


@given(
    widths=st.lists(st.integers(0, 300), min_size=1, max_size=8),
    numbers=st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_fitting_ends_keeps_numbers_and_keeps_what_fits(widths: list[int], numbers: list[bool]) -> None:
    columns = [Column(str(i), str(i), number=numbers[i]) for i in range(len(widths))]
    table = output.Table(Terminal(), columns, "")
    fitted = table._fitted(widths)
    room = 80 - 2 * (len(widths) - 1)
    with_numbers = [w for w, c in zip(widths, columns, strict=True) if c.number]
    assert [w for w, c in zip(fitted, columns, strict=True) if c.number] == with_numbers
    assert all(after <= before for after, before in zip(fitted, widths, strict=True))
    if sum(widths) <= room:
        assert fitted == widths
    else:
        narrowest = [min(w, 8) for w, c in zip(widths, columns, strict=True) if not c.number]
        assert sum(fitted) <= max(room, sum(with_numbers) + sum(narrowest))


def test_later_rows_stretch_a_table_rather_than_losing_anything() -> None:
    rows = (*({"name": "x"} for _ in range(250)), {"name": "y" * 50})
    lines = printed("table", rows).splitlines()
    assert len(lines) == 252
    assert lines[-1] == "y" * 50


def test_what_a_server_says_cannot_steer_the_terminal(plain: None) -> None:
    text = printed("table", ({"name": "a\x1b[2Jb\r\nc\x9b"},), Terminal())
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert len(text.splitlines()) == 2


def test_colours_only_on_a_terminal_and_never_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[1m" in printed("table", file=Terminal())
    assert "\x1b" not in printed("table")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in printed("table", file=Terminal())


def test_an_object_is_an_object_in_json_and_a_line_a_property_in_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_object("json", COLUMNS, ROWS[0])
    assert json.loads(capsys.readouterr().out) == ROWS[0]
    output.print_object("table", COLUMNS, ROWS[1])
    assert capsys.readouterr().out == "NAME  日本語\nCOST  12.25\n"
    output.print_object("csv", COLUMNS, ROWS[0])
    assert capsys.readouterr().out.splitlines()[1] == 'laptop,0.5,"demo, gpt-4o"'


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "yes"), (False, "no"), (3, "3"), (["a", 1], "a, 1"), ({"rpm": 5}, '{"rpm": 5}')],
)
def test_cells(value: object, text: str) -> None:
    assert output.text_of(value) == text


def test_instants_read_to_the_second() -> None:
    assert output.when("2026-11-22T08:00:01.250Z") == "2026-11-22 08:00:01"
    assert output.when(1_795_334_401_250) == "2026-11-22 08:00:01"
    assert output.when(None) == ""
