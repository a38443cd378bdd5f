"""Answers kept for Idempotency-Keys: `ports.Answers` on SQLite."""

import asyncio
from functools import partial

from gateway_core.store.books import Transaction
from gateway_core.store.committer import Committer
from gateway_core.store.directory import WriteOp, write
from gateway_core.store_ports import AnswerPlace, KeptAnswer

_COLUMNS = "scope, key, account_id, body_hash, request_id, created_at, expires_at, answer"
_SELECT = f"SELECT {_COLUMNS} FROM idempotency WHERE scope = ? AND key = ?"
_INSERT = f"INSERT INTO idempotency ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, NULL)"
_KEEP = "UPDATE idempotency SET answer = ? WHERE scope = ? AND key = ? AND request_id = ? AND answer IS NULL"
_FORGET = "DELETE FROM idempotency WHERE scope = ? AND key = ? AND request_id = ?"
_PRUNE = (
    "DELETE FROM idempotency WHERE rowid IN "
    "(SELECT rowid FROM idempotency WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)"
)


class SqliteAnswers:
    """The kept answers of one store that is open. All of it goes through the writer, so nothing is raced."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer

    async def claim(self, place: AnswerPlace) -> AnswerPlace | None:
        """Takes the place, or returns what is there."""
        found: AnswerPlace | None = await write(self._committer, partial(_claim, place=place))
        return found

    def forget(self, scope: str, key: str, request_id: str) -> "asyncio.Future[None]":
        """Frees the place, if it is still that call's."""

        def change(books: Transaction) -> None:
            books.db.execute(_FORGET, (scope, key, request_id))

        op = WriteOp(change, None, self._committer.future())
        self._committer.submit(op)
        return op.future

    async def prune(self, now_ms: int, limit: int) -> int:
        """Removes at most `limit` places that have expired."""

        def change(books: Transaction) -> int:
            return books.db.execute(_PRUNE, (now_ms, limit)).rowcount

        removed: int = await write(self._committer, change)
        return removed


def keep(books: Transaction, kept: KeptAnswer) -> None:
    """Puts a sealed answer into its place, where its account has room for it."""
    place = kept.place
    sql = "SELECT answers, bytes FROM idempotency_kept WHERE account_id = ?"
    answers, size = books.db.execute(sql, (place.account_id,)).fetchone() or (0, 0)
    if answers < kept.most_answers and size + len(kept.sealed) <= kept.most_bytes:
        books.db.execute(_KEEP, (kept.sealed, place.scope, place.key, place.request_id))


def _claim(books: Transaction, place: AnswerPlace) -> AnswerPlace | None:
    row = books.db.execute(_SELECT, (place.scope, place.key)).fetchone()
    if row:
        found = AnswerPlace(*row)
        if found.expires_at > place.created_at:
            return found
        books.db.execute(_FORGET, (found.scope, found.key, found.request_id))
    columns = (place.scope, place.key, place.account_id, place.body_hash, place.request_id)
    books.db.execute(_INSERT, (*columns, place.created_at, place.expires_at))
    return None
