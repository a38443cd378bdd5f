"""Stretches of plans: `ports.Subscriptions` on SQLite."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from gateway_core.clock import month_of
from gateway_core.errors import Conflict, NotFound
from gateway_core.money import usd
from gateway_core.store.books import Transaction
from gateway_core.store.committer import Committer
from gateway_core.store.directory import SqliteDirectory, write
from gateway_core.store.operator_log import write_entry
from gateway_core.store.readers import Readers
from gateway_core.store.subscription_rows import SUBSCRIPTION, subscription_row, to_subscription
from gateway_core.store_ports import LogEntry, SubscriptionChange
from gateway_core.types import Subscription, SubscriptionStatus

_LATEST = f"SELECT {SUBSCRIPTION} FROM subscriptions WHERE account_id = ? ORDER BY started_at DESC, id DESC LIMIT 1"
_ACTIONS: dict[SubscriptionStatus, str] = {
    "active": "subscription.resume",
    "suspended": "subscription.suspend",
    "cancelled": "subscription.cancel",
}


class SqliteSubscriptions:
    """The subscriptions of one store that is open."""

    def __init__(
        self, committer: Committer, readers: Readers, directory: SqliteDirectory, now_ms: Callable[[], int]
    ) -> None:
        self._committer = committer
        self._readers = readers
        self._directory = directory
        self._now_ms = now_ms

    async def start(
        self, subscription: Subscription, actor: str, *, action: str = "subscription.start"
    ) -> Subscription:
        """Begins a stretch and grants the month it begins in, where that has no credit. Raises NotFound, Conflict."""
        account_id = subscription.account_id

        def change(books: Transaction) -> Subscription:
            db = books.db
            if not db.execute("SELECT 1 FROM accounts WHERE id = ?", (account_id,)).fetchone():
                raise NotFound(f"There is no account {account_id}.")
            latest = db.execute(_LATEST, (account_id,)).fetchone()
            if latest and latest[0] == subscription.id:
                return to_subscription(latest)  # its commit seemed to fail and had landed
            begun = _after(latest, subscription)
            row = subscription_row(begun)
            db.execute(f"INSERT INTO subscriptions ({SUBSCRIPTION}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            _note(db, begun, actor, begun.started_at)
            write_entry(db, LogEntry(begun.started_at, actor, action, account_id, _detail(begun)))
            books.forget_account(account_id)
            books.grant(account_id, month_of(begun.started_at), actor)
            return begun

        return await self._change(account_id, change)

    async def change(self, account_id: str, status: SubscriptionStatus, actor: str) -> Subscription:
        """Cancels, suspends or resumes the stretch that goes on. Raises NotFound, Conflict."""
        now = self._now_ms()

        def change(books: Transaction) -> Subscription:
            db = books.db
            latest = db.execute(_LATEST, (account_id,)).fetchone()
            if not latest:
                raise NotFound("The account never had a subscription.")
            before = to_subscription(latest)
            if before.status in (status, "cancelled"):
                raise Conflict(f"The subscription to the plan {before.plan} is {before.status} already.")
            ends_at = max(now, before.started_at) if status == "cancelled" else None
            after = msgspec.structs.replace(before, status=status, ends_at=ends_at)
            db.execute("UPDATE subscriptions SET status = ?, ends_at = ? WHERE id = ?", (status, ends_at, before.id))
            _note(db, after, actor, now)
            write_entry(db, LogEntry(now, actor, _ACTIONS[status], account_id, {"id": after.id, "plan": after.plan}))
            books.forget_account(account_id)
            return after

        return await self._change(account_id, change)

    async def current(self, account_id: str) -> Subscription | None:
        """The account's latest stretch, a cancelled one too."""
        return await self._readers.run(_current, account_id)

    async def stretches(self, account_id: str) -> list[Subscription]:
        """All of an account's, in the order in which they began."""
        return await self._readers.run(_stretches, account_id)

    async def history(self, account_id: str) -> list[SubscriptionChange]:
        """Every change of an account's stretches, the oldest first."""
        return await self._readers.run(_history, account_id)

    async def _change(self, account_id: str, change: Callable[[Transaction], Subscription]) -> Subscription:
        changed: Subscription = await write(self._committer, change, lambda: self._directory.forget_account(account_id))
        return changed


def _after(latest: Sequence[Any] | None, subscription: Subscription) -> Subscription:
    """The stretch as it can begin: after the latest one, also where the clock was set back. Raises Conflict."""
    if latest is None:
        return subscription
    before = to_subscription(latest)
    if before.ends_at is None:
        raise Conflict(f"The account is on the plan {before.plan} already: cancel that one first.")
    starts = max(subscription.started_at, before.ends_at, before.started_at + 1)
    return msgspec.structs.replace(subscription, started_at=starts)


def _detail(subscription: Subscription) -> dict[str, Any]:
    return {
        "id": subscription.id,
        "plan": subscription.plan,
        "fee_usd": usd(subscription.fee),
        "credit_usd": usd(subscription.credit),
        "cap_usd": None if subscription.cap is None else usd(subscription.cap),
    }


def _note(db: sqlite3.Connection, subscription: Subscription, actor: str, at: int) -> None:
    db.execute(
        "INSERT INTO subscription_history "
        "SELECT ?, coalesce(max(number), 0) + 1, ?, ?, ? FROM subscription_history WHERE subscription_id = ?",
        (subscription.id, at, subscription.status, actor, subscription.id),
    )


def _current(db: sqlite3.Connection, account_id: str) -> Subscription | None:
    row = db.execute(_LATEST, (account_id,)).fetchone()
    return to_subscription(row) if row else None


def _stretches(db: sqlite3.Connection, account_id: str) -> list[Subscription]:
    sql = f"SELECT {SUBSCRIPTION} FROM subscriptions WHERE account_id = ? ORDER BY started_at, id"
    return [to_subscription(row) for row in db.execute(sql, (account_id,))]


def _history(db: sqlite3.Connection, account_id: str) -> list[SubscriptionChange]:
    rows = db.execute(
        "SELECT h.subscription_id, h.at, h.status, h.actor FROM subscription_history h JOIN subscriptions s "
        "ON s.id = h.subscription_id WHERE s.account_id = ? ORDER BY s.started_at, s.id, h.number",
        (account_id,),
    )
    return [SubscriptionChange(*row) for row in rows]
