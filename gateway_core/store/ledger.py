"""Holds, open calls and settlements: `ports.Ledger` on SQLite.

The hold is checked in memory (`balances`); what is durable goes through the committer. A plain call's open row may
wait a while (`committer.DEFERRED`), and where its settlement comes sooner, one row is written for both.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import Any

from gateway_core.errors import StoreError
from gateway_core.money import Units
from gateway_core.ports import Clock
from gateway_core.store.answers import keep
from gateway_core.store.balances import Balances, Key
from gateway_core.store.books import Transaction
from gateway_core.store.committer import Committer, Op
from gateway_core.store.readers import Readers
from gateway_core.store.reconcile import reconcile
from gateway_core.store.rows import (
    SELECT_LEDGER,
    call_row,
    decode_checkpoints,
    decode_hold,
    encode_checkpoints,
    encode_hold,
)
from gateway_core.store_ports import CallRow, Finding, KeptAnswer, MonthTotals, OpenCall
from gateway_core.types import Checkpoint, Hold, Settled, Settlement

_UPSERT_CHECKPOINTS = (
    "INSERT INTO checkpoints VALUES (?, ?, ?) "
    "ON CONFLICT (boot_id) DO UPDATE SET at = excluded.at, rows = excluded.rows"
)


class CallOp(Op):
    """A call's row: its open row, or, once `settlement` is there, its end. Both in one where the end came in time."""

    __slots__ = ("_fresh", "_ledger", "answer", "hold", "may_be_open", "settled", "settlement")

    def __init__(self, ledger: "SqliteLedger", hold: Hold, future: "asyncio.Future[Any]") -> None:
        super().__init__(future)
        self._ledger = ledger
        self.hold = hold
        self.settlement: Settlement | None = None
        #: To be kept with the settlement.
        self.answer: KeptAnswer | None = None
        #: The settlement's own future, where this op was the open row's first.
        self.settled: asyncio.Future[Settled] | None = None
        #: An open row may be on disk, to be removed with the settlement.
        self.may_be_open = False
        self._fresh: bool | None = None

    def apply(self, books: Transaction) -> Settled | None:
        """Writes the row that stands for the call's state now."""
        hold = self.hold
        if self.settlement is None:
            boot = self._ledger.boot_id
            row = (hold.id, boot, hold.account_id, hold.bearer_id, hold.month, hold.amount, hold.started_at)
            books.open_call((*row, bytearray(encode_hold(hold))))
            return None
        settled = books.post(self.settlement)
        if self.answer is not None and settled.first:
            keep(books, self.answer)
        if self.may_be_open:
            books.end_call(hold.id)
        if self._fresh is None:
            self._fresh = settled.first
        if self._fresh and not settled.first:
            # A commit that seemed to fail had landed: this is still the call that settled it.
            return Settled(settled.id, settled.charge, settled.credit_used, settled.overage, settled.sequence)
        return settled

    def undone(self) -> None:
        """It is not known any more whether this one is the first."""
        self._fresh = None

    def landed(self, result: Settled | None, *, retried: bool) -> None:
        """Moves the balance, then tells whoever waits."""
        self._ledger.landed(self, result, retried=retried)
        if self.settled is None:
            super().landed(result, retried=retried)
            return
        super().landed(None, retried=retried)
        if not self.settled.done():
            self.settled.set_result(result)  # type: ignore[arg-type]  # an op with a settlement yields a Settled

    def failed(self, error: Exception) -> None:
        """The hold stays: nobody knows whether the row landed."""
        self._ledger.not_landed(self)
        super().failed(error)
        if self.settled and not self.settled.done():
            self.settled.set_exception(error)
            self.settled.exception()


class LoadOp(Op):
    """Reads months in the order of commits, so that no settlement is missed or counted twice."""

    __slots__ = ("_balances", "_keys")

    def __init__(self, balances: Balances, keys: Sequence[Key], future: "asyncio.Future[Any]") -> None:
        super().__init__(future)
        self._balances = balances
        self._keys = keys

    def apply(self, books: Transaction) -> list[int]:
        """What is settled of each."""
        return [books.settled_of(key) for key in self._keys]

    def landed(self, result: list[int], *, retried: bool) -> None:
        """Puts them into memory before anything that was committed later."""
        for key, settled in zip(self._keys, result, strict=True):
            self._balances.loaded(key, settled)
        super().landed(None, retried=retried)


class CheckpointOp(Op):
    """Replaces the owner's packed row."""

    __slots__ = ("_row",)

    def __init__(self, row: tuple[str, int, bytes], future: "asyncio.Future[Any]") -> None:
        super().__init__(future)
        self._row = row

    def apply(self, books: Transaction) -> None:
        """One upsert."""
        books.db.execute(_UPSERT_CHECKPOINTS, self._row)


class SqliteLedger:
    """The ledger of one store that is open."""

    def __init__(self, committer: Committer, readers: Readers, boot_id: str, clock: Clock) -> None:
        self._committer = committer
        self._readers = readers
        self._clock = clock
        self.boot_id = boot_id
        self._balances = Balances()
        #: Calls whose open row is not on disk yet.
        self._opening: dict[str, CallOp] = {}
        #: Calls that were opened and will be settled: how many rows are to be expected.
        self._running: set[str] = set()
        #: Streams whose open row is not on disk yet. Each is one row that waits or is committed: its end is not
        #: expected beside it, or a commit would wait for what cannot come before it.
        self._beginning: set[str] = set()

    async def start(self) -> None:
        """Takes the holds of calls that an earlier boot left open: they count until they are settled."""
        for orphan in await self.orphans():
            self._balances.take(orphan.hold, checked=False)
            self._balances.holds[orphan.hold.id].opened = True

    # ------------------------------------------------------------ holds

    async def hold(self, hold: Hold) -> None:
        """Takes the hold; waits only where the month is not in memory. Raises QuotaExceeded, StoreError."""
        if not self._committer.healthy:
            raise StoreError("The store cannot commit now; no call is begun. It is tried again by itself.")
        while keys := self._balances.missing(hold):
            await self._load(keys)
        self._balances.take(hold)

    async def headroom(self, hold: Hold) -> int | None:
        """Units that the tighter of the hold's caps still affords, None where no cap is set."""
        while keys := self._balances.missing(hold):
            await self._load(keys)
        return self._balances.headroom(hold)

    async def _load(self, keys: list[Key]) -> None:
        op = LoadOp(self._balances, keys, self._committer.future())
        self._committer.submit(op)
        await op.future

    def release(self, hold: Hold) -> None:
        """Forgets a hold that never reached an upstream. Raises StoreError where its open row may be on disk."""
        op = self._opening.get(hold.id)
        if op:
            if op.settlement is not None or not self._committer.withdraw(op):
                raise StoreError(f"Call {hold.id} is being written: settle it, it cannot be released.")
            del self._opening[hold.id]
            self._ends(hold.id)
            if not op.future.done():
                op.future.set_result(None)
        else:
            held = self._balances.holds.get(hold.id)
            if held and held.opened:
                raise StoreError(f"Call {hold.id} is open on disk: settle it, it cannot be released.")
        self._balances.give_back(hold.id)

    # ------------------------------------------------------------ what is durable

    def open(self, hold: Hold) -> "asyncio.Future[None]":
        """Puts the call on disk: a stream's with the next commit, a plain call's a while later or with its end."""
        op = CallOp(self, hold, self._committer.future())
        self._opening[hold.id] = op
        if hold.stream:
            self._beginning.add(hold.id)
            self._committer.submit(op)
        else:
            self._running.add(hold.id)
            self._committer.expected = len(self._running)
            self._committer.defer(op)
        return op.future

    def checkpoint(self, rows: Sequence[Checkpoint]) -> "asyncio.Future[None]":
        """Replaces this boot's packed row of checkpoints."""
        row = (self.boot_id, self._clock.now_ms(), encode_checkpoints(list(rows)))
        op = CheckpointOp(row, self._committer.future())
        self._committer.submit(op)
        return op.future

    def settle(self, settlement: Settlement, answer: KeptAnswer | None = None) -> "asyncio.Future[Settled]":
        """Ends the call: ledger row, split, record, totals and its answer in one transaction; the first one wins."""
        hold = settlement.hold
        self._ends(hold.id)
        op = self._opening.get(hold.id)
        if op and not op.taken and op.settlement is None:
            op.settlement, op.answer = settlement, answer
            op.settled = self._committer.future()
            self._committer.hasten(op)
            return op.settled
        op = CallOp(self, hold, self._committer.future())
        op.settlement, op.answer = settlement, answer
        op.may_be_open = True
        self._committer.submit(op)
        return op.future

    def landed(self, op: CallOp, settled: Settled | None, *, retried: bool) -> None:
        """A call's row is on disk: what is in memory follows. For CallOp alone."""
        call_id = op.hold.id
        if self._opening.get(call_id) is op:
            del self._opening[call_id]
        if settled is None:
            held = self._balances.holds.get(call_id)
            if held:
                held.opened = True
            if call_id in self._beginning:
                self._beginning.discard(call_id)
                self._running.add(call_id)
                self._committer.expected = len(self._running)
            return
        self._balances.give_back(call_id)
        if settled.first:
            self._balances.settled(op.hold, settled.charge)
        if retried:
            self._balances.distrust()

    def not_landed(self, op: CallOp) -> None:
        """A call's row failed: what is settled is read again before it is believed. For CallOp alone."""
        if self._opening.get(op.hold.id) is op:
            del self._opening[op.hold.id]
        self._ends(op.hold.id)
        self._balances.distrust()

    def _ends(self, call_id: str) -> None:
        self._beginning.discard(call_id)
        self._running.discard(call_id)
        self._committer.expected = len(self._running)

    # ------------------------------------------------------------ reads

    async def orphans(self) -> list[OpenCall]:
        """Open calls of every other boot: this process has the home's lock, so they are all dead."""
        return await self._readers.run(_orphans, self.boot_id)

    async def find(self, request_id: str) -> CallRow | None:
        """One call by its request id."""
        return await self._readers.run(_find, request_id)

    async def lost(self, account_id: str, since: int) -> int:
        """What an account's calls from `since` on have cost the house, those delivered whole left out."""
        return await self._readers.run(_lost, account_id, since)

    async def month(self, account_id: str, month: str) -> MonthTotals:
        """An account's totals for "2026-11"."""
        # Before the read: what is not open any more is then among what is settled.
        still_open = self._balances.open_of(account_id, month)
        settled, granted, used = await self._readers.run(_month, account_id, month)
        return MonthTotals(settled, self._balances.held_of(account_id, month), granted, used, still_open)

    async def reconcile(self) -> list[Finding]:
        """Recomputes every balance, rollup and chain from the ledger's rows; empty means they agree."""
        return await self._readers.run_long(reconcile)


def _orphans(db: sqlite3.Connection, boot_id: str) -> list[OpenCall]:
    marks: dict[str, Checkpoint] = {}
    for (packed,) in db.execute("SELECT rows FROM checkpoints WHERE boot_id <> ?", (boot_id,)):
        marks.update((mark.id, mark) for mark in decode_checkpoints(packed))
    rows = db.execute("SELECT hold FROM open_calls WHERE boot_id <> ? ORDER BY id", (boot_id,))
    holds = [decode_hold(packed) for (packed,) in rows]
    return [OpenCall(hold, marks.get(hold.id)) for hold in holds]


def _find(db: sqlite3.Connection, request_id: str) -> CallRow | None:
    row = db.execute(f"{SELECT_LEDGER} WHERE l.id = ?", (request_id,)).fetchone()
    return call_row(row) if row else None


def _lost(db: sqlite3.Connection, account_id: str, since: int) -> int:
    sql = "SELECT loss FROM ledger WHERE account_id = ? AND started_at >= ? AND outcome <> 'ok'"
    return sum(loss for (loss,) in db.execute(sql, (account_id, since)))


def _month(db: sqlite3.Connection, account_id: str, month: str) -> tuple[int, Units, Units]:
    row = db.execute(
        "SELECT settled, credit_granted, credit_used FROM account_months WHERE account_id = ? AND month = ?",
        (account_id, month),
    ).fetchone()
    return (int(row[0]), Units(row[1]), Units(row[2])) if row else (0, Units(0), Units(0))
