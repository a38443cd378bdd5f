"""What is settled and held of each account and bearer in a month, in memory: what a hold is checked against.

One process owns the home, so this is exact: an entry is loaded through the writer (in the order of its commits), and
an entry with anything held is never evicted.
"""

from gateway_core.clock import day_of
from gateway_core.errors import QuotaExceeded
from gateway_core.money import UNITS_PER_USD, usd
from gateway_core.types import Hold

Key = tuple[str, ...]
"""(account, month), (account, bearer, month) or (account, tier, day)."""

_MOST_LOOKED_AT = 64
"""Entries that one eviction looks at, so that it stays short when nearly all are in use."""


class Entry:
    """A month of an account or of a bearer, or a day of a tier. `settled` is None until it was read from the store."""

    __slots__ = ("held", "holds", "settled")

    def __init__(self) -> None:
        self.settled: int | None = None
        self.held = 0
        self.holds = 0


class Balances:
    """The months that holds are taken out of. At most `limit` entries that nothing is held of."""

    def __init__(self, limit: int = 50_000) -> None:
        self._limit = limit
        self._entries: dict[Key, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def missing(self, hold: Hold) -> list[Key]:
        """The entries that must be loaded before this hold can be checked."""
        if len(self._entries) > self._limit:
            self._make_room()
        keys: list[Key] = []
        if hold.account_cap is not None and self._entry((hold.account_id, hold.month)).settled is None:
            keys.append((hold.account_id, hold.month))
        if hold.bearer_cap is not None:
            key = (hold.account_id, hold.bearer_id, hold.month)
            if self._entry(key).settled is None:
                keys.append(key)
        if hold.day_cap is not None and self._entry(_day(hold)).settled is None:
            keys.append(_day(hold))
        return keys

    def loaded(self, key: Key, settled: int) -> None:
        """An entry as the writer read it."""
        self._entry(key).settled = settled

    def headroom(self, hold: Hold) -> int | None:
        """Units that the tighter cap affords beyond what is settled and held; None without a cap."""
        rooms = []
        if hold.account_cap is not None:
            entry = self._entry((hold.account_id, hold.month))
            rooms.append(hold.account_cap - (entry.settled or 0) - entry.held)
        if hold.bearer_cap is not None:
            entry = self._entry((hold.account_id, hold.bearer_id, hold.month))
            rooms.append(hold.bearer_cap - (entry.settled or 0) - entry.held)
        if hold.day_cap is not None:
            entry = self._entry(_day(hold))
            rooms.append(hold.day_cap - (entry.settled or 0) - entry.held)
        return max(0, min(rooms)) if rooms else None

    def take(self, hold: Hold, *, checked: bool = True) -> tuple[Entry, ...] | None:
        """Takes the hold, once: the entries that it was taken out of, or None where one is `missing`.

        Raises QuotaExceeded. Unchecked for one that an earlier boot took.
        """
        account_id, month, amount = hold.account_id, hold.month, hold.amount
        key = (account_id, month)
        account = self._entries.get(key) or self._entry(key)
        bearers = (account_id, hold.bearer_id, month)
        bearer = self._entries.get(bearers) or self._entry(bearers)
        entries: tuple[Entry, ...] = (account, bearer)
        if hold.day_cap is not None:
            day = self._entry(_day(hold))
            entries = (account, bearer, day)
            if checked and not _affords(hold.day_cap, day, amount, f"The {hold.tier} tier's daily budget", "today"):
                return None
        if checked:
            if hold.bearer_cap is not None and not _affords(hold.bearer_cap, bearer, amount, "This key's own cap"):
                return None
            cap = hold.account_cap
            if cap is not None and not _affords(cap, account, amount, "The account's monthly cap"):
                return None
        for entry in entries:
            entry.held += amount
            entry.holds += 1
        if len(self._entries) > self._limit:
            self._make_room()
        return entries

    def settle(self, entries: tuple[Entry, ...], amount: int, charge: int) -> None:
        """Ends a hold that was taken out of these; what was charged for it is on the ledger now."""
        for entry in entries:
            entry.held -= amount
            entry.holds -= 1
            if entry.settled is not None:
                entry.settled += charge

    def charge(self, hold: Hold, charge: int) -> None:
        """The charge of a call that holds nothing here is on the ledger now."""
        keys: list[Key] = [(hold.account_id, hold.month), (hold.account_id, hold.bearer_id, hold.month)]
        if hold.day_cap is not None:
            keys.append(_day(hold))
        for key in keys:
            entry = self._entries.get(key)
            if entry and entry.settled is not None:
                entry.settled += charge

    def held_of(self, account_id: str, month: str) -> int:
        """Units held of an account's month."""
        entry = self._entries.get((account_id, month))
        return entry.held if entry else 0

    def open_of(self, account_id: str, month: str) -> int:
        """Calls of an account's month that hold something and are not settled."""
        entry = self._entries.get((account_id, month))
        return entry.holds if entry else 0

    def distrust(self) -> None:
        """What is settled is read again: a commit's fate was unknown."""
        for entry in self._entries.values():
            entry.settled = None

    def _entry(self, key: Key) -> Entry:
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = Entry()
        return entry

    def _make_room(self) -> None:
        """Drops old entries that nothing is held of; the others move to the end.

        Never while a hold is taken: what it is taken out of must be what the next one is checked against.
        """
        oldest = [key for key, _ in zip(self._entries, range(_MOST_LOOKED_AT), strict=False)]
        for key in oldest:
            entry = self._entries.pop(key)
            if entry.holds:
                self._entries[key] = entry


def _day(hold: Hold) -> Key:
    return (hold.account_id, hold.tier, day_of(hold.started_at))


def _affords(cap: int, entry: Entry, amount: int, what: str, when: str = "this month") -> bool:
    """False where what is settled must be read first. Raises QuotaExceeded."""
    if entry.settled is None:
        return False
    if entry.settled + entry.held + amount <= cap:
        return True
    left = max(0, cap - entry.settled - entry.held)
    raise QuotaExceeded(
        f"{what} would be passed: this call may cost up to {_shown(amount)} USD and {_shown(left)} USD of "
        f"{_shown(cap)} USD is left {when} (UTC), what open calls hold counted as spent."
    )


def _shown(amount: int) -> str:
    """An amount for a person: to the hundredth of a cent where it is that large, else exact."""
    return usd(amount - amount % (UNITS_PER_USD // 10_000)) if amount >= UNITS_PER_USD // 10_000 else usd(amount)
