"""Recomputes everything that is derived from the ledger's rows, and names each difference."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from gateway_core.audit import genesis, link, record_body
from gateway_core.clock import day_of, month_of
from gateway_core.money import Units
from gateway_core.store import reconcile_bills
from gateway_core.store.reconcile_bills import Lines
from gateway_core.store.rows import HOUR_MS, SELECT_LEDGER, call_row
from gateway_core.store_ports import CallRow, Finding

_DAY_COLUMNS = (
    "calls, input, output, cached, cache_write, reasoning, estimated_calls, generated_output, charge, credit_used, "
    "overage, owed, loss"
)
_DAY_NAMES = tuple(_DAY_COLUMNS.split(", "))

Table = dict[tuple[Any, ...], dict[str, int]]
"""Rows of one derived table by their key: column → value."""


def reconcile(db: sqlite3.Connection) -> list[Finding]:
    """Every difference, on one snapshot; empty means that all agree."""
    db.execute("BEGIN")
    try:
        lines = Lines()
        months, days, findings = _from_ledger(db, lines)
        for account, month in db.execute("SELECT account_id, month FROM credit_grants"):
            # A month may have its credit before its first call.
            months.setdefault((account, month), {"calls": 0, "settled": 0, "credit_used": 0})
        findings += _compare("account_months", months, _months(db))
        findings += _compare("rollups_daily", days, _days(db))
        findings += _grants(db, months)
        pruned = dict(db.execute("SELECT account_id, pruned_sequence FROM heads").fetchall())
        findings += _records(db)
        findings += _records_of_calls(db, pruned, lines)
        findings += _hours(db)
        findings += lines.findings(db)
        findings += reconcile_bills.adjustments(db, pruned)
        findings += reconcile_bills.subscriptions(db)
        findings += _still_open(db)
    finally:
        db.execute("ROLLBACK")
    return findings


def _from_ledger(db: sqlite3.Connection, lines: Lines) -> tuple[Table, Table, list[Finding]]:
    months: Table = defaultdict(lambda: {"calls": 0, "settled": 0, "credit_used": 0})
    days: Table = defaultdict(lambda: dict.fromkeys(_DAY_NAMES, 0))
    findings: list[Finding] = []
    for row in db.execute(SELECT_LEDGER):
        call = call_row(row)
        settlement, settled = call.settlement, call.settled
        hold = settlement.hold
        findings += _row_itself(call)
        month = months[hold.account_id, hold.month]
        month["calls"] += 1
        month["settled"] += settlement.charge
        month["credit_used"] += settled.credit_used
        lines.ledger[hold.account_id, hold.month, hold.model] += settlement.charge
        day = days[hold.account_id, day_of(hold.started_at), hold.bearer_id, hold.model, hold.tier]
        usage = settlement.usage
        for name, value in zip(
            _DAY_NAMES,
            (
                1,
                usage.input,
                usage.output,
                usage.cached,
                usage.cache_write,
                usage.reasoning,
                int(usage.estimated),
                settlement.generated.output,
                settlement.charge,
                settled.credit_used,
                settled.overage,
                settlement.owed,
                settlement.loss,
            ),
            strict=True,
        ):
            day[name] += value
    return months, days, findings


def _row_itself(call: CallRow) -> Iterator[Finding]:
    settlement, settled = call.settlement, call.settled
    where = f"ledger {settled.id}"
    if settled.credit_used + settled.overage != settlement.charge:
        split = f"{settled.credit_used} + {settled.overage}"
        yield Finding(where, "credit and overage add up to the charge", str(settlement.charge), split)
    if not 0 <= settlement.charge <= settlement.hold.amount:
        yield Finding(where, "the charge is within the hold", f"0 to {settlement.hold.amount}", str(settlement.charge))
    if settlement.hold.month != month_of(settlement.hold.started_at):
        yield Finding(
            where, "the month is the one it began in", month_of(settlement.hold.started_at), settlement.hold.month
        )


def _months(db: sqlite3.Connection) -> Table:
    rows = db.execute("SELECT account_id, month, calls, settled, credit_used FROM account_months")
    return {
        (a, m): {"calls": calls, "settled": int(settled), "credit_used": used} for a, m, calls, settled, used in rows
    }


def _days(db: sqlite3.Connection) -> Table:
    rows = db.execute(f"SELECT account_id, day, bearer_id, model, tier, {_DAY_COLUMNS} FROM rollups_daily")
    return {row[:5]: dict(zip(_DAY_NAMES, map(int, row[5:]), strict=True)) for row in rows}


def _compare(table: str, expected: Table, found: Table) -> Iterator[Finding]:
    for key in sorted(expected.keys() | found.keys()):
        where = f"{table} {' '.join(key)}"
        if key not in found:
            yield Finding(where, "the row is there", str(expected[key]), "nothing")
            continue
        if key not in expected:
            yield Finding(where, "the ledger has calls for it", "nothing", str(found[key]))
            continue
        for name, value in expected[key].items():
            if found[key][name] != value:
                yield Finding(where, f"{name} is the ledger's sum", str(value), str(found[key][name]))


def _grants(db: sqlite3.Connection, months: Table) -> Iterator[Finding]:
    """Credit: granted once, and used before any overage, in the ledger's order."""
    granted = {(a, m): amount for a, m, amount in db.execute("SELECT account_id, month, amount FROM credit_grants")}
    for account, month, amount in db.execute("SELECT account_id, month, credit_granted FROM account_months"):
        made = granted.get((account, month), 0)
        if amount != made:
            where = f"account_months {account} {month}"
            yield Finding(where, "credit_granted is the grant that was made", str(made), str(amount))
    for (account, month), totals in months.items():
        most = min(granted.get((account, month), 0), totals["settled"])
        if totals["credit_used"] > most:
            where = f"ledger {account} {month}"
            yield Finding(
                where, "no more credit is used than was granted", f"at most {most}", str(totals["credit_used"])
            )


def _records(db: sqlite3.Connection) -> Iterator[Finding]:
    """Each chain from its beginning."""
    heads = {
        account: (sequence, hash_, pruned, pruned_hash)
        for account, sequence, hash_, pruned, pruned_hash in db.execute(
            "SELECT account_id, sequence, hash, pruned_sequence, pruned_hash FROM heads"
        )
    }
    ends: dict[str, tuple[int, bytes]] = {
        account: (pruned, pruned_hash or genesis(account)) for account, (_, _, pruned, pruned_hash) in heads.items()
    }
    for account, sequence, record_id, body, hash_ in db.execute(
        "SELECT account_id, sequence, id, body, hash FROM records ORDER BY account_id, sequence"
    ):
        where = f"records {account} {sequence}"
        last, previous = ends.get(account, (0, genesis(account)))
        if sequence != last + 1:
            yield Finding(where, "no record is missing before it", str(last + 1), str(sequence))
        elif link(previous, sequence, record_id, body) != hash_:
            yield Finding(where, "its hash follows from its content", link(previous, sequence, record_id, body).hex(),
                          hash_.hex())  # fmt: skip
        ends[account] = (sequence, hash_)
    for account, end in sorted(ends.items()):
        head = heads.get(account)
        if head is None or (head[0], head[1]) != end:
            shown = "nothing" if head is None else f"{head[0]} {head[1].hex()}"
            yield Finding(f"heads {account}", "it is the last record's", f"{end[0]} {end[1].hex()}", shown)


def _records_of_calls(db: sqlite3.Connection, pruned: dict[str, int], lines: Lines) -> Iterator[Finding]:
    """Each call's one record."""
    sql = SELECT_LEDGER.replace(
        " FROM ledger l",
        ", c.id, c.body FROM ledger l LEFT JOIN records c ON c.account_id = l.account_id AND c.sequence = l.sequence",
    )
    for *row, record_id, body in db.execute(sql):
        call = call_row(tuple(row))
        settled, account = call.settled, call.settlement.hold.account_id
        if not settled.sequence or settled.sequence <= pruned.get(account, 0):
            continue
        hold = call.settlement.hold
        lines.note_record((account, hold.month, hold.model), settled.charge, body)
        expected = record_body(call.settlement, Units(settled.credit_used), Units(settled.overage))
        where = f"ledger {settled.id}"
        if body is None:
            yield Finding(where, "it has its record", f"sequence {settled.sequence}", "nothing")
        elif record_id != settled.id:
            yield Finding(where, "its record is in its place", settled.id, record_id)
        elif bytes(body) != expected:
            yield Finding(
                where, "its record says what the row says", expected.decode(), bytes(body).decode("utf-8", "replace")
            )
    for account, record_id in db.execute(
        "SELECT account_id, id FROM records c "
        "WHERE origin = 'ledger' AND NOT EXISTS (SELECT 1 FROM ledger l WHERE l.id = c.id)"
    ):
        yield Finding(f"records {account} {record_id}", "the call is on the ledger", record_id, "nothing")


def _hours(db: sqlite3.Connection) -> Iterator[Finding]:
    """Each record is found by its time: its own hour, or one after it, begins no later than it."""
    sql = """
    SELECT account_id, thread, hour, first, (
        SELECT min(first) FROM record_hours h
        WHERE h.account_id = r.account_id AND h.thread = r.thread AND h.hour >= r.hour
    ) FROM (
        SELECT account_id, thread, created_at / ? AS hour, min(sequence) AS first FROM records GROUP BY 1, 2, 3
    ) r
    """
    for account, thread, hour, first, begins in db.execute(sql, (HOUR_MS,)):
        if begins is None or begins > first:
            where = f"record_hours {account} {thread} {hour}"
            yield Finding(where, "its records are found by their time", f"at most {first}", str(begins or "nothing"))


def _still_open(db: sqlite3.Connection) -> Iterator[Finding]:
    for (call_id,) in db.execute("SELECT id FROM open_calls o WHERE EXISTS (SELECT 1 FROM ledger l WHERE l.id = o.id)"):
        yield Finding(f"open_calls {call_id}", "a settled call is not open", "nothing", "an open row")
