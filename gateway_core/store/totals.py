"""The totals that follow from posted calls: heads, months and days, remembered as this connection wrote them last.

They change in memory while a transaction is built and are written once at its end, however many calls it posts.
"""

import sqlite3
from typing import Any

from gateway_core.audit import genesis
from gateway_core.store.inserts import inserting

_REMEMBERED = 8192
"""Entries of one kind that are remembered between transactions."""

_HEAD = "account_id, sequence, hash"
_MONTH = "account_id, month, calls, settled, credit_granted, credit_used"
_COUNTS = (
    "calls, input, output, cached, cache_write, reasoning, estimated_calls, generated_output, charge, credit_used, "
    "overage, owed, loss"
)
_AMOUNTS = 8
"""Where the amounts begin among _COUNTS: sums of them may pass 64 bits, so they are text."""
_DAY = f"account_id, day, bearer_id, model, tier, {_COUNTS}"


def _replacing(columns: str, keys: int) -> str:
    """What an upsert does to the columns behind its key. REPLACE would remove the row first, and touch every index."""
    names = columns.split(", ")
    changed = ", ".join(f"{name} = excluded.{name}" for name in names[keys:])
    return f"ON CONFLICT ({', '.join(names[:keys])}) DO UPDATE SET {changed}"


_UPSERT_HEADS = inserting("heads", _HEAD, _replacing(_HEAD, 1))
_UPSERT_MONTHS = inserting("account_months", _MONTH, _replacing(_MONTH, 2))
_UPSERT_DAYS = inserting("rollups_daily", _DAY, _replacing(_DAY, 5))
_SELECT_DAY = (
    f"SELECT {_COUNTS} FROM rollups_daily WHERE account_id = ? AND day = ? AND bearer_id = ? AND model = ? AND tier = ?"
)


class Head:
    """The end of an account's chain. `hours`: thread → the hour that its last record was made in."""

    __slots__ = ("account_id", "hash", "hours", "sequence")

    def __init__(self, account_id: str, sequence: int, hash_: bytes) -> None:
        self.account_id = account_id
        self.sequence = sequence
        self.hash = hash_
        self.hours: dict[str, int] = {}


class Month:
    """An account's month."""

    __slots__ = ("calls", "credit_due", "credit_granted", "credit_used", "key", "settled")

    def __init__(
        self, key: tuple[str, str], calls: int = 0, settled: int = 0, credit_granted: int = 0, credit_used: int = 0
    ) -> None:
        self.key = key
        self.calls = calls
        self.settled = settled
        self.credit_granted = credit_granted
        self.credit_used = credit_used
        #: What it is to be granted, where it has no credit; None where nobody has looked.
        self.credit_due: int | None = None


class Day:
    """One daily rollup: the values of _COUNTS."""

    __slots__ = ("counts", "key")

    def __init__(self, key: tuple[str, str, str, str, str], counts: list[int]) -> None:
        self.key = key
        self.counts = counts


class Place:
    """Where calls alike are added up: of one bearer, month, day, model and tier."""

    __slots__ = ("day", "head", "month")

    def __init__(self, head: Head, month: Month, day: Day) -> None:
        self.head = head
        self.month = month
        self.day = day


class Totals:
    """All that is remembered. Whoever changes an entry names it, or its place, in what is `touched`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._heads: dict[str, Head] = {}
        self._months: dict[tuple[str, str], Month] = {}
        self._days: dict[tuple[str, str, str, str, str], Day] = {}
        #: To be written: what was changed by itself, and places of which everything was.
        self.touched_heads: dict[Head, None] = {}
        self.touched_months: dict[Month, None] = {}
        self.touched_places: dict[Place, None] = {}

    def read_from(self, db: sqlite3.Connection) -> None:
        """Another connection; nothing of the one before is believed."""
        self._db = db
        self.forget()

    def forget(self) -> None:
        """Forgets everything, also what was not written yet."""
        for remembered in (self._heads, self._months, self._days):
            remembered.clear()
        for touched in (self.touched_heads, self.touched_months, self.touched_places):
            touched.clear()

    def forget_credit_due(self, account_id: str) -> None:
        """Forgets what the account's months are to be granted."""
        for month in self._months.values():
            if month.key[0] == account_id:
                month.credit_due = None

    @property
    def full(self) -> bool:
        """Whether more is remembered than should be."""
        return max(len(self._days), len(self._months), len(self._heads)) > _REMEMBERED

    def write(self) -> None:
        """Writes what was changed."""
        cursor = self._db.cursor()  # one for all of them: `execute` of a connection makes one each time
        heads, months = self.touched_heads, self.touched_months
        days: dict[Day, None] = {}
        for place in self.touched_places:
            heads[place.head] = months[place.month] = days[place.day] = None
        self.touched_places.clear()
        values: list[Any] = []
        for head in heads:
            if head.sequence:
                values += (head.account_id, head.sequence, bytearray(head.hash))
        _UPSERT_HEADS.write(cursor, values)
        values = []
        for month in months:
            values += (*month.key, month.calls, str(month.settled), month.credit_granted, month.credit_used)
        _UPSERT_MONTHS.write(cursor, values)
        values = []
        for day in days:
            values += day.key
            values += day.counts[:_AMOUNTS]
            values += map(str, day.counts[_AMOUNTS:])
        _UPSERT_DAYS.write(cursor, values)
        heads.clear()
        months.clear()

    # ------------------------------------------------------------ what is remembered

    def place(self, account_id: str, bearer_id: str, month: str, day: str, model: str, tier: str) -> Place:
        """Where such a call is added up."""
        return Place(
            self.head(account_id),
            self.month(account_id, month),
            self._day((account_id, day, bearer_id, model, tier)),
        )

    def head(self, account_id: str) -> Head:
        """The end of the account's chain."""
        found = self._heads.get(account_id)
        if found is None:
            row = self._db.execute("SELECT sequence, hash FROM heads WHERE account_id = ?", (account_id,)).fetchone()
            found = self._heads[account_id] = Head(account_id, *(row or (0, genesis(account_id))))
        return found

    def month(self, account_id: str, month: str) -> Month:
        """The account's month as of this point in the transaction."""
        key = (account_id, month)
        found = self._months.get(key)
        if found is None:
            row = self._db.execute(
                "SELECT calls, settled, credit_granted, credit_used FROM account_months "
                "WHERE account_id = ? AND month = ?",
                key,
            ).fetchone()
            found = self._months[key] = Month(key, row[0], int(row[1]), row[2], row[3]) if row else Month(key)
        return found

    def _day(self, key: tuple[str, str, str, str, str]) -> Day:
        found = self._days.get(key)
        if found is None:
            row = self._db.execute(_SELECT_DAY, key).fetchone()
            found = self._days[key] = Day(key, [int(cell) for cell in row] if row else [0] * len(_COUNTS.split(", ")))
        return found

    def settled_by(self, account_id: str, bearer_id: str, month: str) -> int:
        """Units that a bearer's calls were charged in a month, this transaction's included."""
        days = [f"{month}-{day:02}" for day in range(1, 32)]  # each of them is looked up: the others' rows are not read
        return self._charged(f"day IN ({', '.join('?' * len(days))}) AND bearer_id = ?", account_id, *days, bearer_id)

    def settled_on(self, account_id: str, tier: str, day: str) -> int:
        """Units that an account's calls of a tier were charged on a day, this transaction's included."""
        return self._charged("day = ? AND tier = ?", account_id, day, tier)

    def _charged(self, where: str, *values: str) -> int:
        self.write()
        sql = f"SELECT charge FROM rollups_daily WHERE account_id = ? AND {where}"  # a constant of this module
        return sum([int(charge) for (charge,) in self._db.execute(sql, values)])
