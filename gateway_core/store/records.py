"""Threads of chained records and the sinks' cursors: `ports.Records` on SQLite."""

import sqlite3
from typing import Any

import msgspec

from gateway_core.audit import genesis
from gateway_core.errors import InvalidRequest
from gateway_core.store.books import Transaction
from gateway_core.store.committer import Committer
from gateway_core.store.directory import write
from gateway_core.store.readers import Readers
from gateway_core.store.record_search import search_records
from gateway_core.store.rows import HOUR_MS, RECORD_COLUMNS, to_record
from gateway_core.store_ports import Behind, ChainEnds, RecordQuery, RecordSearch, RecordsFound, SinkFailure
from gateway_core.types import Record


class _Body(msgspec.Struct):
    """What is read of a body that came from elsewhere."""

    model: str | None = None


_decode_body = msgspec.json.Decoder(_Body).decode


class SqliteRecords:
    """The records of one store that is open."""

    def __init__(self, committer: Committer, readers: Readers) -> None:
        self._committer = committer
        self._readers = readers

    async def read(self, query: RecordQuery) -> list[Record]:
        """At most `query.limit` records after `query.after`, in order."""
        return await self._readers.run(_read, query)

    async def append(self, account_id: str, thread: str, record_id: str, body: bytes, origin: str) -> Record:
        """Stores a record sent from elsewhere; a record id that is there already is returned as it stands."""
        try:
            model = _decode_body(body).model
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"A record's body is a JSON object: {error}", param="body") from error

        def change(books: Transaction) -> Record:
            return books.append(account_id, thread, record_id, body, origin, model)

        stored: Record = await write(self._committer, change)
        return stored

    async def head(self, account_id: str) -> tuple[int, str]:
        """The chain's last sequence and hash; 0 and the genesis hash where there is no record."""
        return await self._readers.run(_head, account_id)

    async def cursor(self, sink: str, account_id: str) -> int:
        """The last sequence that a sink has taken."""
        return await self._readers.run(_cursor, sink, account_id)

    async def advance(self, sink: str, account_id: str, sequence: int) -> None:
        """Moves a sink's cursor, never backwards, and forgets its failures."""

        def change(books: Transaction) -> None:
            books.db.execute(
                "INSERT INTO outbox (sink, account_id, sequence) VALUES (?, ?, ?) ON CONFLICT (sink, account_id) "
                "DO UPDATE SET sequence = excluded.sequence, attempts = 0, next_attempt_at = NULL, last_error = NULL "
                "WHERE excluded.sequence > sequence",
                (sink, account_id, sequence),
            )

        await write(self._committer, change)

    async def postpone(self, sink: str, account_id: str, failure: SinkFailure) -> None:
        """Notes that a sink did not take an account's next record."""

        def change(books: Transaction) -> None:
            books.db.execute(
                "INSERT INTO outbox (sink, account_id, sequence, attempts, next_attempt_at, last_error) "
                "VALUES (?, ?, 0, ?, ?, ?) ON CONFLICT (sink, account_id) DO UPDATE SET attempts = excluded.attempts, "
                "next_attempt_at = excluded.next_attempt_at, last_error = excluded.last_error",
                (sink, account_id, failure.attempts, failure.next_attempt_at, failure.reason),
            )

        await write(self._committer, change)

    async def behind(self, sink: str, *, after: str = "", limit: int = -1) -> list[Behind]:
        """Accounts with records that a sink has not taken, by id, those after `after`; all where negative."""
        return await self._readers.run(_behind, sink, after, limit)

    async def ends(self, account_id: str) -> ChainEnds:
        """Where the account's chain begins by now, and where it ends."""
        return await self._readers.run(_ends, account_id)

    async def search(self, search: RecordSearch) -> RecordsFound:
        """Records of calls that meet every condition."""
        return await self._readers.run(search_records, search)


def _read(db: sqlite3.Connection, query: RecordQuery) -> list[Record]:
    sql = [f"SELECT {RECORD_COLUMNS} FROM records WHERE account_id = ? AND sequence > ?"]
    values: list[Any] = [query.account_id, query.after]
    for condition, value in (
        ("thread = ?", query.thread),
        ("created_at >= ?", query.since),
        ("created_at < ?", query.until),
        ("model = ?", query.model),
    ):
        if value is not None:
            sql.append(f"AND {condition}")
            values.append(value)
    if query.since is not None and query.thread is not None:
        # Its hours say where to begin, so that the last day of a long thread does not read all of it.
        sql.append(
            "AND sequence >= (SELECT min(first) FROM record_hours WHERE account_id = ? AND thread = ? AND hour >= ?)"
        )
        values += [query.account_id, query.thread, query.since // HOUR_MS]
    sql.append("ORDER BY sequence LIMIT ?")
    values.append(query.limit)
    return [to_record(row) for row in db.execute(" ".join(sql), values)]


def _head(db: sqlite3.Connection, account_id: str) -> tuple[int, str]:
    row = db.execute("SELECT sequence, hash FROM heads WHERE account_id = ?", (account_id,)).fetchone()
    return (row[0], row[1].hex()) if row else (0, genesis(account_id).hex())


def _cursor(db: sqlite3.Connection, sink: str, account_id: str) -> int:
    row = db.execute("SELECT sequence FROM outbox WHERE sink = ? AND account_id = ?", (sink, account_id)).fetchone()
    return row[0] if row else 0


_BEHIND = """
SELECT h.account_id, h.sequence - taken, created_at, attempts, coalesce(last_error, ''), coalesce(next_attempt_at, 0)
FROM (
    SELECT h.account_id, h.sequence, max(coalesce(o.sequence, 0), h.pruned_sequence) AS taken,
        coalesce(o.attempts, 0) AS attempts, o.last_error, o.next_attempt_at
    FROM heads h LEFT JOIN outbox o ON o.sink = ? AND o.account_id = h.account_id
    WHERE h.account_id > ?
) h JOIN records r ON r.account_id = h.account_id AND r.sequence = taken + 1
ORDER BY h.account_id LIMIT ?
"""


def _behind(db: sqlite3.Connection, sink: str, after: str, limit: int) -> list[Behind]:
    return [
        Behind(account, records, oldest, SinkFailure(attempts, error, next_at) if attempts else None)
        for account, records, oldest, attempts, error, next_at in db.execute(_BEHIND, (sink, after, limit))
    ]


def _ends(db: sqlite3.Connection, account_id: str) -> ChainEnds:
    first = genesis(account_id)
    row = db.execute(
        "SELECT sequence, hash, pruned_sequence, pruned_hash FROM heads WHERE account_id = ?", (account_id,)
    ).fetchone()
    sequence, hash_, pruned, pruned_hash = row or (0, first, 0, None)
    return ChainEnds(sequence, hash_.hex(), pruned, (pruned_hash or first).hex())
