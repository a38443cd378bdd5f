"""The house's loss per account and day: what calls cost beyond what they were charged, bounded by configuration.

A stream that is cut before its provider reports usage can hide reasoning that the house pays for. What each account
has cost it in this way today is counted here, in memory, from the ledger's own rollups at the start; beyond the bound
the account's calls are refused until the next UTC day.
"""

from gateway_core.clock import DAY_MS, day_of
from gateway_core.errors import RateLimited
from gateway_core.money import Units, usd
from gateway_core.ports import Clock
from gateway_core.store_ports import Store
from gateway_core.types import Call, Settlement

_DAYS = 2
"""Days that are remembered: around midnight calls of two are settled."""


class Losses:
    """What every account's calls of today have cost the house. `most` is the bound; None: there is none."""

    def __init__(self, store: Store, most: Units | None, clock: Clock) -> None:
        self._store = store
        self._most = most
        self._clock = clock
        #: Whether any account has cost the house anything lately.
        self.any = False
        #: Day, by its number → account → units.
        self._days: dict[int, dict[str, int]] = {}

    async def load(self) -> None:
        """Reads what the store has of today."""
        if self._most is None:
            return
        now = self._clock.now_ms()
        today = day_of(now)
        rows = await self._store.reports.totals(None, today, today, ["account"])
        # The rollups say whose calls cost the house anything; the few rows behind that, which of them were cut.
        lossy = [row.account_id for row in rows if row.loss]
        midnight = now - now % DAY_MS
        lost = {account: await self._store.ledger.lost(account, midnight) for account in lossy}
        self._days = {now // DAY_MS: lost}
        self.any = bool(lossy)

    def note(self, settlement: Settlement) -> None:
        """Adds a call's loss to its account's day. One that was delivered whole has hidden nothing: what it cost
        beyond its hold is its provider's doing."""
        if self._most is None or not settlement.loss or settlement.outcome == "ok":
            return
        hold = settlement.hold
        accounts = self._days.setdefault(hold.started_at // DAY_MS, {})
        accounts[hold.account_id] = accounts.get(hold.account_id, 0) + settlement.loss
        self.any = True
        while len(self._days) > _DAYS:
            del self._days[min(self._days)]

    def check(self, call: Call, tier: str) -> None:
        """Raises RateLimited where the account has cost the house as much today as it may."""
        if self._most is None:
            return
        accounts = self._days.get(call.started_at // DAY_MS)
        lost = None if accounts is None else accounts.get(call.account.id)
        if lost is not None and lost >= self._most:
            raise RateLimited(
                f"Calls of this account that were cut off have cost {usd(self._most)} USD today (UTC) beyond what they "
                "were charged, and that is its bound: it is served again tomorrow; or ask this gateway's operator.",
                retry_after=-(-(DAY_MS - call.started_at % DAY_MS) // 1000),
                should_retry=False,
                tier=tier,
            )
