"""Holds, open calls and settlements: `ports.Ledger` on SQLite.

The hold is checked in memory (`balances`); what is durable goes through the committer. A plain call's open row may
wait a while (`committer.DEFERRED`), and where its settlement comes sooner, one row is written for both.
"""

import asyncio
import math
import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway_core.errors import StoreError
from gateway_core.money import Units
from gateway_core.ports import Clock
from gateway_core.store.answers import keep
from gateway_core.store.balances import Balances, Entry, Key
from gateway_core.store.books import Transaction
from gateway_core.store.committer import Committer, Op
from gateway_core.store.readers import Readers
from gateway_core.store.reconcile import reconcile
from gateway_core.store.rows import (
    SELECT_LEDGER,
    call_row,
    decode_checkpoints,
    decode_hold,
    pack,
)
from gateway_core.store_ports import CallRow, Finding, KeptAnswer, MonthTotals, OpenCall
from gateway_core.types import Checkpoint, Hold, Settled, Settlement

LOG_BESIDES = 64
"""Checkpoints that the log may hold besides twice those that count."""


class CallOp(Op):
    """A call: what it holds, and its row: its open row or, once `settlement` is there, its end.

    Both in one where the end came before the open row was taken: then `future`, too, is the settlement's.
    """

    __slots__ = (
        "_fresh",
        "_ledger",
        "answer",
        "counted",
        "ended",
        "entries",
        "hold",
        "may_be_open",
        "opening",
        "settlement",
    )

    def __init__(
        self, ledger: "SqliteLedger", hold: Hold, entries: tuple[Entry, ...], future: "asyncio.Future[Any]"
    ) -> None:
        self.future = future
        self.taken = False
        self._ledger = ledger
        self.hold = hold
        #: What the hold was taken out of.
        self.entries = entries
        self.settlement: Settlement | None = None
        #: To be kept with the settlement.
        self.answer: KeptAnswer | None = None
        #: It was given to the committer; and: an open row may be on disk, to be removed with the settlement.
        self.opening = self.may_be_open = False
        #: Its end is one of the rows that the committer expects; and: it has come.
        self.counted = self.ended = False
        self._fresh: bool | None = None

    def apply(self, books: Transaction) -> Settled | None:
        """Writes the row that stands for the call's state now."""
        hold = self.hold
        if self.settlement is None:
            books.open_call(hold.id, self._ledger.boot_id, pack(hold))
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
        if result is None:
            self._ledger.opened(self)
        else:
            self._ledger.settled(self.hold, result, retried=retried)
        if not self.future.done():
            self.future.set_result(result)

    def failed(self, error: Exception) -> None:
        """The hold stays: nobody knows whether the row landed."""
        self._ledger.not_landed(self.hold.id)
        super().failed(error)


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
    """Adds a row to the owner's log; one that is `whole` takes the place of all before it."""

    __slots__ = ("_ledger", "_row", "_whole")

    def __init__(
        self, ledger: "SqliteLedger", row: tuple[str, int, int, bytes], whole: bool, future: "asyncio.Future[Any]"
    ) -> None:
        super().__init__(future)
        self._ledger = ledger
        self._row = row
        self._whole = whole

    def apply(self, books: Transaction) -> None:
        """A retry may find its row there."""
        if self._whole:
            books.db.execute("DELETE FROM checkpoints WHERE boot_id = ?", self._row[:1])
        books.db.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?)", self._row)

    def failed(self, error: Exception) -> None:
        """Nobody knows what of the log is there: the next row is a whole one."""
        self._ledger.log_lost()
        super().failed(error)


class SqliteLedger:
    """The ledger of one store that is open."""

    def __init__(self, committer: Committer, readers: Readers, boot_id: str, clock: Clock) -> None:
        self._committer = committer
        self._readers = readers
        self._clock = clock
        self.boot_id = boot_id
        self._balances = Balances()
        #: Every call that holds something, by its id.
        self._calls: dict[str, CallOp] = {}
        #: The last checkpoint of each that has one, packed.
        self._checkpoints: dict[str, msgspec.Raw] = {}
        #: The log of them: its last row's number, and the checkpoints in it since the last row that has all.
        self._log_number = 0
        self._logged: float = 0

    async def start(self) -> None:
        """Takes the holds of calls that an earlier boot left open: they count until they are settled."""
        for orphan in await self.orphans():
            hold = orphan.hold
            entries = self._balances.take(hold, checked=False)
            assert entries is not None  # noqa: S101  # unchecked, it asks for nothing
            call = self._calls[hold.id] = CallOp(self, hold, entries, self._committer.future())
            call.taken = call.may_be_open = True

    # ------------------------------------------------------------ holds

    def hold_now(self, hold: Hold) -> bool:
        """Takes the hold; False where a month must be read first. Raises QuotaExceeded, StoreError."""
        committer = self._committer
        if not committer.healthy:
            raise StoreError("The store cannot commit now; no call is begun. It is tried again by itself.")
        if hold.id not in self._calls:
            entries = self._balances.take(hold)
            if entries is None:
                return False
            self._calls[hold.id] = CallOp(self, hold, entries, committer.future())
        return True

    async def hold(self, hold: Hold) -> None:
        """Takes the hold; waits only where the month is not in memory. Raises QuotaExceeded, StoreError."""
        while not self.hold_now(hold):
            await self._load(self._balances.missing(hold))

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
        call = self._calls.get(hold.id)
        if call is None:
            return
        if call.may_be_open:
            raise StoreError(f"Call {hold.id} is open on disk: settle it, it cannot be released.")
        if call.ended or not self._committer.withdraw(call):
            raise StoreError(f"Call {hold.id} is being written: settle it, it cannot be released.")
        self._ends(call)
        del self._calls[hold.id]
        self._balances.settle(call.entries, hold.amount, 0)
        if not call.future.done():
            call.future.set_result(None)

    # ------------------------------------------------------------ what is durable

    def open(self, hold: Hold) -> "asyncio.Future[Any]":
        """Puts the call on disk: a stream's with the next commit, a plain call's a while later or with its end."""
        call, committer = self._calls[hold.id], self._committer
        call.opening = True
        if hold.stream:
            # Its open row is one that waits or is committed: its end is not expected beside it, or a commit would wait
            # for what cannot come before it.
            committer.submit(call)
        else:
            call.counted = True
            committer.expected += 1
            committer.defer(call)
        return call.future

    def checkpoint(self, rows: Sequence[Checkpoint]) -> "asyncio.Future[None]":
        """Adds these to this boot's log: what is written follows from what has moved, not from how many are open.

        Once more of the log is outdated than counts, it begins anew with all that counts.
        """
        moved = {row.id: msgspec.Raw(pack(row)) for row in rows if row.id in self._calls}
        self._checkpoints |= moved
        self._logged += len(moved)
        whole = self._logged > len(self._checkpoints) + LOG_BESIDES
        if whole:
            moved, self._logged = self._checkpoints, 0
        self._log_number += 1
        packed = (self.boot_id, self._log_number, self._clock.now_ms(), pack(list(moved.values())))
        op = CheckpointOp(self, packed, whole, self._committer.future())
        self._committer.submit(op)
        return op.future

    def log_lost(self) -> None:
        """A row of the log may not be there. For CheckpointOp alone."""
        self._logged = math.inf

    def settle(self, settlement: Settlement, answer: KeptAnswer | None = None) -> "asyncio.Future[Settled]":
        """Ends the call: ledger row, split, record, totals and its answer in one transaction; the first one wins."""
        hold, committer = settlement.hold, self._committer
        call = self._calls.get(hold.id)
        if call is None or call.taken or call.ended:
            # Its open row may be on disk, or on its way there: this is a row of its own.
            if call is not None:
                self._ends(call)
            call = CallOp(self, hold, (), committer.future())
            call.settlement, call.answer = settlement, answer
            call.may_be_open = True
            committer.submit(call)
            return call.future
        self._ends(call)
        call.settlement, call.answer = settlement, answer
        if call.future.done():  # whoever waited for the open row was cut
            call.future = committer.future()
        if call.opening:
            committer.hasten(call)
        else:
            committer.submit(call)
        return call.future

    def opened(self, call: CallOp) -> None:
        """A call's open row is on disk. For CallOp alone."""
        call.may_be_open = True
        if not call.counted and not call.ended:
            call.counted = True
            self._committer.expected += 1

    def settled(self, hold: Hold, settled: Settled, *, retried: bool) -> None:
        """A call's end is on disk: what is in memory follows. For CallOp alone."""
        call = self._calls.pop(hold.id, None)
        if hold.stream:
            self._checkpoints.pop(hold.id, None)
        charge = settled.charge if settled.first else 0
        if call is not None:
            self._balances.settle(call.entries, hold.amount, charge)
        elif charge:
            self._balances.charge(hold, charge)
        if retried:
            self._balances.distrust()

    def not_landed(self, call_id: str) -> None:
        """A call's row failed: what is settled is read again before it is believed. For CallOp alone."""
        call = self._calls.get(call_id)
        if call is not None:
            call.taken = call.may_be_open = True
            self._ends(call)
        self._balances.distrust()

    def _ends(self, call: CallOp) -> None:
        call.ended = True
        if call.counted:
            call.counted = False
            self._committer.expected -= 1

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
    sql = "SELECT rows FROM checkpoints WHERE boot_id <> ? ORDER BY boot_id, number"
    for (packed,) in db.execute(sql, (boot_id,)):
        marks.update((mark.id, mark) for mark in decode_checkpoints(packed))
    rows = db.execute("SELECT hold FROM open_calls WHERE boot_id <> ? ORDER BY id", (boot_id,))
    holds = [decode_hold(packed) for (packed,) in rows]
    return [OpenCall(hold, marks.get(hold.id)) for hold in holds]


def _find(db: sqlite3.Connection, request_id: str) -> CallRow | None:
    row = db.execute(f"{SELECT_LEDGER} WHERE l.id = ?", (request_id,)).fetchone()
    return call_row(row) if row else None


def _lost(db: sqlite3.Connection, account_id: str, since: int) -> int:
    sql = (
        "SELECT l.loss FROM call_kinds k JOIN ledger_rows l ON l.kind = k.number "
        "WHERE k.account_id = ? AND k.outcome <> 'ok' AND l.started_at >= ? AND l.loss > 0"
    )
    return sum(loss for (loss,) in db.execute(sql, (account_id, since)))


def _month(db: sqlite3.Connection, account_id: str, month: str) -> tuple[int, Units, Units]:
    row = db.execute(
        "SELECT settled, credit_granted, credit_used FROM account_months WHERE account_id = ? AND month = ?",
        (account_id, month),
    ).fetchone()
    return (int(row[0]), Units(row[1]), Units(row[2])) if row else (0, Units(0), Units(0))
