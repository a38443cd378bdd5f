"""Many rows in one statement: SQLite then loops without the interpreter's lock, and the loop's thread need not wait."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

_MOST = 16
"""Rows of one statement."""


class Rows:
    """A statement for any number of rows: `head`, a group of placeholders for each row, `tail`. Its connection
    remembers one for each number of them up to _MOST; more take several."""

    def __init__(self, head: str, group: Sequence[str], tail: str = "") -> None:
        row = f"({', '.join(group)})"
        self._width = row.count("?")
        self._sql = [f"{head} {', '.join([row] * size)} {tail}" for size in range(_MOST + 1)]

    def write(self, cursor: sqlite3.Cursor, values: list[Any]) -> None:
        """Runs it for these rows, in their order: the values of one behind those of another."""
        most = _MOST * self._width
        while len(values) > most:
            cursor.execute(self._sql[_MOST], values[:most])
            values = values[most:]
        if values:
            cursor.execute(self._sql[len(values) // self._width], values)


def inserting(
    into: str,
    columns: str,
    tail: str = "",
    *,
    nulls: Mapping[str, str] | None = None,
    fixed: Mapping[str, str] | None = None,
) -> Rows:
    """INSERT of rows with these columns (names with commas between them). `nulls`: column → the SQL value that is
    written as NULL. `fixed`: columns that are the same in every row, and take no value. Binding None, a bool or bytes
    takes ten times as long as an int, a str or a bytearray."""
    absent, same = nulls or {}, fixed or {}
    group = [f"nullif(?, {absent[name]})" if name in absent else "?" for name in columns.split(", ")]
    return Rows(f"INSERT INTO {into} ({', '.join([columns, *same])}) VALUES", [*group, *same.values()], tail)
