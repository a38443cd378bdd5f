"""Many rows in one statement: SQLite then loops without the interpreter's lock, and the loop's thread need not wait."""

import sqlite3
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

_MOST = 32
"""Rows of one statement: 45 columns of each stay far below the variables that SQLite takes."""


class Rows:
    """A statement for any number of rows: `head`, a group of placeholders for each row, `tail`.

    It is compiled for 1, 2, 4 … rows only, so that its connection remembers all of it.
    """

    def __init__(self, head: str, group: Sequence[str], tail: str = "") -> None:
        row = f"({', '.join(group)})"
        self._sql: dict[int, str] = {}
        size = 1
        while size <= _MOST:
            self._sql[size] = f"{head} {', '.join([row] * size)} {tail}"
            size *= 2

    def write(self, db: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Runs it for these rows, in their order."""
        at, left, size = 0, len(rows), _MOST
        while left:
            while size > left:
                size //= 2
            db.execute(self._sql[size], list(chain.from_iterable(rows[at : at + size])))
            at += size
            left -= size


def inserting(into: str, columns: str, tail: str = "", nulls: Mapping[str, str] | None = None) -> Rows:
    """INSERT of rows with these columns (names with commas between them). `nulls`: column → the SQL value that is
    written as NULL. Binding None, a bool or bytes takes ten times as long as an int, a str or a bytearray."""
    absent = nulls or {}
    group = [f"nullif(?, {absent[name]})" if name in absent else "?" for name in columns.split(", ")]
    return Rows(f"INSERT INTO {into} ({columns}) VALUES", group, tail)
