"""The embedded store keeps the contract of `ports.Store`."""

import asyncio
from pathlib import Path

from gateway_core.store.sqlite import SqliteStore
from gateway_core.store_ports import Store
from gateway_core.testing.calls import hold, settlement
from gateway_core.testing.clock import ManualClock
from gateway_core.testing.store_suite import StoreSuite


class TestSqliteStore(StoreSuite):
    """With the default window."""

    def make(self, home: Path, clock: ManualClock) -> Store:
        return SqliteStore(home / "store.sqlite3", clock)


class TestSqliteStoreWithoutWindow(StoreSuite):
    """Every row commits at once: nothing may depend on rows that share a commit."""

    def make(self, home: Path, clock: ManualClock) -> Store:
        return SqliteStore(home / "store.sqlite3", clock, 0)


async def test_streams_one_after_another_wait_for_no_window(tmp_path: Path) -> None:
    """A stream's own end is not a row that its beginning would have to wait for: its first byte would wait, too."""
    store = SqliteStore(tmp_path / "store.sqlite3", ManualClock(), 3_600_000)
    await store.open()
    async with asyncio.timeout(30):
        for number in range(8):
            held = hold(f"req_{number}", stream=True)
            await store.ledger.hold(held)
            await store.ledger.open(held)
            await store.ledger.settle(settlement(held, 5))
    await store.close()
