"""SQLite connections: one that writes, and those that only read."""

import os
import sqlite3
from pathlib import Path

_BUSY_SECONDS = 2.0

_WRITING = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "trusted_schema = OFF",
    "temp_store = MEMORY",
    "journal_size_limit = 67108864",
    "cache_size = -8192",
)
_READING = ("query_only = ON", "trusted_schema = OFF", "cache_size = -4096")


def writing(path: Path) -> sqlite3.Connection:
    """The one connection that writes. WAL with FULL: what was committed survives a power cut.

    Only this connection checkpoints, because SQLite before 3.51.3 can corrupt a WAL that several reset.
    """
    return _connect(path, "rw", 256, _WRITING)


def reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write; it never holds up the writer."""
    return _connect(path, "ro", 128, _READING)


def create(path: Path) -> None:
    """Makes the empty file, readable by its owner alone, where there is none: SQLite's other files take its mode."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _connect(path: Path, mode: str, statements: int, pragmas: tuple[str, ...]) -> sqlite3.Connection:
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=statements,
    )
    try:
        for pragma in pragmas:
            db.execute(f"PRAGMA {pragma}").close()
    except sqlite3.Error:
        db.close()
        raise
    return db
