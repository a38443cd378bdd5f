"""An open store for each test: what every suite of stores begins with."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway_core.store_ports import Store
from gateway_core.testing import samples
from gateway_core.testing.clock import ManualClock


class OpenedStore:
    """Makes stores, opens them, and looks at their books when they are closed."""

    def make(self, home: Path, clock: ManualClock) -> Store:
        """A store of yours that keeps everything in `home`; not open yet."""
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> ManualClock:
        """Stands at the sample instant."""
        return ManualClock(samples.STARTED_AT)

    @pytest.fixture
    async def store(self, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Store]:
        """An open store with the sample account."""
        async with self.opened(tmp_path, clock) as store:
            await store.directory.create_account(samples.account(), "test")
            yield store

    @asynccontextmanager
    async def opened(self, home: Path, clock: ManualClock) -> AsyncIterator[Store]:
        """Opens a store, and closes it without a difference left in its books."""
        store = self.make(home, clock)
        await store.open()
        try:
            yield store
            assert await store.ledger.reconcile() == []
        finally:
            await store.close()
