"""What providers must be told again in a later call, and no client gives back: kept by the account and a key."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

MOST_BYTES = 16 * 1024 * 1024


class ProviderMemory:
    """`ports.Memory`."""

    def __init__(self) -> None:
        self._recent: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._size = 0

    async def keep(self, account_id: str, entries: Mapping[str, bytes]) -> None:
        """Keeps them; what was used least lately gives way."""
        for key, value in entries.items():
            self._size += len(value) - len(self._recent.pop((account_id, key), b""))
            self._recent[account_id, key] = value
        while self._size > MOST_BYTES:
            self._size -= len(self._recent.popitem(last=False)[1])

    async def recall(self, account_id: str, keys: Sequence[str]) -> dict[str, bytes]:
        """Those that are kept, by key."""
        found = {key: self._recent[account_id, key] for key in keys if (account_id, key) in self._recent}
        for key in found:
            self._recent.move_to_end((account_id, key))
        return found
