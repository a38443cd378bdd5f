"""Registered issuers of bearers, and their revoked bearers: `ports.Instances` on SQLite."""

import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec

from gateway_core.errors import Conflict, NotFound
from gateway_core.store.books import Transaction
from gateway_core.store.committer import Committer
from gateway_core.store.directory import Remembered, write
from gateway_core.store.operator_log import write_entry
from gateway_core.store.readers import Readers
from gateway_core.store_ports import LogEntry
from gateway_core.types import Instance

_COLUMNS = (
    "id, account_id, kind, name, created_at, pinned_keys, jwks_url, jwks, jwks_fetched_at, push_url, cap, revoked_at"
)
_PLACES = ", ".join("?" * (_COLUMNS.count(",") + 1))
_HOME = "account_id = ? AND push_url IS NOT NULL AND revoked_at IS NULL"


class _Home:
    """What is known of an account's home: an instance, or that it has none."""

    __slots__ = ("account_id", "instance")

    def __init__(self, account_id: str, instance: Instance | None) -> None:
        self.account_id = account_id
        self.instance = instance


class SqliteInstances:
    """The instances of one store that is open."""

    def __init__(self, committer: Committer, readers: Readers, now_ms: Callable[[], int]) -> None:
        self._committer = committer
        self._readers = readers
        self._now_ms = now_ms
        #: Rises with every change, before the change is acknowledged.
        self.generation = 0
        self._rows: Remembered[str, Instance] = Remembered()
        self._homes: Remembered[str, _Home] = Remembered()

    async def add(self, instance: Instance, actor: str) -> None:
        """Raises NotFound for an unknown account, Conflict where the id is taken or the account has a push URL."""
        entry = LogEntry(self._now_ms(), actor, "instance.add", instance.id, _detail(instance))

        def change(books: Transaction) -> None:
            db = books.db
            if not db.execute("SELECT 1 FROM accounts WHERE id = ?", (instance.account_id,)).fetchone():
                raise NotFound(f"There is no account {instance.account_id}.")
            if db.execute("SELECT 1 FROM instances WHERE id = ?", (instance.id,)).fetchone():
                raise Conflict(f"The instance {instance.id} is registered already.")
            _check_home(db, instance)
            db.execute(f"INSERT INTO instances ({_COLUMNS}) VALUES ({_PLACES})", _row(instance))
            write_entry(db, entry)

        await self._change(instance, change)

    async def find(self, instance_id: str) -> Instance | None:
        """The instance of that id, from memory where it was read before; revoked ones, too."""
        found = self._rows.get(instance_id)
        if found:
            return found
        changes = self._rows.changes
        found = await self._readers.run(_find, instance_id)
        if found:
            self._rows.put(instance_id, found, changes)
        return found

    async def page(self, account_id: str | None = None, *, after: str = "", limit: int = -1) -> list[Instance]:
        """Instances of one account or of all, in the order of their ids, those after `after`; all where negative."""
        return await self._readers.run(_page, account_id, after, limit)

    async def update(self, instance: Instance, actor: str, action: str) -> None:
        """Replaces name, pinned keys, URLs, cap and revocation. Raises NotFound and Conflict."""
        entry = LogEntry(self._now_ms(), actor, action, instance.id, _detail(instance))

        def change(books: Transaction) -> None:
            db = books.db
            _check_home(db, instance)
            done = db.execute(
                "UPDATE instances SET name = ?, pinned_keys = ?, jwks_url = ?, push_url = ?, cap = ?, revoked_at = ? "
                "WHERE id = ?",
                (
                    instance.name,
                    instance.pinned_keys,
                    instance.jwks_url,
                    instance.push_url,
                    instance.cap,
                    instance.revoked_at,
                    instance.id,
                ),
            )
            if not done.rowcount:
                raise NotFound(f"There is no instance {instance.id}.")
            write_entry(db, entry)

        await self._change(instance, change)

    async def keep_jwks(self, instance_id: str, jwks: str, fetched_at: int) -> None:
        """Keeps the set that was fetched last. Raises the generation only where it differs from the one before."""
        before = await self.find(instance_id)
        changed = before is None or before.jwks != jwks

        def change(books: Transaction) -> None:
            books.db.execute(
                "UPDATE instances SET jwks = ?, jwks_fetched_at = ? WHERE id = ?", (jwks, fetched_at, instance_id)
            )

        def done() -> None:
            self.generation += changed
            self._rows.forget(lambda row: row.id == instance_id)

        await write(self._committer, change, done)

    async def home(self, account_id: str) -> Instance | None:
        """The account's instance that records are sent to, from memory where it was asked for before."""
        known = self._homes.get(account_id)
        if known:
            return known.instance
        changes = self._homes.changes
        instance = await self._readers.run(_home, account_id)
        self._homes.put(account_id, _Home(account_id, instance), changes)
        return instance

    async def revoke_jti(self, instance_id: str, jti: str, expires_at: int, actor: str) -> None:
        """Ends one bearer before its time; forgotten once it would have expired (milliseconds) anyway."""
        now = self._now_ms()
        entry = LogEntry(now, actor, "instance.revoke_token", instance_id, {"jti": jti})

        def change(books: Transaction) -> None:
            db = books.db
            db.execute("DELETE FROM revoked_jtis WHERE expires_at <= ?", (now,))
            row = (instance_id, jti, now, expires_at)
            db.execute(
                "INSERT OR IGNORE INTO revoked_jtis (issuer, jti, revoked_at, expires_at) VALUES (?, ?, ?, ?)", row
            )
            write_entry(db, entry)

        def done() -> None:
            self.generation += 1

        await write(self._committer, change, done)

    async def is_revoked(self, instance_id: str, jti: str) -> bool:
        """Whether that bearer was revoked."""
        return await self._readers.run(_is_revoked, instance_id, jti)

    async def _change(self, instance: Instance, change: Callable[[Transaction], None]) -> None:
        def done() -> None:
            self.generation += 1
            self._rows.forget(lambda row: row.id == instance.id)
            self._homes.forget(lambda home: home.account_id == instance.account_id)

        await write(self._committer, change, done)


def _detail(instance: Instance) -> dict[str, Any]:
    return {
        "account": instance.account_id,
        "kind": instance.kind,
        "name": instance.name,
        "jwks_url": instance.jwks_url,
        "push_url": instance.push_url,
        "cap": None if instance.cap is None else str(instance.cap),
        "revoked_at": instance.revoked_at,
    }


def _check_home(db: sqlite3.Connection, instance: Instance) -> None:
    if instance.push_url is None or instance.revoked_at is not None:
        return
    other = db.execute(f"SELECT id FROM instances WHERE {_HOME} AND id <> ?", (instance.account_id, instance.id))
    if row := other.fetchone():
        raise Conflict(f"The account's records go to the instance {row[0]} already.", param="push_url")


def _row(instance: Instance) -> tuple[Any, ...]:
    return (
        instance.id,
        instance.account_id,
        instance.kind,
        instance.name,
        instance.created_at,
        instance.pinned_keys,
        instance.jwks_url,
        instance.jwks,
        instance.jwks_fetched_at,
        instance.push_url,
        instance.cap,
        instance.revoked_at,
    )


def _instance(row: tuple[Any, ...]) -> Instance:
    return msgspec.convert(dict(zip(Instance.__struct_fields__, row, strict=True)), Instance)


def _find(db: sqlite3.Connection, instance_id: str) -> Instance | None:
    row = db.execute(f"SELECT {_COLUMNS} FROM instances WHERE id = ?", (instance_id,)).fetchone()
    return _instance(row) if row else None


def _home(db: sqlite3.Connection, account_id: str) -> Instance | None:
    row = db.execute(f"SELECT {_COLUMNS} FROM instances WHERE {_HOME}", (account_id,)).fetchone()
    return _instance(row) if row else None


def _page(db: sqlite3.Connection, account_id: str | None, after: str, limit: int) -> list[Instance]:
    sql = f"SELECT {_COLUMNS} FROM instances WHERE id > ?"
    values: list[Any] = [after]
    if account_id is not None:
        sql += " AND account_id = ?"
        values.append(account_id)
    return [_instance(row) for row in db.execute(f"{sql} ORDER BY id LIMIT ?", (*values, limit))]


def _is_revoked(db: sqlite3.Connection, instance_id: str, jti: str) -> bool:
    sql = "SELECT 1 FROM revoked_jtis WHERE issuer = ? AND jti = ?"
    return db.execute(sql, (instance_id, jti)).fetchone() is not None
