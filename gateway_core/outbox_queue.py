"""Which accounts one sink is to be told of next: each at most once at a time, and none before its pause is over."""

import asyncio
import heapq
from collections.abc import Iterator

from gateway_core.store_ports import SinkFailure


class AccountQueue:
    """Accounts with something to tell, in the order in which they came; bounded by the number of accounts."""

    def __init__(self) -> None:
        self.waiting: dict[str, None] = {}
        #: Account → whether something came while it is being told.
        self.busy: dict[str, bool] = {}
        #: Account → the monotonic second at which its pause is over.
        self.paused: dict[str, float] = {}
        #: Failures in a row, also of accounts that are being tried again.
        self.failures: dict[str, SinkFailure] = {}
        #: Busy accounts that were to be asked again at once, though they were being told just then.
        self._excused: set[str] = set()
        self.wake = asyncio.Event()
        self._due: list[tuple[float, str]] = []

    def add(self, account_id: str) -> None:
        """Something is to be told of this account."""
        if account_id in self.busy:
            self.busy[account_id] = True
        elif account_id not in self.paused and account_id not in self.waiting:
            self.waiting[account_id] = None
            self.wake.set()

    def take(self, at_once: int) -> Iterator[str]:
        """The next accounts to tell of, so that `at_once` are under way; each until `done` or `pause`."""
        while self.waiting and len(self.busy) < at_once:
            account_id = next(iter(self.waiting))
            del self.waiting[account_id]
            self.busy[account_id] = False
            yield account_id

    def done(self, account_id: str, *, more: bool) -> SinkFailure | None:
        """It took what it was given; with `more` it waits again, behind the others. Returns the failure before."""
        if self.busy.pop(account_id) or more:
            self.waiting[account_id] = None
        self._excused.discard(account_id)
        self.wake.set()
        return self.failures.pop(account_id, None)

    def pause(self, account_id: str, failure: SinkFailure, until: float) -> None:
        """It is not to be told of this account before `until`, unless pauses were ended while it was told."""
        self.busy.pop(account_id, None)
        self.waiting.pop(account_id, None)
        self.failures[account_id] = failure
        if account_id in self._excused:
            self._excused.discard(account_id)
            self.add(account_id)
            return
        self.paused[account_id] = until
        heapq.heappush(self._due, (until, account_id))
        self.wake.set()

    def resume(self, now: float) -> None:
        """Lets those wait whose pause is over."""
        while self._due and self._due[0][0] <= now:
            until, account_id = heapq.heappop(self._due)
            if self.paused.get(account_id) == until:
                del self.paused[account_id]
                self.add(account_id)

    def resume_all(self) -> None:
        """Ends every pause, and the one that would follow where somebody is being told just now."""
        self._excused.update(self.busy)
        paused, self.paused, self._due = self.paused, {}, []
        for account_id in paused:
            self.add(account_id)

    def next_due(self) -> float | None:
        """When the first pause is over."""
        return self._due[0][0] if self._due else None
