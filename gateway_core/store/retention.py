"""What is kept no longer: `ports.Retention` on SQLite, each step a small write of its own."""

import sqlite3

from gateway_core.clock import day_of
from gateway_core.store.books import Transaction
from gateway_core.store.committer import Committer
from gateway_core.store.directory import write
from gateway_core.store.readers import Readers
from gateway_core.store_ports import DAY_KEY, Expiring

_EXPIRED = {
    "operator_log": "DELETE FROM operator_log WHERE number IN "
    "(SELECT number FROM operator_log WHERE at < ? ORDER BY number LIMIT ?)",
    "memories": "DELETE FROM memories WHERE rowid IN "
    "(SELECT rowid FROM memories WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
    "revoked_jtis": "DELETE FROM revoked_jtis WHERE (issuer, jti) IN "
    "(SELECT issuer, jti FROM revoked_jtis WHERE expires_at < ? LIMIT ?)",
}
_OLD_ACCOUNTS = """
SELECT h.account_id FROM heads h JOIN records r ON r.account_id = h.account_id AND r.sequence = h.pruned_sequence + 1
WHERE h.account_id > ? AND r.created_at < ? ORDER BY h.account_id LIMIT ?
"""
# An hour goes when a later one begins no later than what is left: every record that is left is then found from there.
_PASSED_HOURS = """
DELETE FROM record_hours AS past WHERE account_id = ?1 AND first <= ?2 AND EXISTS (
    SELECT 1 FROM record_hours later WHERE later.account_id = ?1 AND later.thread = past.thread
    AND later.hour > past.hour AND later.first <= ?2 + 1
)
"""


class SqliteRetention:
    """The removals of one store that is open."""

    def __init__(self, committer: Committer, readers: Readers) -> None:
        self._committer = committer
        self._readers = readers

    async def accounts(self, before: int, *, after: str = "", limit: int = 100) -> list[str]:
        """Accounts whose oldest record was made before then, by id, those after `after`."""
        return await self._readers.run(_accounts, before, after, limit)

    async def prune_records(self, account_id: str, before: int, upto: int | None, limit: int) -> int:
        """Removes records from the beginning of a chain, which is then verified from where it begins."""

        def change(books: Transaction) -> int:
            return _prune_records(books.db, account_id, before, upto, limit)

        removed: int = await write(self._committer, change)
        return removed

    async def prune(self, what: Expiring, before: int, limit: int) -> int:
        """Removes rows of another kind that are older than `before`."""

        def change(books: Transaction) -> int:
            if what == "day_keys":
                return _prune_day_keys(books.db, before, limit)
            return books.db.execute(_EXPIRED[what], (before, limit)).rowcount

        removed: int = await write(self._committer, change)
        return removed


def _accounts(db: sqlite3.Connection, before: int, after: str, limit: int) -> list[str]:
    return [row[0] for row in db.execute(_OLD_ACCOUNTS, (after, before, limit))]


def _prune_records(db: sqlite3.Connection, account_id: str, before: int, upto: int | None, limit: int) -> int:
    head = db.execute("SELECT pruned_sequence FROM heads WHERE account_id = ?", (account_id,)).fetchone()
    if head is None:
        return 0
    removed, last = 0, None
    sql = "SELECT sequence, created_at, hash FROM records WHERE account_id = ? AND sequence > ? ORDER BY 1 LIMIT ?"
    for sequence, created_at, hash_ in db.execute(sql, (account_id, head[0], limit)):
        # A chain loses only its beginning, whatever a clock that was set has made of the records' times.
        if created_at >= before or (upto is not None and sequence > upto):
            break
        removed, last = removed + 1, (sequence, hash_)
    if last is not None:
        db.execute("UPDATE heads SET pruned_sequence = ?, pruned_hash = ? WHERE account_id = ?", (*last, account_id))
        db.execute("DELETE FROM records WHERE account_id = ? AND sequence <= ?", (account_id, last[0]))
        db.execute(_PASSED_HOURS, (account_id, last[0]))
    return removed


def _prune_day_keys(db: sqlite3.Connection, before: int, limit: int) -> int:
    first, end = f"{DAY_KEY} ", f"{DAY_KEY} {day_of(before)}"
    return db.execute(
        "DELETE FROM state WHERE name IN (SELECT name FROM state WHERE name >= ? AND name < ? LIMIT ?)",
        (first, end, limit),
    ).rowcount
