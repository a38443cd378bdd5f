"""Searching a thread of calls, a bounded stretch of the chain at a time.

There is no index for it, since each call would pay for one. A stretch is a range of the records' primary key, and days
are found through the hours. What a body says is compared by SQLite itself, so nothing but what was found is decoded.
"""

import sqlite3
from typing import Any

from gateway_core.store.rows import HOUR_MS, RECORD_COLUMNS, to_record
from gateway_core.store_ports import RecordSearch, RecordsFound
from gateway_core.types import AUDIT_THREAD

_FIRST_FROM = "SELECT min(first) FROM record_hours WHERE account_id = ? AND thread = ? AND hour >= ?"
_ENDS = "SELECT pruned_sequence, sequence FROM heads WHERE account_id = ?"
_BODY = "json_extract(CAST(body AS TEXT), '$.{}')"


def search_records(db: sqlite3.Connection, search: RecordSearch) -> RecordsFound:
    """One page: what is found in the next `most` records of the range."""
    low, high = _range(db, search)
    if search.beyond is not None:
        low, high = (max(low, search.beyond + 1), high) if search.oldest_first else (low, min(high, search.beyond - 1))
    if low > high:
        return RecordsFound([], None)
    if search.oldest_first:
        first, last = low, min(high, low + search.most - 1)
    else:
        first, last = max(low, high - search.most + 1), high
    sql, values = select(search, first, last)
    found = [to_record(row) for row in db.execute(sql, values)]
    if len(found) > search.limit:
        del found[search.limit :]
        return RecordsFound(found, found[-1].sequence)
    end = last if search.oldest_first else first
    return RecordsFound(found, None if end == (high if search.oldest_first else low) else end)


def select(search: RecordSearch, first: int, last: int) -> tuple[str, list[Any]]:
    """The statement for one stretch, and its values: one row more than the page has."""
    sql = [f"SELECT {RECORD_COLUMNS} FROM records WHERE account_id = ? AND sequence BETWEEN ? AND ? AND thread = ?"]
    values: list[Any] = [search.account_id, first, last, AUDIT_THREAD]
    for condition, value in (
        ("created_at >= ?", search.since),
        ("created_at < ?", search.until),
        ("model = ?", search.model),
        (f"{_BODY.format('key_id')} = ?", search.key),
        (f"{_BODY.format('outcome')} = ?", search.outcome),
        (f"coalesce({_BODY.format('stream_state')}, 'plain') = ?", search.stream_state),
    ):
        if value is not None:
            sql.append(f"AND {condition}")
            values.append(value)
    sql.append(f"ORDER BY sequence {'' if search.oldest_first else 'DESC'} LIMIT ?")
    return " ".join(sql), [*values, search.limit + 1]


def _range(db: sqlite3.Connection, search: RecordSearch) -> tuple[int, int]:
    """The sequences that the days can be among. A clock that was set back hides what it makes a second time of an hour
    from who asks for days before it."""
    pruned, high = db.execute(_ENDS, (search.account_id,)).fetchone() or (0, 0)
    low = pruned + 1
    if search.since is not None:
        begins = _first_from(db, search.account_id, search.since // HOUR_MS)
        low = high + 1 if begins is None else max(low, begins)
    if search.until is not None:
        ends = _first_from(db, search.account_id, -(-search.until // HOUR_MS))
        high = high if ends is None else min(high, ends - 1)
    return low, high


def _first_from(db: sqlite3.Connection, account_id: str, hour: int) -> int | None:
    found: int | None = db.execute(_FIRST_FROM, (account_id, AUDIT_THREAD, hour)).fetchone()[0]
    return found
