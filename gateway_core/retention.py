"""Retention: what is past its time is removed by itself, a little at a time, so that no call feels it.

Records go from the beginning of each chain, and none that a sink is still to be told. The ledger itself stays.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from gateway_core.clock import DAY_MS
from gateway_core.config import RetentionConfig
from gateway_core.errors import StoreError
from gateway_core.outbox import Outbox
from gateway_core.ports import Clock
from gateway_core.store_ports import Store

log = logging.getLogger(__name__)

BATCH = 100
"""Rows that one write removes: a few milliseconds."""
PAUSE = 0.05
"""Seconds between two such writes."""
FIRST = 60.0
"""Seconds after the start: a command that has no server is done by then."""
EVERY = 3600.0


class Retention:
    """Looks through the store once an hour."""

    def __init__(
        self,
        store: Store,
        outbox: Outbox,
        config: RetentionConfig,
        clock: Clock,
        *,
        first: float = FIRST,
        every: float = EVERY,
        pause: float = PAUSE,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._config = config
        self._clock = clock
        self._times = (first, every, pause)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins, and runs until `stop`."""
        self._task = asyncio.create_task(self._run(), name="retention")

    async def stop(self) -> None:
        """Ends between two writes; what is left is removed another time."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        first, every, _ = self._times
        await asyncio.sleep(first)
        while True:
            try:
                removed = await self.look()
            except StoreError as error:
                log.warning("what is past its time could not be removed: %s", error)
            else:
                if removed:
                    log.info("removed what is past its time: %s", dict(removed))
            await asyncio.sleep(every)

    async def look(self) -> Counter[str]:
        """Removes all that is past its time now. How much of what."""
        removed: Counter[str] = Counter()
        retention, config = self._store.retention, self._config
        now = self._clock.now_ms()
        if config.records_days is not None:
            removed["records"] = await self._records(now - config.records_days * DAY_MS)
        if config.operator_log_days is not None:
            before = now - config.operator_log_days * DAY_MS
            removed["operator_log"] = await self._repeat(lambda: retention.prune("operator_log", before, BATCH))
        removed["revoked_jtis"] = await self._repeat(lambda: retention.prune("revoked_jtis", now, BATCH))
        removed["memories"] = await self._repeat(lambda: retention.prune("memories", now, BATCH))
        forget = now - config.anonymous_days * DAY_MS
        removed["day_keys"] = await self._repeat(lambda: retention.prune("day_keys", forget, BATCH))
        return +removed

    async def _records(self, before: int) -> int:
        removed, after = 0, ""
        while accounts := await self._store.retention.accounts(before, after=after, limit=BATCH):
            for account_id in accounts:
                # Looked at once an account: what is delivered meanwhile is removed an hour later.
                floor = await self._outbox.floor(account_id)
                removed += await self._repeat(self._prune(account_id, before, floor))
            after = accounts[-1]
        return removed

    def _prune(self, account_id: str, before: int, floor: int | None) -> Callable[[], Awaitable[int]]:
        return lambda: self._store.retention.prune_records(account_id, before, floor, BATCH)

    async def _repeat(self, prune: Callable[[], Awaitable[int]]) -> int:
        """Write after write, with a pause between them, until there is nothing left."""
        removed = 0
        while True:
            count = await prune()
            removed += count
            if count < BATCH:
                return removed
            await asyncio.sleep(self._times[2])
