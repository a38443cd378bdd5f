"""How results are printed: a table for people, JSON, JSON lines or CSV for programs; a row at a time."""

import csv
import json
import os
import shutil
import sys
import unicodedata
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self, TextIO

Row = Mapping[str, Any]

_GAP = "  "
_NARROWEST = 8
_FORMULA = ("=", "+", "-", "@", "\t", "\n")
#: Rows that a table sees before it decides how wide its columns are; later rows stretch them.
_SAMPLE = 200


class Column(NamedTuple):
    """One column: a path into the row such as "body.model", and its title."""

    path: str
    title: str
    #: Aligned to the right, and never cut.
    number: bool = False
    #: How the value reads in a table; default: as text.
    show: Callable[[Any], str] | None = None
    #: Never cut: an id that is to be copied, an instant.
    whole: bool = False
    #: For CSV and for one thing's own page: a table would be too wide with it.
    detail: bool = False


def value_at(row: Row, path: str) -> Any:
    """The value at a dotted path, None where there is none."""
    value: Any = row
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def text_of(value: Any) -> str:
    """A value as a cell of a table or of CSV."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(text_of(item) for item in value)
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def printable(text: str) -> str:
    """The text without what could move a terminal's cursor or colour it."""
    return "".join(char if char.isprintable() else "�" for char in text)


def when(value: Any) -> str:
    """An instant in a table: to the second, in UTC. Takes RFC 3339 text or milliseconds since the epoch."""
    if isinstance(value, int):
        from gateway_core.clock import iso

        value = iso(value)
    return str(value or "").replace("T", " ")[:19]


def day(value: Any) -> str:
    """The UTC day of an instant, in a table."""
    return when(value)[:10]


def width_of(text: str) -> int:
    """Columns that the text takes on a terminal."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _fit(text: str, width: int) -> str:
    if width_of(text) <= width:
        return text
    while width_of(text) > width - 1:
        text = text[:-1]
    return text + "…"


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * max(0, width - width_of(text))
    return space + text if right else text + space


def on_terminal(file: TextIO) -> bool:
    """Whether a person is looking."""
    return file.isatty()


def coloured(file: TextIO) -> bool:
    """Whether to use colours: on a terminal that has them, unless NO_COLOR is set."""
    return on_terminal(file) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def style(text: str, file: TextIO, code: str) -> str:
    """The text with an SGR code such as "1" (bold), where colours are wanted."""
    return f"\x1b[{code}m{text}\x1b[0m" if coloured(file) else text


class Listing(Protocol):
    """Prints rows as they come. As a context manager it ends the listing, or leaves it visibly open on an error."""

    def row(self, row: Row) -> None:
        """Prints one row, or keeps it until there is enough to lay out."""

    def flush(self) -> None:
        """Prints everything that came so far."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Base:
    def __init__(self, file: TextIO) -> None:
        self._file = file

    def row(self, row: Row) -> None:
        raise NotImplementedError

    def flush(self) -> None:
        self._file.flush()

    def end(self) -> None:
        """Writes what closes the listing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.end()
        self.flush()


class JsonArray(_Base):
    """One array, written as it comes: without its closing bracket it is incomplete, and no parser takes it."""

    def __init__(self, file: TextIO) -> None:
        super().__init__(file)
        self._opening = "[\n"

    def row(self, row: Row) -> None:
        self._file.write(self._opening + json.dumps(row, ensure_ascii=False))
        self._opening = ",\n"

    def end(self) -> None:
        self._file.write("[]\n" if self._opening == "[\n" else "\n]\n")


class JsonLines(_Base):
    """One object a line."""

    def row(self, row: Row) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")


class Csv(_Base):
    """A line of names, then one line a row."""

    def __init__(self, file: TextIO, columns: Sequence[Column]) -> None:
        super().__init__(file)
        self._columns = columns
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow([column.path.removeprefix("body.") for column in columns])

    def row(self, row: Row) -> None:
        self._writer.writerow([self._cell(column, value_at(row, column.path)) for column in self._columns])

    @staticmethod
    def _cell(column: Column, value: Any) -> str:
        """A cell that no spreadsheet takes for a formula: text that begins like one begins with an apostrophe."""
        text = text_of(value).replace("\r", " ")  # which csv does not quote, and readers take for a line's end
        return f"'{text}" if not column.number and text.startswith(_FORMULA) else text


class Table(_Base):
    """Aligned columns, numbers to the right, no wider than the terminal; elsewhere as wide as they are."""

    def __init__(self, file: TextIO, columns: Sequence[Column], empty: str) -> None:
        super().__init__(file)
        self._columns = columns
        self._empty = empty
        self._waiting: list[list[str]] = []
        self._widths: list[int] | None = None

    def row(self, row: Row) -> None:
        self._waiting.append([self._cell(column, value_at(row, column.path)) for column in self._columns])
        if len(self._waiting) >= _SAMPLE:
            self._print()

    def flush(self) -> None:
        if self._waiting:
            self._print()
        super().flush()

    def end(self) -> None:
        if self._widths is None and not self._waiting:
            self._file.write(self._empty + "\n")

    @staticmethod
    def _cell(column: Column, value: Any) -> str:
        return printable(column.show(value) if column.show else text_of(value))

    def _print(self) -> None:
        titles = [column.title for column in self._columns]
        first = self._widths is None
        before = self._widths or [width_of(title) for title in titles]
        wanted = [max(width, *(width_of(row[i]) for row in self._waiting)) for i, width in enumerate(before)]
        self._widths = self._fitted(wanted)
        if first:
            self._file.write(style(self._line(titles), self._file, "1") + "\n")
        for row in self._waiting:
            self._file.write(self._line(row) + "\n")
        self._waiting.clear()

    def _fitted(self, widths: list[int]) -> list[int]:
        """Narrows the widest columns of text until the line fits; numbers are never cut."""
        if not on_terminal(self._file):
            return widths
        room = shutil.get_terminal_size().columns - len(_GAP) * (len(widths) - 1)
        widths = list(widths)
        while sum(widths) > room:
            text = [
                i
                for i, column in enumerate(self._columns)
                if not column.number and not column.whole and widths[i] > _NARROWEST
            ]
            if not text:
                break
            widest = max(text, key=lambda i: widths[i])
            widths[widest] = max(_NARROWEST, widths[widest] - (sum(widths) - room), self._next(widths, text, widest))
        return widths

    @staticmethod
    def _next(widths: list[int], text: list[int], widest: int) -> int:
        """How far the widest column may shrink before another one is the widest."""
        return min(widths[widest] - 1, max((widths[i] for i in text if i != widest), default=0))

    def _line(self, cells: Sequence[str]) -> str:
        assert self._widths is not None  # noqa: S101  # narrows: only called once they are known
        return _GAP.join(
            _pad(cell if column.number else _fit(cell, width), width, column.number)
            for cell, width, column in zip(cells, self._widths, self._columns, strict=True)
        ).rstrip()


def chosen(form: str | None, file: TextIO) -> str:
    """The format asked for, else a table on a terminal and JSON elsewhere."""
    return form or ("table" if on_terminal(file) else "json")


def listing(form: str | None, columns: Sequence[Column], *, empty: str = "none", file: TextIO | None = None) -> Listing:
    """Prints rows to `file` (standard output). JSON carries rows whole, CSV all columns."""
    file = file or sys.stdout
    match chosen(form, file):
        case "json":
            return JsonArray(file)
        case "jsonl":
            return JsonLines(file)
        case "csv":
            return Csv(file, columns)
        case _:
            return Table(file, [column for column in columns if not column.detail], empty)


def print_rows(form: str | None, columns: Sequence[Column], rows: Iterable[Row], *, empty: str = "none") -> None:
    """Prints rows that are all there."""
    with listing(form, columns, empty=empty) as out:
        for row in rows:
            out.row(row)


async def print_pages(
    form: str | None, columns: Sequence[Column], rows: AsyncIterable[Row], *, empty: str = "none"
) -> None:
    """Prints rows as they come."""
    with listing(form, columns, empty=empty) as out:
        async for row in rows:
            out.row(row)


def print_object(form: str | None, columns: Sequence[Column], row: Row) -> None:
    """Prints one thing: an object in JSON, one line in CSV, a line a property in a table."""
    file = sys.stdout
    match chosen(form, file):
        case "json":
            file.write(json.dumps(row, ensure_ascii=False, indent=2) + "\n")
        case "table":
            cells = [(c.title, printable((c.show or text_of)(value_at(row, c.path)))) for c in columns]
            cells = [(title, cell) for title, cell in cells if cell]
            width = max((width_of(title) for title, _ in cells), default=0)
            for title, cell in cells:
                file.write(style(_pad(title, width, right=False), file, "1") + _GAP + cell + "\n")
        case other:
            with listing(other, columns) as out:
                out.row(row)
