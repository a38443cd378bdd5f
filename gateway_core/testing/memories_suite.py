"""What every store must do with the providers' memory: a part of `StoreSuite`."""

import asyncio

from gateway_core.store_ports import MemoryBounds, MemoryEntry, Store
from gateway_core.testing import samples

NOW = samples.STARTED_AT
WIDE = MemoryBounds(1000, 1_000_000, 10_000_000)
PLENTY = 1_000_000


def entry(key: str, sealed: bytes = b"sealed", *, hours: int = 24) -> MemoryEntry:
    """One that is kept from the sample instant on."""
    return MemoryEntry(key.encode(), NOW + hours * 3_600_000, sealed)


async def kept(store: Store, account_id: str, *keys: str, now_ms: int = NOW) -> list[str]:
    """Those of the keys that are there, in the order in which they came."""
    found = await store.memories.recall(account_id, [key.encode() for key in keys], now_ms, PLENTY)
    return [each.key.decode() for each in found]


class MemoriesSuite:
    """The contract of `store_ports.Memories`."""

    async def test_what_is_kept_is_recalled_by_its_account_alone(self, store: Store) -> None:
        """The last keys first; those that are not there are left out."""
        first, second = entry("k1"), entry("k2", bytes(range(256)))
        await store.memories.keep("acct_sample", [first, second], WIDE)
        keys = [b"k1", b"nothing", b"k2"]
        assert await store.memories.recall("acct_sample", keys, NOW, PLENTY) == [second, first]
        assert await store.memories.recall("acct_other", keys, NOW, PLENTY) == []
        assert await store.memories.recall("acct_sample", [], NOW, PLENTY) == []

    async def test_the_latest_under_a_key_is_kept(self, store: Store) -> None:
        """It replaces what was there, and counts once."""
        for number in range(5):
            await store.memories.keep(
                "acct_sample", [entry("k1", b"%d" % number), entry("k2")], MemoryBounds(2, PLENTY, PLENTY)
            )
        assert (await store.memories.recall("acct_sample", [b"k1"], NOW, PLENTY)) == [entry("k1", b"4")]
        assert await kept(store, "acct_sample", "k1", "k2") == ["k2", "k1"]

    async def test_an_entry_ends(self, store: Store) -> None:
        """It is not found from then on, and retention removes it."""
        await store.memories.keep("acct_sample", [entry("k1", hours=1), entry("k2", hours=2)], WIDE)
        end = NOW + 3_600_000
        assert await kept(store, "acct_sample", "k1", "k2", now_ms=end - 1) == ["k2", "k1"]
        assert await kept(store, "acct_sample", "k1", "k2", now_ms=end) == ["k2"]
        assert await store.retention.prune("memories", end - 1, 10) == 0
        assert await store.retention.prune("memories", end, 10) == 1
        assert await store.retention.prune("memories", end + 3_600_000, 10) == 1
        assert await kept(store, "acct_sample", "k1", "k2") == []

    async def test_an_account_keeps_so_many_and_its_oldest_give_way(self, store: Store) -> None:
        """In number; another account has its own."""
        bounds = MemoryBounds(3, PLENTY, PLENTY)
        for number in range(1, 6):
            await store.memories.keep("acct_sample", [entry(f"k{number}", hours=number)], bounds)
        await store.memories.keep("acct_other", [entry("k1")], bounds)
        assert await kept(store, "acct_sample", *(f"k{number}" for number in range(1, 6))) == ["k5", "k4", "k3"]
        assert await kept(store, "acct_other", "k1") == ["k1"]

    async def test_an_account_keeps_so_many_bytes(self, store: Store) -> None:
        """What is removed makes room again."""
        bounds = MemoryBounds(1000, 4000, PLENTY)
        for number in range(1, 5):
            await store.memories.keep("acct_sample", [entry(f"k{number}", b"x" * 1000, hours=number)], bounds)
        assert await kept(store, "acct_sample", "k1", "k2", "k3", "k4") == ["k4", "k3", "k2"]
        await store.retention.prune("memories", NOW + 3 * 3_600_000, 10)
        await store.memories.keep("acct_sample", [entry("k5", b"x" * 1000), entry("k6", b"x" * 1000)], bounds)
        assert await kept(store, "acct_sample", "k4", "k5", "k6") == ["k6", "k5", "k4"]

    async def test_beyond_the_bound_in_all_who_keeps_most_gives_way(self, store: Store) -> None:
        """So whoever floods it loses what is their own."""
        bounds = MemoryBounds(1000, PLENTY, 12_000)
        await store.memories.keep("acct_sample", [entry("mine", b"x" * 1000, hours=1)], bounds)
        for number in range(1, 30):
            await store.memories.keep("acct_flood", [entry(f"k{number}", b"x" * 1000, hours=number)], bounds)
        assert await kept(store, "acct_sample", "mine") == ["mine"]
        assert await kept(store, "acct_flood", "k1", "k28", "k29") == ["k29", "k28"]

    async def test_one_recall_brings_so_many_bytes(self, store: Store) -> None:
        """Those of the last keys."""
        await store.memories.keep("acct_sample", [entry(f"k{number}", b"x" * 100) for number in range(9)], WIDE)
        found = await store.memories.recall("acct_sample", [b"k%d" % number for number in range(9)], NOW, 350)
        assert [each.key for each in found] == [b"k8", b"k7", b"k6"]

    async def test_many_at_once_lose_nothing(self, store: Store) -> None:
        """Calls that end together share commits."""
        await asyncio.gather(
            *(store.memories.keep(f"acct_{n % 3}", [entry(f"a{n}"), entry(f"b{n}")], WIDE) for n in range(30))
        )
        for n in range(30):
            assert await kept(store, f"acct_{n % 3}", f"a{n}", f"b{n}") == [f"b{n}", f"a{n}"]
