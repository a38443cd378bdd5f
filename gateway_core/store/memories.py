"""What providers must be told again in a later call: `store_ports.Memories` on SQLite."""

import sqlite3
from collections.abc import Sequence

from gateway_core.store.books import Transaction
from gateway_core.store.committer import Committer
from gateway_core.store.directory import write
from gateway_core.store.readers import Readers
from gateway_core.store_ports import MemoryBounds, MemoryEntry

MOST_REMOVED = 100
"""Entries beyond its own that one write removes, where the bounds have become tighter: the next ones go on."""

_FORGET = "DELETE FROM memories WHERE account_id = ? AND key = ?"
_INSERT = "INSERT INTO memories (account_id, key, expires_at, sealed) VALUES (?, ?, ?, ?)"
_RECALL = "SELECT expires_at, sealed FROM memories WHERE account_id = ? AND key = ? AND expires_at > ?"
_OLDEST = (
    "DELETE FROM memories WHERE rowid = "
    "(SELECT rowid FROM memories WHERE account_id = ? ORDER BY expires_at, rowid LIMIT 1)"
)
_KEPT = "SELECT entries, bytes FROM memories_kept WHERE account_id = ?"
_LARGEST = "SELECT account_id FROM memories_kept WHERE account_id <> '' ORDER BY bytes DESC LIMIT 1"


class SqliteMemories:
    """The memory of one store that is open."""

    def __init__(self, committer: Committer, readers: Readers) -> None:
        self._committer = committer
        self._readers = readers

    async def keep(self, account_id: str, entries: Sequence[MemoryEntry], bounds: MemoryBounds) -> None:
        """Joins the next commit."""

        def change(books: Transaction) -> None:
            _keep(books.db, account_id, entries, bounds)

        await write(self._committer, change)

    async def recall(self, account_id: str, keys: Sequence[bytes], now_ms: int, most_bytes: int) -> list[MemoryEntry]:
        """A read of its own: what was kept before it began is seen."""
        return await self._readers.run(_recall, account_id, keys, now_ms, most_bytes)


def _keep(db: sqlite3.Connection, account_id: str, entries: Sequence[MemoryEntry], bounds: MemoryBounds) -> None:
    for entry in entries:
        db.execute(_FORGET, (account_id, entry.key))
        db.execute(_INSERT, (account_id, entry.key, entry.expires_at, entry.sealed))
    for _ in range(len(entries) + MOST_REMOVED):
        giving_way = _giving_way(db, account_id, bounds)
        if giving_way is None:
            return
        db.execute(_OLDEST, (giving_way,))


def _giving_way(db: sqlite3.Connection, account_id: str, bounds: MemoryBounds) -> str | None:
    """Whose oldest entry must go; None where everything is within the bounds."""
    kept, size = db.execute(_KEPT, (account_id,)).fetchone() or (0, 0)
    if kept > bounds.most_entries or size > bounds.most_bytes:
        return account_id
    _, in_all = db.execute(_KEPT, ("",)).fetchone()
    if in_all <= bounds.most_bytes_in_all:
        return None
    largest: str = db.execute(_LARGEST).fetchone()[0]
    return largest


def _recall(
    db: sqlite3.Connection, account_id: str, keys: Sequence[bytes], now_ms: int, most_bytes: int
) -> list[MemoryEntry]:
    found: list[MemoryEntry] = []
    size = 0
    for key in reversed(keys):
        row = db.execute(_RECALL, (account_id, key, now_ms)).fetchone()
        if row is not None:
            size += len(row[1])
            if size > most_bytes:
                break
            found.append(MemoryEntry(key, *row))
    return found
