"""Accounts, keys and the operators' log: `ports.Directory` on SQLite.

What the path of a call reads is remembered, bounded, and forgotten when it changes; nothing is loaded whole.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

import msgspec

from gateway_core.errors import Conflict, NotFound
from gateway_core.money import Units
from gateway_core.store.books import Transaction
from gateway_core.store.committer import Committer, Op
from gateway_core.store.operator_log import read_entries, write_entry
from gateway_core.store.readers import Readers
from gateway_core.store.rows import json_text, units
from gateway_core.store.subscription_rows import SUBSCRIPTION, to_subscription
from gateway_core.store_ports import LogEntry
from gateway_core.types import Account, Key

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def _qualified(table: str, columns: str) -> str:
    return ", ".join(f"{table}.{column}" for column in columns.split(", "))


_ACCOUNT = "id, name, created_at, suspended, cap, monthly_credit, limits"
_SELECT_ACCOUNT = (
    f"SELECT {_qualified('a', _ACCOUNT)}, {_qualified('s', SUBSCRIPTION)} FROM accounts a LEFT JOIN subscriptions s "
    "ON s.id = (SELECT id FROM subscriptions WHERE account_id = a.id ORDER BY started_at DESC, id DESC LIMIT 1)"
)
"""Accounts with their latest subscription; a WHERE may follow."""

_KEY = "id, account_id, name, scopes, created_at, hint, models, cap, expires_at, revoked_at, last_used_at"
_TOUCH_EVERY_MS = 60_000
_REMEMBERED = 20_000
_ALL = -1


class WriteOp(Op):
    """One small write, and what to forget once it is on disk."""

    __slots__ = ("_done", "_write")

    def __init__(
        self,
        write: Callable[[Transaction], Any],
        done: Callable[[], None] | None,
        future: "asyncio.Future[Any]",
    ) -> None:
        super().__init__(future)
        self._write = write
        self._done = done

    def apply(self, books: Transaction) -> Any:
        """Runs the write."""
        return self._write(books)

    def landed(self, result: Any, *, retried: bool) -> None:
        """Forgets what changed before anyone is told."""
        if self._done:
            self._done()
        super().landed(result, retried=retried)

    def failed(self, error: Exception) -> None:
        """It may have landed all the same: forget it, too."""
        if self._done:
            self._done()
        super().failed(error)


class TouchOp(Op):
    """Last uses of keys, in whichever commit comes next."""

    __slots__ = ("uses",)

    def __init__(self, future: "asyncio.Future[Any]") -> None:
        super().__init__(future)
        self.uses: dict[str, int] = {}

    def apply(self, books: Transaction) -> None:
        """Never moves a last use backwards."""
        books.db.executemany(
            "UPDATE keys SET last_used_at = max(coalesce(last_used_at, 0), ?) WHERE id = ?",
            [(at, key_id) for key_id, at in self.uses.items()],
        )


async def write(
    committer: Committer, change: Callable[[Transaction], Any], done: Callable[[], None] | None = None
) -> Any:
    """Runs a change in the next commit and returns its result when it is on disk."""
    op = WriteOp(change, done, committer.future())
    committer.submit(op)
    return await op.future


class Remembered(Generic[K, V]):
    """The most recently read rows of one kind. A row read before a change is not remembered after it."""

    def __init__(self, limit: int = _REMEMBERED) -> None:
        self._limit = limit
        self._rows: dict[K, V] = {}
        #: Rises with every change; a reader compares it to know whether what it read is still so.
        self.changes = 0

    def get(self, key: K) -> V | None:
        """The row, if it is remembered."""
        return self._rows.get(key)

    def put(self, key: K, row: V, changes: int) -> None:
        """Remembers a row that was read when `changes` was the count."""
        if changes != self.changes:
            return
        while len(self._rows) >= self._limit:
            del self._rows[next(iter(self._rows))]
        self._rows[key] = row

    def forget(self, match: Callable[[V], bool]) -> None:
        """Forgets the rows that match, and what is being read now."""
        self.changes += 1
        for key in [key for key, row in self._rows.items() if match(row)]:
            del self._rows[key]


class SqliteDirectory:
    """The directory of one store that is open."""

    def __init__(self, committer: Committer, readers: Readers, now_ms: Callable[[], int]) -> None:
        self._committer = committer
        self._readers = readers
        self._now_ms = now_ms
        #: Rises with every change to an account or a key, before the change is acknowledged.
        self.generation = 0
        self._accounts: Remembered[str, Account] = Remembered()
        self._digests: Remembered[bytes, Key] = Remembered()
        #: Key → its last use that was written or is to be; and those that the next commit takes along.
        self._touched: dict[str, int] = {}
        self._touches: TouchOp | None = None

    # ------------------------------------------------------------ accounts

    async def create_account(self, account: Account, actor: str) -> None:
        """Raises Conflict where the id or the name is taken."""
        entry = LogEntry(self._now_ms(), actor, "account.create", account.id, {"name": account.name})

        def change(books: Transaction) -> None:
            if books.db.execute(
                "SELECT 1 FROM accounts WHERE id = ? OR name = ?", (account.id, account.name)
            ).fetchone():
                raise Conflict(f"There is an account {account.name} already.", param="name")
            books.db.execute(f"INSERT INTO accounts ({_ACCOUNT}) VALUES (?, ?, ?, ?, ?, ?, ?)", _account_row(account))
            write_entry(books.db, entry)
            books.forget_account(account.id)

        await self._change(change)

    async def account(self, account_id: str) -> Account | None:
        """The account, from memory where it was read before."""
        found = self._accounts.get(account_id)
        if found:
            return found
        changes = self._accounts.changes
        found = await self._readers.run(_account_where, "id", account_id)
        if found:
            self._accounts.put(account_id, found, changes)
        return found

    async def account_named(self, name: str) -> Account | None:
        """The account of that name."""
        return await self._readers.run(_account_where, "name", name)

    async def accounts(self, *, after: str = "", limit: int = _ALL) -> list[Account]:
        """Accounts in the order of their ids, those after `after`; at most `limit`, all where it is negative."""
        return await self._readers.run(_accounts, after, limit)

    async def update_account(self, account: Account, actor: str, action: str) -> None:
        """Replaces all but id and creation. Raises NotFound, or Conflict where another account has the name."""
        detail = {
            "name": account.name,
            "suspended": account.suspended,
            "cap": None if account.cap is None else str(account.cap),
            "monthly_credit": str(account.monthly_credit),
            "limits": account.limits,
        }
        entry = LogEntry(self._now_ms(), actor, action, account.id, detail)

        def change(books: Transaction) -> None:
            db = books.db
            if not db.execute("SELECT 1 FROM accounts WHERE id = ?", (account.id,)).fetchone():
                raise NotFound(f"There is no account {account.id}.")
            if db.execute("SELECT 1 FROM accounts WHERE name = ? AND id <> ?", (account.name, account.id)).fetchone():
                raise Conflict(f"Another account is called {account.name}.", param="name")
            row = _account_row(account)
            db.execute(
                "UPDATE accounts SET name = ?, suspended = ?, cap = ?, monthly_credit = ?, limits = ? WHERE id = ?",
                (row[1], *row[3:], account.id),
            )
            write_entry(db, entry)
            books.forget_account(account.id)

        await self._change(change, lambda: self._accounts.forget(lambda row: row.id == account.id))

    # ------------------------------------------------------------ keys

    async def add_key(self, key: Key, digest: bytes, actor: str) -> None:
        """Stores a key under the digest of its secret. Raises NotFound for an unknown account, Conflict for a twin."""
        detail = {"account": key.account_id, "name": key.name, "scopes": key.scopes}
        entry = LogEntry(self._now_ms(), actor, "key.mint", key.id, detail)
        row = (
            key.id,
            key.account_id,
            key.name,
            json_text(key.scopes),
            key.created_at,
            key.hint,
            None if key.models is None else json_text(key.models),
            key.cap,
            key.expires_at,
            key.revoked_at,
            key.last_used_at,
            digest,
        )

        def change(books: Transaction) -> None:
            db = books.db
            if not db.execute("SELECT 1 FROM accounts WHERE id = ?", (key.account_id,)).fetchone():
                raise NotFound(f"There is no account {key.account_id}.")
            if db.execute("SELECT 1 FROM keys WHERE id = ? OR digest = ?", (key.id, digest)).fetchone():
                raise Conflict(f"There is a key {key.id} already.")
            db.execute(f"INSERT INTO keys ({_KEY}, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            write_entry(db, entry)

        await self._change(change)

    async def key(self, key_id: str) -> Key | None:
        """The key of that id."""
        return await self._readers.run(_key_where, "id", key_id)

    async def key_by_digest(self, digest: bytes) -> Key | None:
        """The key whose secret has that digest, from memory where it was read before; revoked and expired ones, too."""
        found = self._digests.get(digest)
        if found:
            return found
        changes = self._digests.changes
        found = await self._readers.run(_key_where, "digest", digest)
        if found:
            self._digests.put(digest, found, changes)
        return found

    async def keys(self, account_id: str, *, after: str = "", limit: int = _ALL) -> list[Key]:
        """An account's keys in the order of their ids, those after `after`; at most `limit`, all where negative."""
        return await self._readers.run(_keys, account_id, after, limit)

    async def expire_key(self, key_id: str, at: int, actor: str) -> None:
        """Ends the key then, unless it ends sooner. Raises NotFound, or Conflict for one that is revoked."""
        await self._end_key(key_id, at, actor, "key.expire", "expires_at = min(coalesce(expires_at, ?1), ?1)")

    async def revoke_key(self, key_id: str, at: int, actor: str) -> None:
        """Ends the key. Raises NotFound, or Conflict for one that was revoked before."""
        await self._end_key(key_id, at, actor, "key.revoke", "revoked_at = ?1")

    async def _end_key(self, key_id: str, at: int, actor: str, action: str, end: str) -> None:
        entry = LogEntry(self._now_ms(), actor, action, key_id, {"at": at})

        def change(books: Transaction) -> None:
            row = books.db.execute("SELECT revoked_at FROM keys WHERE id = ?", (key_id,)).fetchone()
            if not row:
                raise NotFound(f"There is no key {key_id}.")
            if row[0] is not None:
                raise Conflict(f"Key {key_id} was revoked already.")
            books.db.execute(f"UPDATE keys SET {end} WHERE id = ?2", (at, key_id))  # one of the two above
            write_entry(books.db, entry)

        await self._change(change, lambda: self._digests.forget(lambda row: row.id == key_id))

    def touch_key(self, key_id: str, at: int) -> None:
        """Notes a key's last use; written with a later commit, at most once a minute."""
        last = self._touched.get(key_id)
        if last is not None and at - last < _TOUCH_EVERY_MS:
            return
        if len(self._touched) >= _REMEMBERED:
            self._touched.clear()
        self._touched[key_id] = at
        if self._touches is None or self._touches.taken:
            self._touches = TouchOp(self._committer.future())
            self._committer.ride(self._touches)
        self._touches.uses[key_id] = at

    def forget_account(self, account_id: str) -> None:
        """What belongs to the account changed, and is on disk: its subscription."""
        self.generation += 1
        self._accounts.forget(lambda row: row.id == account_id)

    async def _change(self, change: Callable[[Transaction], None], forget: Callable[[], None] | None = None) -> None:
        def done() -> None:
            self.generation += 1
            if forget:
                forget()

        await write(self._committer, change, done)

    # ------------------------------------------------------------ the operators' log

    async def log(self, entry: LogEntry) -> None:
        """Adds a line."""
        await write(self._committer, lambda books: write_entry(books.db, entry))

    async def log_entries(self, limit: int, *, before: int | None = None) -> list[LogEntry]:
        """The newest lines first; only those before the line of that number."""
        return await self._readers.run(read_entries, limit, before)


def _account_row(account: Account) -> tuple[Any, ...]:
    return (
        account.id,
        account.name,
        account.created_at,
        account.suspended,
        account.cap,
        account.monthly_credit,
        json_text(account.limits),
    )


def _to_account(row: tuple[Any, ...]) -> Account:
    cap = None if row[4] is None else Units(row[4])
    limits = msgspec.json.decode(row[6])
    subscription = None if row[7] is None else to_subscription(row[7:])
    return Account(row[0], row[1], row[2], bool(row[3]), cap, units(row[5]), limits, subscription)


def _account_where(db: sqlite3.Connection, column: str, value: str) -> Account | None:
    row = db.execute(f"{_SELECT_ACCOUNT} WHERE a.{column} = ?", (value,)).fetchone()  # our names
    return _to_account(row) if row else None


def _accounts(db: sqlite3.Connection, after: str, limit: int) -> list[Account]:
    rows = db.execute(f"{_SELECT_ACCOUNT} WHERE a.id > ? ORDER BY a.id LIMIT ?", (after, limit))
    return [_to_account(row) for row in rows]


def _to_key(row: tuple[Any, ...]) -> Key:
    return Key(
        id=row[0],
        account_id=row[1],
        name=row[2],
        scopes=tuple(msgspec.json.decode(row[3])),
        created_at=row[4],
        hint=row[5],
        models=None if row[6] is None else tuple(msgspec.json.decode(row[6])),
        cap=None if row[7] is None else Units(row[7]),
        expires_at=row[8],
        revoked_at=row[9],
        last_used_at=row[10],
    )


def _key_where(db: sqlite3.Connection, column: str, value: str | bytes) -> Key | None:
    row = db.execute(f"SELECT {_KEY} FROM keys WHERE {column} = ?", (value,)).fetchone()  # our names
    return _to_key(row) if row else None


def _keys(db: sqlite3.Connection, account_id: str, after: str, limit: int) -> list[Key]:
    sql = f"SELECT {_KEY} FROM keys WHERE account_id = ? AND id > ? ORDER BY id LIMIT ?"
    return [_to_key(row) for row in db.execute(sql, (account_id, after, limit))]
