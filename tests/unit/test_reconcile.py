"""Reconciliation names every kind of tampering, and where it is."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType

import pytest

from gateway_core.money import Units
from gateway_core.store import kinds, totals
from gateway_core.store.sqlite import SqliteStore
from gateway_core.store_ports import Store
from gateway_core.testing import samples
from gateway_core.testing.calls import MONTH, hold, settlement, spend
from gateway_core.testing.clock import ManualClock


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = SqliteStore(tmp_path / "store.sqlite3", ManualClock(samples.STARTED_AT))
    await store.open()
    await store.directory.create_account(samples.account(monthly_credit=Units(40)), "test")
    for number in range(1, 4):
        await spend(store, hold(f"req_{number}"), 30)
    yield store
    await store.close()


def tamper(path: Path, statement: str) -> None:
    """Changes the file behind the store's back, past the triggers that guard it."""
    db = sqlite3.connect(path)
    with db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")]
        for name in names:
            db.execute(f"DROP TRIGGER {name}")
        db.execute("PRAGMA ignore_check_constraints = ON")
        db.execute(statement)
    db.close()


async def test_nothing_is_found_where_nothing_was_changed(store: Store) -> None:
    assert await store.ledger.reconcile() == []


@pytest.mark.parametrize(
    ("statement", "where"),
    [
        ("UPDATE ledger_rows SET charge = charge + 1 WHERE id = 'req_2'", "ledger req_2"),
        ("UPDATE ledger_rows SET charge = 500 WHERE id = 'req_3'", "ledger req_3"),
        ("UPDATE ledger_rows SET output = output + 1 WHERE id = 'req_2'", "rollups_daily acct_sample 2026-11-22"),
        ("UPDATE ledger_rows SET generated_output = 1 WHERE id = 'req_2'", "ledger req_2"),
        ("UPDATE call_kinds SET month = '2026-10'", "account_months acct_sample 2026-10"),
        ("UPDATE call_kinds SET model = 'other'", "ledger req_2"),
        ("UPDATE ledger_rows SET kind = kind + 1 WHERE id = 'req_2'", "records acct_sample req_2"),
        ("DELETE FROM ledger_rows WHERE id = 'req_2'", "records acct_sample req_2"),
        ("UPDATE ledger_rows SET credit_used = 30", "ledger acct_sample 2026-11"),
        ("UPDATE account_months SET settled = '91'", "account_months acct_sample 2026-11"),
        ("UPDATE account_months SET credit_granted = 41", "account_months acct_sample 2026-11"),
        ("UPDATE credit_grants SET amount = 41", "account_months acct_sample 2026-11"),
        ("DELETE FROM account_months", "account_months acct_sample 2026-11"),
        ("INSERT INTO account_months VALUES ('acct_x', '2026-11', 1, '5', 0, 0)", "account_months acct_x 2026-11"),
        ("UPDATE rollups_daily SET charge = '89'", "rollups_daily acct_sample 2026-11-22 key_sample demo self-host"),
        ("UPDATE rollups_daily SET loss = '1'", "rollups_daily acct_sample 2026-11-22 key_sample demo self-host"),
        ("UPDATE records SET body = x'7b7d' WHERE sequence = 2", "records acct_sample 2"),
        ("UPDATE records SET hash = x'00' WHERE sequence = 2", "records acct_sample 2"),
        ("DELETE FROM records WHERE sequence = 2", "records acct_sample 3"),
        ("DELETE FROM records WHERE sequence = 3", "heads acct_sample"),
        ("UPDATE heads SET sequence = 4", "heads acct_sample"),
        ("DELETE FROM heads", "heads acct_sample"),
        ("UPDATE records SET sequence = 9 WHERE sequence = 3", "records acct_sample 9"),
        ("DELETE FROM record_hours", "record_hours acct_sample th_audit_api_usage"),
        ("UPDATE record_hours SET first = 2", "record_hours acct_sample th_audit_api_usage"),
        ("INSERT INTO open_calls VALUES ('req_2', 'boot_x', x'00')", "open_calls req_2"),
    ],
)
async def test_tampering_is_found_where_it_was_done(store: Store, tmp_path: Path, statement: str, where: str) -> None:
    tamper(tmp_path / "store.sqlite3", statement)
    findings = await store.ledger.reconcile()
    assert any(finding.where.startswith(where) for finding in findings), findings


async def test_a_finding_says_what_was_expected_and_what_is_there(store: Store, tmp_path: Path) -> None:
    await store.ledger.settle(settlement(hold("req_4"), 10))
    tamper(tmp_path / "store.sqlite3", "UPDATE account_months SET settled = '7'")
    (finding,) = await store.ledger.reconcile()
    assert (finding.what, finding.expected, finding.found) == ("settled is the ledger's sum", "100", "7")


@pytest.mark.parametrize("module", [totals, kinds])
async def test_totals_agree_where_more_is_posted_than_is_remembered(
    store: Store, monkeypatch: pytest.MonkeyPatch, module: ModuleType
) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 2)
    for turn in range(3):
        for number in range(5):
            held = hold(f"req_{turn}_{number}", account_id=f"acct_{number}", bearer_id=f"key_{turn % 2}")
            await store.ledger.settle(settlement(held, 7))
    assert await store.ledger.reconcile() == []
    assert (await store.ledger.month("acct_4", MONTH)).settled == 21
