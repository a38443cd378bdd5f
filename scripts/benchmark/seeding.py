"""Fills a gateway's store with rows, by SQL: copies of rows that the gateway itself wrote, so no column is made up.

The store is not served meanwhile. Copied records keep their template's bytes, so their chains verify nothing; what a
call costs depends on how many there are and where they lie, not on what they say.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

ROWS_AN_ACCOUNT = 1000
SEEDED_ID = "req_00"
"""What seeded ids begin with: ids sort by time, so those of the past come before those of today."""
_SEEDED_KIND = -1_000_000_000
"""Where the numbers of seeded accounts' kinds of calls begin, one for each account. They are below 0, or SQLite would
give the next real kind the number behind the highest of them, which is the next seeded one's."""


@contextlib.contextmanager
def quickly(store: Path) -> Iterator[sqlite3.Connection]:
    """A connection that trusts the machine not to fail: a store that is lost is seeded anew."""
    db = sqlite3.connect(store, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = OFF").fetchone()
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("PRAGMA cache_size = -262144")
        db.execute("BEGIN")
        yield db
        db.execute("COMMIT")
        db.execute("PRAGMA journal_mode = WAL").fetchone()
    finally:
        db.close()


def calls(store: Path, have: int, want: int) -> None:
    """Ledger rows with their records, from `have` seeded ones to `want`, a thousand an account.

    The store has a real call already.
    """
    account = f"(i - 1) / {ROWS_AN_ACCOUNT}"
    own = {
        "id": f"printf('{SEEDED_ID}%024d', i)",
        "account_id": f"printf('acct_seed_%09d', {account})",
        "kind": f"{_SEEDED_KIND} + {account}",
        "sequence": f"(i - 1) % {ROWS_AN_ACCOUNT} + 1",
    }
    kinds = {"number": f"{_SEEDED_KIND} + i - 1", "account_id": "printf('acct_seed_%09d', i - 1)"}
    with quickly(store) as db:
        template = "SELECT * FROM call_kinds WHERE number > 0 LIMIT 1"
        _copy(db, "call_kinds", template, kinds, -(-have // ROWS_AN_ACCOUNT), -(-want // ROWS_AN_ACCOUNT))
        for table in ("ledger_rows", "records"):
            template = f"SELECT * FROM {table} WHERE id NOT LIKE '{SEEDED_ID}%' LIMIT 1"  # noqa: S608  # our own constants
            _copy(db, table, template, own, have, want)


def keys(store: Path, have: int, want: int, digests: list[bytes]) -> None:
    """Keys, from `have` seeded ones to `want`; the first of them get these digests, so that somebody can use them."""
    own = {"id": "printf('key_seed_%020d', i)", "digest": "digest_of(i)", "name": "printf('seed %d', i)"}
    with quickly(store) as db:
        db.create_function("digest_of", 1, lambda i: digests[i - 1] if i <= len(digests) else os.urandom(32))
        _copy(db, "keys", "SELECT * FROM keys WHERE id NOT LIKE 'key_seed_%' LIMIT 1", own, have, want)


def _copy(db: sqlite3.Connection, table: str, template: str, own: Mapping[str, str], have: int, want: int) -> None:
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    values = ", ".join(own.get(column, f"t.{column}") for column in columns)
    db.execute(
        f"WITH RECURSIVE n(i) AS (SELECT ? UNION ALL SELECT i + 1 FROM n WHERE i < ?) "  # noqa: S608  # our own constants
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM n, ({template}) AS t",
        (have + 1, want),
    )
