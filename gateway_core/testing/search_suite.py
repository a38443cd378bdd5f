"""What every store must do when somebody looks for calls. Used as `store_suite` is."""

from typing import Any

from gateway_core.store_ports import RecordSearch, Store
from gateway_core.testing import samples
from gateway_core.testing.calls import hold, settlement
from gateway_core.types import Settlement

HOUR = 3_600_000
START = samples.STARTED_AT


async def seeded(store: Store, count: int) -> None:
    """One call an hour: two models, three keys, every fifth cut."""
    for number in range(count):
        held = hold(f"req_{number}", model="ab"[number % 2], bearer_id=f"key_{number % 3}", stream=number % 2 == 0)
        changes: dict[str, Any] = {"served_at": START + number * HOUR}
        if number % 5 == 4:
            changes |= {"outcome": "cut", "stream_state": "client_disconnect"}
        elif number % 2 == 0:
            changes |= {"stream_state": "completed"}
        made: Settlement = settlement(held, 1, **changes)
        await store.ledger.settle(made)


async def all_of(store: Store, **conditions: Any) -> list[int]:
    """The sequences of every page."""
    found: list[int] = []
    search = RecordSearch("acct_sample", **conditions)
    for _ in range(1000):
        page = await store.records.search(search)
        assert len(page.records) <= search.limit
        found += [record.sequence for record in page.records]
        if page.following is None:
            return found
        search = RecordSearch("acct_sample", **{**conditions, "beyond": page.following})
    raise AssertionError("the pages never end")


class SearchSuite:
    """Searching records of calls, against a fixture `store`."""

    async def test_every_condition_and_order_in_pages_of_any_size(self, store: Store) -> None:
        """The same rows in the same order, however small the pages and stretches are."""
        await seeded(store, 30)
        numbers = range(30)
        conditions: list[tuple[dict[str, Any], Any]] = [
            ({}, lambda _: True),
            ({"model": "a"}, lambda n: n % 2 == 0),
            ({"key": "key_1"}, lambda n: n % 3 == 1),
            ({"outcome": "cut"}, lambda n: n % 5 == 4),
            ({"stream_state": "client_disconnect"}, lambda n: n % 5 == 4),
            ({"stream_state": "plain"}, lambda n: n % 2 == 1 and n % 5 != 4),
            ({"since": START + 7 * HOUR}, lambda n: n >= 7),
            ({"until": START + 7 * HOUR}, lambda n: n < 7),
            ({"since": START + 7 * HOUR + 1, "until": START + 9 * HOUR + 1}, lambda n: 8 <= n <= 9),
            ({"model": "b", "key": "key_0", "until": START + 20 * HOUR}, lambda n: n % 2 and n % 3 == 0 and n < 20),
            ({"key": "key_of_nobody"}, lambda _: False),
            ({"since": START + 99 * HOUR}, lambda _: False),
            ({"until": START}, lambda _: False),
        ]
        for named, meets in conditions:
            expected = [number + 1 for number in numbers if meets(number)]
            for sizes in ({}, {"limit": 3}, {"limit": 1, "most": 1}, {"limit": 4, "most": 7}):
                assert await all_of(store, **named, **sizes, oldest_first=True) == expected, (named, sizes)
                assert await all_of(store, **named, **sizes) == expected[::-1], (named, sizes)

    async def test_what_retention_removed_is_not_looked_for(self, store: Store) -> None:
        """The search ends where the chain begins."""
        await seeded(store, 10)
        await store.retention.prune_records("acct_sample", START + 4 * HOUR, None, 100)
        assert await all_of(store, limit=2) == [10, 9, 8, 7, 6, 5]
        assert await all_of(store, limit=2, most=3, oldest_first=True) == [5, 6, 7, 8, 9, 10]

    async def test_nobody_finds_anothers(self, store: Store) -> None:
        """An account without records finds none."""
        await seeded(store, 3)
        found = await store.records.search(RecordSearch("acct_other"))
        assert (found.records, found.following) == ([], None)
