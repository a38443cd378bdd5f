"""The embedded store: one SQLite file in the home, one writer, `ports.Store`."""

import asyncio
import contextlib
import logging
import sqlite3
from pathlib import Path
from typing import Any

from gateway_core.errors import StoreCorrupt, StoreError
from gateway_core.ids import new_id
from gateway_core.ports import Clock
from gateway_core.store import backup, connections, migrations
from gateway_core.store.adjustments import SqliteAdjustments
from gateway_core.store.answers import SqliteAnswers
from gateway_core.store.books import Transaction
from gateway_core.store.committer import Committer, Op
from gateway_core.store.directory import SqliteDirectory, WriteOp, write
from gateway_core.store.instances import SqliteInstances
from gateway_core.store.ledger import SqliteLedger
from gateway_core.store.memories import SqliteMemories
from gateway_core.store.readers import Readers
from gateway_core.store.records import SqliteRecords
from gateway_core.store.reports import SqliteReports
from gateway_core.store.retention import SqliteRetention
from gateway_core.store.subscriptions import SqliteSubscriptions
from gateway_core.store_ports import (
    Adjustments,
    Answers,
    Directory,
    Instances,
    Ledger,
    Memories,
    Records,
    Reports,
    Retention,
    Subscriptions,
)

log = logging.getLogger("gateway_core.store")

LEASE_MS = 90_000
"""An owner whose lease is older than this is dead, for stores that several nodes share."""

_RENEW_SECONDS = 30.0
_FRESH_SECONDS = 5.0
_READY_SECONDS = 3.0
_CHECKED_WHOLE = 16 * 1024 * 1024
"""Bytes up to which the file is checked whole at start; the check reads about 500 MB a second."""

_ALWAYS_CHECKED = ("migrations", "owners", "open_calls", "checkpoints", "state")


class SqliteStore:
    """A store at `path`. Whoever opens it has the home's lock."""

    ledger: Ledger
    answers: Answers
    memories: Memories
    directory: Directory
    instances: Instances
    subscriptions: Subscriptions
    adjustments: Adjustments
    records: Records
    reports: Reports
    retention: Retention

    def __init__(self, path: Path, clock: Clock, window_ms: float = 2.0) -> None:
        self._path = path
        self._clock = clock
        self._window_ms = window_ms
        self._committer: Committer | None = None
        self._renewal: asyncio.Task[None] | None = None
        self.boot_id = new_id("boot_")

    async def open(self) -> None:
        """Opens, checks and migrates. Raises StoreCorrupt, StoreTooNew or StoreError, each saying what to do."""
        books = await asyncio.to_thread(self._open_books)
        try:
            self._readers = Readers(self._path)
        except sqlite3.Error as error:
            books.close()
            raise StoreError(f"The store {self._path} cannot be read (SQLite: {error}).") from error
        self._committer = committer = Committer(books, self._window_ms, self._probe)
        self.ledger = ledger = SqliteLedger(committer, self._readers, self.boot_id, self._clock)
        self.answers = SqliteAnswers(committer)
        self.memories = SqliteMemories(committer, self._readers)
        now_ms = self._clock.now_ms
        self.directory = directory = SqliteDirectory(committer, self._readers, now_ms)
        self.instances = SqliteInstances(committer, self._readers, now_ms)
        self.subscriptions = SqliteSubscriptions(committer, self._readers, directory, now_ms)
        self.adjustments = SqliteAdjustments(committer, self._readers, now_ms)
        self.records = SqliteRecords(committer, self._readers)
        self.reports = SqliteReports(self._readers)
        self.retention = SqliteRetention(committer, self._readers)
        try:
            await write(committer, self._begin_boot)
            await ledger.start()
        except BaseException:
            await self.close()
            raise
        self._renewal = asyncio.create_task(self._renew(), name="store-lease")

    async def close(self) -> None:
        """Commits what waits, and closes."""
        committer, self._committer = self._committer, None
        if not committer:
            return
        if self._renewal:
            self._renewal.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._renewal
        # Readers first: the writer's connection is the last, and it alone moves the log into the file.
        await committer.drain()
        if committer.healthy:
            with contextlib.suppress(StoreError):  # the next start recovers as it would after a crash
                await write(committer, self._end_boot)
        await self._readers.close()
        await committer.close()

    async def backup(self, target: Path) -> None:
        """A consistent copy while calls go on. Raises StoreError, also where `target` exists."""
        await self._readers.run_long(backup.copy, target)

    def fresh(self) -> bool:
        """Whether a commit landed a moment ago, and none has failed since."""
        committer = self._committer
        return committer is not None and committer.healthy and committer.time() - committer.landed_at < _FRESH_SECONDS

    async def ready(self) -> bool:
        """Whether a commit would be acknowledged now; where none landed lately, one is made."""
        if self.fresh():
            return True
        committer = self._committer
        if committer is None or not committer.healthy:
            return False
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await write(committer, self._extend_lease)
        except (StoreError, TimeoutError):
            return False
        return True

    async def get_state(self, name: str) -> bytes | None:
        """A small named value; None where it was never put."""
        return await self._readers.run(_state, name)

    async def put_state(self, name: str, value: bytes) -> None:
        """Replaces a small named value."""

        def change(books: Transaction) -> None:
            books.db.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, value))

        await write(self._open(), change)

    # ------------------------------------------------------------ inside

    def _open(self) -> Committer:
        if not self._committer:
            raise StoreError("The store is not open.")
        return self._committer

    def _open_books(self) -> Transaction:
        try:
            connections.create(self._path)
            books = Transaction(self._path, self._clock.now_ms)
        except OSError as error:
            raise StoreError(
                f"The store {self._path} cannot be opened ({error}). Look at the home's permissions."
            ) from error
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        try:
            _check(books.db, self._path)
            applied = migrations.migrate(books.db, self._clock.now_ms())
        except sqlite3.Error as error:
            books.close()
            raise self._unusable(error) from error
        except BaseException:
            books.close()
            raise
        if applied:
            log.info("the store is at migration %d", applied)
        return books

    def _unusable(self, error: sqlite3.Error) -> StoreError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return _damaged(self._path, str(error))
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreError(f"The store {self._path} is locked by another program. Close that one first.")
        return StoreError(f"The store {self._path} cannot be opened (SQLite: {error}). Look at the disk that holds it.")

    def _probe(self) -> Op:
        return WriteOp(self._extend_lease, None, self._open().future())

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            with contextlib.suppress(StoreError):  # the committer has said so, and tries again by itself
                await write(self._open(), self._extend_lease)

    def _begin_boot(self, books: Transaction) -> None:
        now = self._clock.now_ms()
        gone = "boot_id NOT IN (SELECT boot_id FROM open_calls)"
        books.db.execute(f"DELETE FROM owners WHERE {gone}")  # constants
        books.db.execute(f"DELETE FROM checkpoints WHERE {gone}")  # constants
        books.db.execute("INSERT INTO owners VALUES (?, ?, ?)", (self.boot_id, now, now + LEASE_MS))

    def _extend_lease(self, books: Transaction) -> None:
        until = self._clock.now_ms() + LEASE_MS
        books.db.execute("UPDATE owners SET lease_until = ? WHERE boot_id = ?", (until, self.boot_id))

    def _end_boot(self, books: Transaction) -> None:
        """An owner that leaves nothing open leaves nothing at all."""
        still = books.db.execute("SELECT 1 FROM open_calls WHERE boot_id = ? LIMIT 1", (self.boot_id,)).fetchone()
        if not still:
            books.db.execute("DELETE FROM owners WHERE boot_id = ?", (self.boot_id,))
            books.db.execute("DELETE FROM checkpoints WHERE boot_id = ?", (self.boot_id,))


def _check(db: sqlite3.Connection, path: Path) -> None:
    """Whole for a small file. A large one would take seconds: then its schema, and the tables that recovery reads."""
    if path.stat().st_size <= _CHECKED_WHOLE:
        _expect_ok(db, "PRAGMA quick_check(1)", path)
        return
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    for table in _ALWAYS_CHECKED:
        if table in tables:
            _expect_ok(db, f"PRAGMA quick_check('{table}')", path)


def _expect_ok(db: sqlite3.Connection, check: str, path: Path) -> None:
    found: Any = db.execute(check).fetchone()
    if found != ("ok",):
        raise _damaged(path, found[0] if found else "no answer")


def _damaged(path: Path, what: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"The store {path} is damaged (SQLite: {what}). Restore the last backup: spl restore FILE. "
        "The damaged file is kept beside it."
    )


def _state(db: sqlite3.Connection, name: str) -> bytes | None:
    row = db.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None
