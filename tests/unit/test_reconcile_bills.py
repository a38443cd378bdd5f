"""Reconciliation names what is wrong with the parts of an invoice: lines, adjustments, subscriptions, grants."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway_core.store.sqlite import SqliteStore
from gateway_core.store_ports import Store
from gateway_core.testing import samples
from gateway_core.testing.billing_suite import ACCOUNT, adjustment, subscription
from gateway_core.testing.calls import hold, spend
from gateway_core.testing.clock import ManualClock


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = SqliteStore(tmp_path / "store.sqlite3", ManualClock(samples.STARTED_AT))
    await store.open()
    await store.directory.create_account(samples.account(), "test")
    await store.subscriptions.start(subscription(), "test")
    await store.subscriptions.change(ACCOUNT, "suspended", "test")
    for number in range(1, 4):
        await spend(store, hold(f"req_{number}", model=f"m{number % 2}"), 30)
    await store.adjustments.add(adjustment("a", -20, refers_to="req_1"))
    await store.adjustments.add(adjustment("b", 5, kind="reversal", refers_to="adj_a"))
    yield store
    await store.close()


def tamper(path: Path, statement: str) -> None:
    """Changes the file behind the store's back, past the triggers and checks that guard it."""
    db = sqlite3.connect(path)
    with db:
        for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        db.execute("PRAGMA ignore_check_constraints = ON")
        db.execute(statement)
    db.close()


async def test_nothing_is_found_where_nothing_was_changed(store: Store) -> None:
    assert await store.ledger.reconcile() == []


@pytest.mark.parametrize(
    ("statement", "where", "what"),
    [
        ("UPDATE rollups_daily SET charge = '31' WHERE model = 'm0'", "invoice acct_sample 2026-11 m0", "ledger's sum"),
        ("UPDATE rollups_daily SET day = '2026-10-22'", "invoice acct_sample 2026-10 m0", "ledger's sum"),
        ("UPDATE ledger_rows SET charge = 40 WHERE id = 'req_2'", "invoice acct_sample 2026-11 m0", "ledger"),
        (
            """UPDATE records SET body = CAST('{"cost_usd":"0.5"}' AS BLOB) WHERE id = 'req_2'""",
            "invoice acct_sample 2026-11 m0",
            "records' sum",
        ),
        ("DELETE FROM records WHERE id = 'req_2'", "invoice acct_sample 2026-11 m0", "records' sum"),
        ("UPDATE records SET body = x'7b7d' WHERE id = 'req_2'", "invoice acct_sample 2026-11 m0", "records' sum"),
        ("UPDATE adjustments SET units = -19 WHERE id = 'adj_a'", "adjustments adj_a", "says what the row says"),
        ("UPDATE adjustments SET units = -90 WHERE id = 'adj_a'", "adjustments adj_a", "than the call cost"),
        ("UPDATE adjustments SET units = -4 WHERE id = 'adj_a'", "adjustments adj_a", "reversed than was given"),
        ("UPDATE adjustments SET units = 4 WHERE id = 'adj_a'", "adjustments adj_a", "the others are below"),
        ("UPDATE adjustments SET sequence = 9 WHERE id = 'adj_a'", "adjustments adj_a", "in its place"),
        ("DELETE FROM adjustments WHERE id = 'adj_b'", "records acct_sample adj_b", "the adjustment is there"),
        ("DELETE FROM records WHERE id = 'adj_b'", "adjustments adj_b", "has its record"),
        ("UPDATE subscriptions SET status = 'active'", "subscriptions sub_a", "last of its history"),
        ("UPDATE subscriptions SET status = 'cancelled'", "subscriptions sub_a", "ends where it is cancelled"),
        ("UPDATE subscriptions SET ends_at = 5", "subscriptions sub_a", "after it began"),
        ("DELETE FROM credit_grants", "account_months acct_sample 2026-11", "grant that was made"),
        (
            "INSERT INTO credit_grants VALUES ('acct_sample', '2026-12', 5, 0)",
            "account_months acct_sample 2026-12",
            "the row is there",
        ),
    ],
)
async def test_tampering_is_found_where_it_was_done(
    store: Store, tmp_path: Path, statement: str, where: str, what: str
) -> None:
    tamper(tmp_path / "store.sqlite3", statement)
    findings = await store.ledger.reconcile()
    assert any(finding.where == where and what in finding.what for finding in findings), findings
