"""What every store must do for sinks and for retention: a part of `StoreSuite`."""

from gateway_core.chain import ChainCheck
from gateway_core.store_ports import DAY_KEY, Behind, RecordQuery, SinkFailure, Store
from gateway_core.testing.calls import hold, spend
from gateway_core.testing.clock import ManualClock
from gateway_core.testing.samples import STARTED_AT

ACCOUNT = "acct_sample"


async def calls(store: Store, count: int, account_id: str = ACCOUNT) -> None:
    """So many settled calls, each a record."""
    first = (await store.records.head(account_id))[0]
    for number in range(first, first + count):
        await spend(store, hold(f"req_{account_id}_{number}", account_id=account_id), 1)


class TellingSuite:
    """The contract of the sinks' cursors in `Records`, and of `Retention`."""

    async def test_a_sink_is_behind_from_its_cursor_on(self, store: Store) -> None:
        """By account, a page at a time; each sink for itself."""
        await calls(store, 3, "acct_a")
        await calls(store, 2, "acct_b")
        oldest = (await store.records.read(RecordQuery("acct_a")))[0].created_at
        assert await store.records.behind("one") == [Behind("acct_a", 3, oldest), Behind("acct_b", 2, oldest)]
        assert await store.records.behind("one", after="acct_a", limit=1) == [Behind("acct_b", 2, oldest)]
        await store.records.advance("one", "acct_a", 2)
        await store.records.advance("one", "acct_b", 2)
        assert await store.records.behind("one") == [Behind("acct_a", 1, oldest)]
        assert len(await store.records.behind("two")) == 2

    async def test_failures_are_remembered_until_something_is_taken(self, store: Store) -> None:
        """The last one counts; a cursor that does not move forgets nothing."""
        await calls(store, 2)
        for attempts in (1, 2):
            await store.records.postpone("sink", ACCOUNT, SinkFailure(attempts, "ConnectionError", attempts * 1000))
        (row,) = await store.records.behind("sink")
        assert row.failure == SinkFailure(2, "ConnectionError", 2000)
        assert await store.records.cursor("sink", ACCOUNT) == 0
        await store.records.advance("sink", ACCOUNT, 1)
        (row,) = await store.records.behind("sink")
        assert (row.records, row.failure) == (1, None)
        await store.records.postpone("sink", ACCOUNT, SinkFailure(1, "OSError", 3000))
        await store.records.advance("sink", ACCOUNT, 1)
        (row,) = await store.records.behind("sink")
        assert row.failure == SinkFailure(1, "OSError", 3000)
        assert await store.records.cursor("sink", ACCOUNT) == 1

    async def test_a_chain_loses_its_beginning_and_nothing_else(self, store: Store) -> None:
        """At most as much as is asked for, up to a sequence and a time; what is left verifies, and goes on."""
        genesis = await store.records.ends("acct_none")
        assert (genesis.sequence, genesis.pruned_sequence, genesis.hash) == (0, 0, genesis.pruned_hash)
        await calls(store, 6)
        later, prune = STARTED_AT + 1_000_000, store.retention.prune_records
        assert await store.retention.accounts(STARTED_AT) == []
        assert await store.retention.accounts(later) == [ACCOUNT]
        assert await store.retention.accounts(later, after=ACCOUNT) == []
        assert await prune(ACCOUNT, STARTED_AT, None, 100) == 0
        assert await prune(ACCOUNT, later, 3, 2) == 2
        assert await prune(ACCOUNT, later, 3, 2) == 1
        assert await prune(ACCOUNT, later, 3, 2) == 0
        await calls(store, 1)
        ends = await store.records.ends(ACCOUNT)
        check = ChainCheck(ACCOUNT, ends.pruned_sequence, ends.pruned_hash)
        for record in await store.records.read(RecordQuery(ACCOUNT)):
            assert check.take(record.sequence, record.id, bytes(record.body), record.hash) is None
        assert check.end(ends.sequence, ends.hash) is None
        assert (ends.pruned_sequence, ends.sequence) == (3, 7)
        (row,) = await store.records.behind("sink")
        assert row.records == 4  # what is gone is not to be told any more
        assert await prune(ACCOUNT, later, None, 100) == 4
        assert await store.records.behind("sink") == []
        assert await store.retention.accounts(later) == []
        assert await store.ledger.reconcile() == []

    async def test_day_keys_go_and_other_state_stays(self, store: Store, clock: ManualClock) -> None:
        """Those of days before the one that is named, at most as many as is asked for."""
        for name in (f"{DAY_KEY} 2026-11-19", f"{DAY_KEY} 2026-11-20", f"{DAY_KEY} 2026-11-22", "day", "limits"):
            await store.put_state(name, b"x")
        assert await store.retention.prune("day_keys", clock.now_ms(), 1) == 1
        assert await store.retention.prune("day_keys", STARTED_AT, 5) == 1
        for name, kept in ((f"{DAY_KEY} 2026-11-20", None), (f"{DAY_KEY} 2026-11-22", b"x"), ("limits", b"x")):
            assert await store.get_state(name) == kept
