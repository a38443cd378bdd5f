"""The writer's side of the money: one transaction at a time posts calls and keeps every total that follows from them.

What is remembered between transactions (heads, totals, credit) is what this connection itself wrote last; a rollback
forgets all of it.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec

from gateway_core.audit import genesis, link, record_body
from gateway_core.clock import day_of, month_bounds
from gateway_core.money import Units, usd
from gateway_core.store import connections
from gateway_core.store.operator_log import write_entry
from gateway_core.store.rows import INSERT_LEDGER, SELECT_LEDGER, call_row, json_text, ledger_row
from gateway_core.store_ports import LogEntry
from gateway_core.types import AUDIT_THREAD, Rates, Record, Settled, Settlement

_REMEMBERED = 8192
"""Entries of one kind that are remembered between transactions."""

_DAY_MS = 86_400_000

_INSERT_RECORD = (
    "INSERT INTO records (account_id, sequence, thread, id, created_at, model, body, hash, origin) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPSERT_HEAD = (
    "INSERT INTO heads (account_id, sequence, hash) VALUES (?, ?, ?) "
    "ON CONFLICT (account_id) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash"
)
# Upserts, not REPLACE: that would remove the row first, and touch every index.
_UPSERT_MONTH = (
    "INSERT INTO account_months VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (account_id, month) DO UPDATE SET "
    "calls = excluded.calls, settled = excluded.settled, credit_granted = excluded.credit_granted, "
    "credit_used = excluded.credit_used"
)
_UPSERT_BEARER = (
    "INSERT INTO bearer_months VALUES (?, ?, ?, ?) "
    "ON CONFLICT (account_id, bearer_id, month) DO UPDATE SET settled = excluded.settled"
)
_COUNTS = (
    "calls, input, output, cached, cache_write, reasoning, estimated_calls, generated_output, charge, credit_used, "
    "overage, owed, loss"
)
_UPSERT_DAY = (
    f"INSERT INTO rollups_daily (account_id, day, bearer_id, model, tier, {_COUNTS}) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (account_id, day, bearer_id, model, tier) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in _COUNTS.split(", "))
)
_SELECT_DAY = (
    f"SELECT {_COUNTS} FROM rollups_daily WHERE account_id = ? AND day = ? AND bearer_id = ? AND model = ? AND tier = ?"
)


class Head:
    """The end of an account's chain."""

    __slots__ = ("hash", "sequence")

    def __init__(self, sequence: int, hash_: bytes) -> None:
        self.sequence = sequence
        self.hash = hash_


class Month:
    """An account's month."""

    __slots__ = ("calls", "credit_granted", "credit_used", "settled")

    def __init__(self, calls: int, settled: int, credit_granted: int, credit_used: int) -> None:
        self.calls = calls
        self.settled = settled
        self.credit_granted = credit_granted
        self.credit_used = credit_used


class Transaction:
    """The books of one store. Lives in the writer's thread; `begin` … `commit` or `rollback`."""

    def __init__(self, path: Path, now_ms: Callable[[], int]) -> None:
        self._path = path
        self._now_ms = now_ms
        self.db = connections.writing(path)
        self._closed = False
        self._day_number, self._day_text = 0, "1970-01-01"
        #: Account → month → the credit that is due to a month that has none yet.
        self._credits: dict[str, dict[str, int]] = {}
        self._heads: dict[str, Head] = {}
        self._months: dict[tuple[str, str], Month] = {}
        self._bearers: dict[tuple[str, str, str], int] = {}
        self._days: dict[tuple[str, str, str, str, str], list[int]] = {}
        self._rates: dict[Rates, int] = {}
        self._dirty_heads: set[str] = set()
        self._dirty_months: set[tuple[str, str]] = set()
        self._dirty_bearers: set[tuple[str, str, str]] = set()
        self._dirty_days: set[tuple[str, str, str, str, str]] = set()

    # ------------------------------------------------------------ the transaction

    def begin(self) -> None:
        """Takes the write lock."""
        if self._closed:
            self.reopen()
        self.db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Writes the totals that changed, and makes all of it durable."""
        self._write_totals()
        self.db.execute("COMMIT")
        for remembered in (self._credits, self._heads, self._months, self._bearers, self._days, self._rates):
            if len(remembered) > _REMEMBERED:
                remembered.clear()

    def rollback(self) -> None:
        """Undoes the transaction and forgets what was remembered of the database."""
        for remembered in (self._credits, self._heads, self._months, self._bearers, self._days, self._rates):
            remembered.clear()
        for dirty in (self._dirty_heads, self._dirty_months, self._dirty_bearers, self._dirty_days):
            dirty.clear()
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")

    def reopen(self) -> None:
        """A new connection. The readers' connections stay open meanwhile, so nothing replays the log."""
        self.close()
        self.db = connections.writing(self._path)
        self._closed = False

    def close(self) -> None:
        """Closes the connection."""
        self._closed = True
        self.db.close()

    def _write_totals(self) -> None:
        db = self.db
        if self._dirty_heads:
            heads = [(account, (head := self._heads[account]).sequence, head.hash) for account in self._dirty_heads]
            db.executemany(_UPSERT_HEAD, heads)
            self._dirty_heads.clear()
        if self._dirty_months:
            months = []
            for key in self._dirty_months:
                month = self._months[key]
                months.append((*key, month.calls, str(month.settled), month.credit_granted, month.credit_used))
            db.executemany(_UPSERT_MONTH, months)
            self._dirty_months.clear()
        if self._dirty_bearers:
            db.executemany(_UPSERT_BEARER, [(*key, str(self._bearers[key])) for key in self._dirty_bearers])
            self._dirty_bearers.clear()
        if self._dirty_days:
            days = []
            for day in self._dirty_days:
                counts = self._days[day]
                days.append((*day, *counts[:8], *map(str, counts[8:])))
            db.executemany(_UPSERT_DAY, days)
            self._dirty_days.clear()

    # ------------------------------------------------------------ what is remembered

    def month(self, account_id: str, month: str) -> Month:
        """The account's month as of this point in the transaction."""
        key = (account_id, month)
        found = self._months.get(key)
        if found is None:
            row = self.db.execute(
                "SELECT calls, settled, credit_granted, credit_used FROM account_months "
                "WHERE account_id = ? AND month = ?",
                key,
            ).fetchone()
            found = Month(row[0], int(row[1]), row[2], row[3]) if row else Month(0, 0, 0, 0)
            self._months[key] = found
        return found

    def bearer(self, account_id: str, bearer_id: str, month: str) -> int:
        """Units that a bearer has settled in a month."""
        key = (account_id, bearer_id, month)
        found = self._bearers.get(key)
        if found is None:
            row = self.db.execute(
                "SELECT settled FROM bearer_months WHERE account_id = ? AND bearer_id = ? AND month = ?", key
            ).fetchone()
            found = self._bearers[key] = int(row[0]) if row else 0
        return found

    def settled_of(self, key: tuple[str, ...]) -> int:
        """What is settled of (account, month), of (account, bearer, month) or of (account, tier, day)."""
        if len(key[-1]) == len("2026-11-22"):
            return self._settled_of_day(*key)
        if len(key) == len(("account", "month")):
            return self.month(key[0], key[1]).settled
        return self.bearer(key[0], key[1], key[2])

    def _settled_of_day(self, account_id: str, tier: str, day: str) -> int:
        self._write_totals()
        sql = "SELECT charge FROM rollups_daily WHERE account_id = ? AND day = ? AND tier = ?"
        return sum([int(charge) for (charge,) in self.db.execute(sql, (account_id, day, tier))])

    def head(self, account_id: str) -> Head:
        """The end of the account's chain."""
        found = self._heads.get(account_id)
        if found is None:
            row = self.db.execute("SELECT sequence, hash FROM heads WHERE account_id = ?", (account_id,)).fetchone()
            found = self._heads[account_id] = Head(*row) if row else Head(0, genesis(account_id))
        return found

    def forget_account(self, account_id: str) -> None:
        """The account's own row or its subscription changed."""
        self._credits.pop(account_id, None)

    def _rates_number(self, rates: Rates) -> int:
        found = self._rates.get(rates)
        if found is None:
            body = json_text(rates)
            self.db.execute("INSERT INTO rates (body) VALUES (?) ON CONFLICT (body) DO NOTHING", (body,))
            row: tuple[int] = self.db.execute("SELECT number FROM rates WHERE body = ?", (body,)).fetchone()
            found = self._rates[rates] = row[0]
        return found

    def _day(self, at_ms: int) -> str:
        number = at_ms // _DAY_MS
        if number != self._day_number:
            self._day_number, self._day_text = number, day_of(at_ms)
        return self._day_text

    # ------------------------------------------------------------ posting

    def post(self, settlement: Settlement) -> Settled:
        """Settles a call: its row, split, record and totals. What was settled before is returned, changing nothing."""
        hold, charge = settlement.hold, settlement.charge
        account_id = hold.account_id
        month = self.month(account_id, hold.month)
        granted = month.credit_granted or self._credit_due(account_id, hold.month)
        credit_used = min(charge, max(0, granted - month.credit_used))
        overage = charge - credit_used
        # Another instance bills it and sends the record: one of our own would count the call twice.
        recorded = settlement.billed_by == "gateway"
        sequence = self.head(account_id).sequence + 1 if recorded else 0
        row = ledger_row(settlement, credit_used, overage, self._rates_number(hold.rates), sequence)
        if not self.db.execute(INSERT_LEDGER, row).rowcount:
            return self._posted(hold.id)
        if granted and not month.credit_granted:
            self._grant(account_id, hold.month, granted, "system")
        if recorded:
            body = record_body(settlement, Units(credit_used), Units(overage))
            self._chain(account_id, AUDIT_THREAD, hold.id, body, settlement.served_at, hold.model, "ledger")
        month.calls += 1
        month.settled += charge
        month.credit_used += credit_used
        self._dirty_months.add((account_id, hold.month))
        bearer = (account_id, hold.bearer_id, hold.month)
        self._bearers[bearer] = self.bearer(*bearer) + charge
        self._dirty_bearers.add(bearer)
        self._roll_up(settlement, credit_used, overage)
        return Settled(hold.id, Units(charge), Units(credit_used), Units(overage), sequence)

    def _posted(self, call_id: str) -> Settled:
        row = self.db.execute(f"{SELECT_LEDGER} WHERE l.id = ?", (call_id,)).fetchone()
        return call_row(row).settled

    def grant(self, account_id: str, month: str, actor: str) -> None:
        """Grants a month its credit, where it has none and some is due. A month without credit stays without a row."""
        if not self.month(account_id, month).credit_granted and (due := self._credit_due(account_id, month)):
            self._grant(account_id, month, due, actor)

    def _credit_due(self, account_id: str, month: str) -> int:
        """What a month without credit would be granted: nothing where a grant was made already."""
        months = self._credits.setdefault(account_id, {})
        found = months.get(month)
        if found is None:
            found = months[month] = self._credit_of(account_id, month)
        return found

    def _credit_of(self, account_id: str, month: str) -> int:
        """The account's own credit, and that of the first subscription in the month that has any."""
        key = (account_id, month)
        if self.db.execute("SELECT 1 FROM credit_grants WHERE account_id = ? AND month = ?", key).fetchone():
            return 0
        own = self.db.execute("SELECT monthly_credit FROM accounts WHERE id = ?", (account_id,)).fetchone()
        begins, ends = month_bounds(month)
        included = self.db.execute(
            "SELECT credit FROM subscriptions WHERE account_id = ? AND credit > 0 AND started_at < ? "
            "AND (ends_at IS NULL OR ends_at > ? OR started_at >= ?) ORDER BY started_at, id LIMIT 1",
            (account_id, ends, begins, begins),
        ).fetchone()
        return sum(row[0] for row in (own, included) if row)

    def _grant(self, account_id: str, month: str, amount: int, actor: str) -> None:
        now = self._now_ms()
        self.db.execute("INSERT INTO credit_grants VALUES (?, ?, ?, ?)", (account_id, month, amount, now))
        self.month(account_id, month).credit_granted = amount
        self._dirty_months.add((account_id, month))
        detail = {"month": month, "credit_usd": usd(amount)}
        write_entry(self.db, LogEntry(now, actor, "credit.grant", account_id, detail))

    def _roll_up(self, settlement: Settlement, credit_used: int, overage: int) -> None:
        hold, usage = settlement.hold, settlement.usage
        key = (hold.account_id, self._day(hold.started_at), hold.bearer_id, hold.model, hold.tier)
        counts = self._days.get(key)
        if counts is None:
            row = self.db.execute(_SELECT_DAY, key).fetchone()
            counts = self._days[key] = [int(cell) for cell in row] if row else [0] * 13
        counts[0] += 1
        counts[1] += usage.input
        counts[2] += usage.output
        counts[3] += usage.cached
        counts[4] += usage.cache_write
        counts[5] += usage.reasoning
        counts[6] += usage.estimated
        counts[7] += settlement.generated.output
        counts[8] += settlement.charge
        counts[9] += credit_used
        counts[10] += overage
        counts[11] += settlement.owed
        counts[12] += settlement.loss
        self._dirty_days.add(key)

    # ------------------------------------------------------------ records

    def _chain(
        self, account_id: str, thread: str, record_id: str, body: bytes, at: int, model: str | None, origin: str
    ) -> Head:
        head = self.head(account_id)
        sequence = head.sequence + 1
        hash_ = link(head.hash, sequence, record_id, body)
        self.db.execute(_INSERT_RECORD, (account_id, sequence, thread, record_id, at, model, body, hash_, origin))
        head.sequence, head.hash = sequence, hash_
        self._dirty_heads.add(account_id)
        return head

    def append(
        self, account_id: str, thread: str, record_id: str, body: bytes, origin: str, model: str | None
    ) -> Record:
        """Chains a record that came from elsewhere; one with the same id is returned as it stands."""
        found = self.db.execute(
            "SELECT thread, sequence, created_at, body, hash FROM records WHERE account_id = ? AND id = ?",
            (account_id, record_id),
        ).fetchone()
        if found:
            there, sequence, at, stored, hash_ = found
            return Record(record_id, account_id, there, sequence, at, msgspec.Raw(stored), hash_.hex())
        now = self._now_ms()
        head = self._chain(account_id, thread, record_id, body, now, model, origin)
        return Record(record_id, account_id, thread, head.sequence, now, msgspec.Raw(body), head.hash.hex())
