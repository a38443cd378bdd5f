"""The embedded store keeps the contract of `ports.Store`."""

from pathlib import Path

from gateway_core.ports import Store
from gateway_core.store.sqlite import SqliteStore
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
