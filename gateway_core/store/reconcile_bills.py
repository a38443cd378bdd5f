"""Reconciliation of what invoices are made of: inference lines, adjustments and subscriptions."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping

import msgspec

from gateway_core.audit import adjustment_body
from gateway_core.money import parse_usd
from gateway_core.store.adjustments import ADJUSTMENT, ORIGIN, given_for, reversed_of, to_adjustment
from gateway_core.store_ports import Finding
from gateway_core.types import Adjustment

Line = tuple[str, str, str]
"""Account, month and model: one inference line of an invoice."""


class _Body(msgspec.Struct):
    """What is added up of a call's record."""

    cost_usd: str


_decode_body = msgspec.json.Decoder(_Body).decode


class Lines:
    """Inference lines, added up from the ledger and from the records of the same calls."""

    def __init__(self) -> None:
        self.ledger: dict[Line, int] = defaultdict(int)
        #: What the ledger charged for calls that have their record here, and what the records say.
        self._recorded: dict[Line, int] = defaultdict(int)
        self._records: dict[Line, int] = defaultdict(int)

    def note_record(self, line: Line, charge: int, body: bytes | None) -> None:
        """A call that has a record, or should have."""
        self._recorded[line] += charge
        self._records[line] += _cost(body)

    def findings(self, db: sqlite3.Connection) -> Iterator[Finding]:
        """Where invoice, ledger and records do not say the same."""
        invoiced: dict[Line, int] = defaultdict(int)
        for account, day, model, charge in db.execute("SELECT account_id, day, model, charge FROM rollups_daily"):
            invoiced[account, day[:7], model] += int(charge)
        yield from _differing("the inference line is the ledger's sum", self.ledger, invoiced)
        yield from _differing("the inference line is the records' sum", self._records, self._recorded)


def _cost(body: bytes | None) -> int:
    """What a record says its call cost. One that says nothing is named elsewhere, and counts 0 here."""
    if body is None:
        return 0
    try:
        return parse_usd(_decode_body(body).cost_usd)
    except (msgspec.DecodeError, ValueError):
        return 0


def _differing(what: str, expected: Mapping[Line, int], found: Mapping[Line, int]) -> Iterator[Finding]:
    for line in sorted(expected.keys() | found.keys()):
        if expected.get(line, 0) != found.get(line, 0):
            where = f"invoice {' '.join(line)}"
            yield Finding(where, what, str(expected.get(line, 0)), str(found.get(line, 0)))


def adjustments(db: sqlite3.Connection, pruned: Mapping[str, int]) -> Iterator[Finding]:
    """Each has its record, says the same there, and gives back no more than there was."""
    known: set[tuple[str, str]] = set()
    for *row, sequence, body in db.execute(
        f"SELECT {', '.join(f'a.{name}' for name in ADJUSTMENT.split(', '))}, c.sequence, c.body FROM adjustments a "
        "LEFT JOIN records c ON c.account_id = a.account_id AND c.id = a.id ORDER BY a.id"  # our own names
    ):
        made = to_adjustment(tuple(row))
        known.add((made.account_id, made.id))
        if made.sequence > pruned.get(made.account_id, 0):
            yield from _its_record(made, sequence, body)
        yield from _its_amount(db, made)
    for account, record_id in db.execute("SELECT account_id, id FROM records WHERE origin = ?", (ORIGIN,)):
        if (account, record_id) not in known:
            yield Finding(f"records {account} {record_id}", "the adjustment is there", record_id, "nothing")


def _its_record(made: Adjustment, sequence: int | None, body: bytes | None) -> Iterator[Finding]:
    where, expected = f"adjustments {made.id}", adjustment_body(made)
    if body is None:
        yield Finding(where, "it has its record", f"sequence {made.sequence}", "nothing")
    elif sequence != made.sequence:
        yield Finding(where, "its record is in its place", str(made.sequence), str(sequence))
    elif bytes(body) != expected:
        found = bytes(body).decode("utf-8", "replace")
        yield Finding(where, "its record says what the row says", expected.decode(), found)


def _its_amount(db: sqlite3.Connection, made: Adjustment) -> Iterator[Finding]:
    where = f"adjustments {made.id}"
    if (made.amount > 0) != (made.kind == "reversal"):
        yield Finding(where, "a reversal is above 0, the others are below", made.kind, str(made.amount))
    if made.kind != "reversal":
        taken_back = reversed_of(db, made.account_id, made.id)
        if taken_back > -made.amount:
            yield Finding(where, "no more is reversed than was given", f"at most {-made.amount}", str(taken_back))
        if made.refers_to is not None:
            row = db.execute("SELECT charge FROM ledger WHERE id = ?", (made.refers_to,)).fetchone()
            charge, given = row[0] if row else 0, given_for(db, made.account_id, made.refers_to)
            if given > charge:
                yield Finding(where, "no more is given back than the call cost", f"at most {charge}", str(given))


def subscriptions(db: sqlite3.Connection) -> Iterator[Finding]:
    """Each is what its history says, and ends where it is cancelled."""
    for identifier, status, started_at, ends_at, last in db.execute(
        "SELECT s.id, s.status, s.started_at, s.ends_at, (SELECT h.status FROM subscription_history h "
        "WHERE h.subscription_id = s.id ORDER BY h.number DESC LIMIT 1) FROM subscriptions s ORDER BY s.id"
    ):
        where = f"subscriptions {identifier}"
        if status != last:
            yield Finding(where, "its status is the last of its history", str(last), status)
        if (ends_at is not None) != (status == "cancelled"):
            yield Finding(where, "it ends where it is cancelled", status, str(ends_at))
        if ends_at is not None and ends_at < started_at:
            yield Finding(where, "it ends after it began", f"from {started_at}", str(ends_at))
