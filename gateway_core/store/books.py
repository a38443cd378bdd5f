"""The writer's side of the money: one transaction at a time posts calls and keeps every total that follows from them.

Rows of a batch are gathered and written together, before anything else reads or writes the database (`db`) and before
the commit. What is remembered between transactions is what this connection itself wrote last; a rollback forgets it.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from gateway_core.audit import link
from gateway_core.clock import month_bounds
from gateway_core.money import Units, usd
from gateway_core.store import connections
from gateway_core.store.inserts import Rows, inserting
from gateway_core.store.kinds import Kinds
from gateway_core.store.operator_log import write_entry
from gateway_core.store.rows import (
    HOUR_MS,
    INSERT_GENERATED,
    INSERT_LEDGER,
    SELECT_LEDGER,
    call_row,
    counted,
    ledger_row,
)
from gateway_core.store.totals import Head, Month, Totals
from gateway_core.store_ports import LogEntry
from gateway_core.types import AUDIT_THREAD, Record, Settled, Settlement

_NOTHING = Units(0)

_RECORD_COLUMNS = "account_id, sequence, id, created_at, model, body, hash"
_INSERT_RECORDS = inserting("records", _RECORD_COLUMNS, fixed={"thread": f"'{AUDIT_THREAD}'", "origin": "'ledger'"})
_APPEND_RECORD = f"INSERT INTO records ({_RECORD_COLUMNS}, thread, origin) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_HOURS = inserting("record_hours", "account_id, thread, hour, first", "ON CONFLICT DO NOTHING")
_INSERT_OPEN = inserting("open_calls", "id, boot_id, hold", "ON CONFLICT (id) DO NOTHING")
_DELETE_OPEN = Rows("DELETE FROM open_calls WHERE id IN (VALUES", "?", ")")
_RECORD = "r.thread, r.sequence, r.created_at, r.body, r.hash"
# A call's record is found by its ledger row, so that calls need no index of their own by id.
_SELECT_APPENDED = (
    f"SELECT {_RECORD} FROM records r WHERE r.account_id = ?1 AND r.id = ?2 AND r.origin <> 'ledger' "
    f"UNION ALL SELECT {_RECORD} FROM ledger l JOIN records r ON r.account_id = l.account_id "
    "AND r.sequence = l.sequence AND r.id = l.id WHERE l.id = ?2 AND l.account_id = ?1 LIMIT 1"
)


class SettledBefore(Exception):
    """A gathered row is there already. Nothing of the transaction stays; the next one looks before it writes."""


class Transaction:
    """The books of one store. Lives in the writer's thread; `begin` … `commit` or `rollback`."""

    def __init__(self, path: Path, now_ms: Callable[[], int]) -> None:
        self._path = path
        self._now_ms = now_ms
        self._db = connections.writing(path)
        self._closed = False
        self._totals = Totals(self._db)
        self._kinds = Kinds(self._db, self._totals)
        #: Whether a call is looked for before it is posted: after a transaction in which one was there already.
        self._careful = False
        # The values of gathered rows, one row behind another.
        self._calls: list[int | str] = []
        self._calls_apart: list[int | str] = []
        self._records: list[int | str | bytearray] = []
        self._hours: list[int | str] = []
        self._opened: list[str | bytearray] = []
        self._ended: list[str] = []

    # ------------------------------------------------------------ the transaction

    @property
    def db(self) -> sqlite3.Connection:
        """The connection, with everything in it that was gathered so far."""
        self._write_gathered()
        return self._db

    def begin(self) -> None:
        """Takes the write lock."""
        if self._closed:
            self.reopen()
        self._db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Writes what was gathered and the totals that changed, and makes all of it durable."""
        self._write_gathered()
        self._totals.write()
        if not self._db.in_transaction:  # an error has ended it, and `commit` would not say so
            raise sqlite3.OperationalError("nothing can be committed: the transaction is over")
        self._db.commit()
        self._careful = False
        if self._totals.full or self._kinds.full:  # a kind and its totals are forgotten together
            self._totals.forget()
            self._kinds.forget()

    def rollback(self) -> None:
        """Undoes the transaction and forgets what was remembered of the database."""
        self._careful = True
        self._totals.forget()
        self._kinds.forget()
        for gathered in (self._calls, self._calls_apart, self._records, self._hours, self._opened, self._ended):
            gathered.clear()
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def reopen(self) -> None:
        """A new connection. The readers' connections stay open meanwhile, so nothing replays the log."""
        self.close()
        self._db = connections.writing(self._path)
        self._totals.read_from(self._db)
        self._kinds.read_from(self._db)
        self._closed = False

    def close(self) -> None:
        """Closes the connection."""
        self._closed = True
        self._db.close()

    def _write_gathered(self) -> None:
        cursor = self._db.cursor()
        for statement, values in (
            (INSERT_LEDGER, self._calls),
            (INSERT_GENERATED, self._calls_apart),
            (_INSERT_RECORDS, self._records),
            (_INSERT_HOURS, self._hours),
            (_INSERT_OPEN, self._opened),
            (_DELETE_OPEN, self._ended),
        ):
            if not values:
                continue
            try:
                statement.write(cursor, values)
            except sqlite3.IntegrityError as error:
                if not self._careful and (values is self._calls or values is self._calls_apart):
                    raise SettledBefore from error
                raise
            values.clear()

    # ------------------------------------------------------------ what is remembered

    def settled_of(self, key: tuple[str, ...]) -> int:
        """What is settled of (account, month), of (account, bearer, month) or of (account, tier, day)."""
        if len(key[-1]) == len("2026-11-22"):
            return self._totals.settled_on(*key)
        if len(key) == len(("account", "month")):
            return self._totals.month(key[0], key[1]).settled
        return self._totals.settled_by(*key)

    def forget_account(self, account_id: str) -> None:
        """The account's own row or its subscription changed."""
        self._totals.forget_credit_due(account_id)

    # ------------------------------------------------------------ calls that are open

    def open_call(self, call_id: str, boot_id: str, hold: bytes) -> None:
        """Puts an open call on disk, its hold packed. One that is there stays as it is."""
        self._opened += (call_id, boot_id, bytearray(hold))

    def end_call(self, call_id: str) -> None:
        """Removes an open call, where it is on disk."""
        self._ended.append(call_id)

    # ------------------------------------------------------------ posting

    def post(self, settlement: Settlement) -> Settled:
        """Settles a call: its row, split, record and totals. What was settled before is returned, changing nothing."""
        hold, charge = settlement.hold, settlement.charge
        if self._careful and (before := self._posted(hold.id)):
            return before
        kind = self._kinds.of(settlement)
        place = kind.place
        month = place.month
        granted = month.credit_granted
        if not granted and month.credit_due != 0 and (granted := self._credit_due(month)):
            self._grant(month, granted, "system")
        credit_used, overage = _NOTHING, charge
        if granted > month.credit_used:
            credit_used = Units(min(charge, granted - month.credit_used))
            overage = Units(charge - credit_used)
        sequence = 0
        if settlement.billed_by == "gateway":  # else its record comes from there: one of ours would count it twice
            body = kind.form.body(settlement, credit_used, overage)
            record = self._chain(place.head, AUDIT_THREAD, hold.id, body, settlement.served_at, hold.model)
            self._records += record
            sequence = place.head.sequence
        row = ledger_row(settlement, kind.number, credit_used, sequence)
        generated = settlement.generated
        if generated is settlement.usage or generated == settlement.usage:
            self._calls += row
        else:
            self._calls_apart += row + counted(generated)
        month.calls += 1
        month.settled += charge
        month.credit_used += credit_used
        _roll_up(place.day.counts, settlement, credit_used, overage)
        return Settled(hold.id, charge, credit_used, overage, sequence)

    def _posted(self, call_id: str) -> Settled | None:
        row = self.db.execute(f"{SELECT_LEDGER} WHERE l.id = ?", (call_id,)).fetchone()
        return call_row(row).settled if row else None

    def grant(self, account_id: str, month: str, actor: str) -> None:
        """Grants a month its credit, where it has none and some is due. A month without credit stays without a row."""
        granted = self._totals.month(account_id, month)
        if not granted.credit_granted and (due := self._credit_due(granted)):
            self._grant(granted, due, actor)

    def _credit_due(self, month: Month) -> int:
        """What a month without credit is to be granted: nothing where a grant was made already."""
        if month.credit_due is None:
            month.credit_due = self._credit_of(*month.key)
        return month.credit_due

    def _credit_of(self, account_id: str, month: str) -> int:
        """The account's own credit, and that of the first subscription in the month that has any."""
        key = (account_id, month)
        if self._db.execute("SELECT 1 FROM credit_grants WHERE account_id = ? AND month = ?", key).fetchone():
            return 0
        own = self._db.execute("SELECT monthly_credit FROM accounts WHERE id = ?", (account_id,)).fetchone()
        begins, ends = month_bounds(month)
        included = self._db.execute(
            "SELECT credit FROM subscriptions WHERE account_id = ? AND credit > 0 AND started_at < ? "
            "AND (ends_at IS NULL OR ends_at > ? OR started_at >= ?) ORDER BY started_at, id LIMIT 1",
            (account_id, ends, begins, begins),
        ).fetchone()
        return sum(row[0] for row in (own, included) if row)

    def _grant(self, month: Month, amount: int, actor: str) -> None:
        now = self._now_ms()
        account_id, name = month.key
        self._db.execute("INSERT INTO credit_grants VALUES (?, ?, ?, ?)", (account_id, name, amount, now))
        month.credit_granted = amount
        self._totals.touched_months[month] = None
        detail = {"month": name, "credit_usd": usd(amount)}
        write_entry(self._db, LogEntry(now, actor, "credit.grant", account_id, detail))

    # ------------------------------------------------------------ records

    def _chain(
        self, head: Head, thread: str, record_id: str, body: bytearray, at: int, model: str | None
    ) -> tuple[Any, ...]:
        """The values of _RECORD_COLUMNS for the chain's next record. Whoever changes a head sees to it that it is
        written."""
        head.sequence = sequence = head.sequence + 1
        head.hash = hash_ = link(head.hash, sequence, record_id, body)
        hour = at // HOUR_MS
        if head.hours.get(thread) != hour:
            head.hours[thread] = hour
            self._hours += (head.account_id, thread, hour, sequence)
        return (head.account_id, sequence, record_id, at, model, body, bytearray(hash_))

    def append(
        self, account_id: str, thread: str, record_id: str, body: bytes, origin: str, model: str | None
    ) -> Record:
        """Chains a record that came from elsewhere; one with the same id is returned as it stands."""
        found = self.db.execute(_SELECT_APPENDED, (account_id, record_id)).fetchone()
        if found:
            there, sequence, at, stored, hash_ = found
            return Record(record_id, account_id, there, sequence, at, msgspec.Raw(stored), hash_.hex())
        now = self._now_ms()
        head = self._totals.head(account_id)
        record = self._chain(head, thread, record_id, bytearray(body), now, model)
        self._totals.touched_heads[head] = None
        self._db.execute(_APPEND_RECORD, (*record, thread, origin))
        return Record(record_id, account_id, thread, head.sequence, now, msgspec.Raw(body), head.hash.hex())


def _roll_up(counts: list[int], settlement: Settlement, credit_used: int, overage: int) -> None:
    """Adds a call to the values of its daily rollup: what most calls have none of is looked at, and not added."""
    usage = settlement.usage
    counts[0] += 1
    counts[1] += usage.input
    counts[2] += usage.output
    if usage.cached:
        counts[3] += usage.cached
    if usage.cache_write:
        counts[4] += usage.cache_write
    if usage.reasoning:
        counts[5] += usage.reasoning
    if usage.estimated:
        counts[6] += 1
    counts[7] += settlement.generated.output
    counts[8] += settlement.charge
    if credit_used:
        counts[9] += credit_used
    counts[10] += overage
    counts[11] += settlement.owed
    if settlement.loss:
        counts[12] += settlement.loss
