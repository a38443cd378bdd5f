"""What every store must do with records, cursors and the days' sums. Used as `store_suite` is."""

from typing import Any

import msgspec

from gateway_core.audit import genesis, link
from gateway_core.money import Units
from gateway_core.store_ports import RecordQuery, Store
from gateway_core.testing import samples
from gateway_core.testing.calls import hold, settlement, spend
from gateway_core.types import AUDIT_THREAD, Usage


class RecordsSuite:
    """What calls leave behind."""

    # ------------------------------------------------------------ records

    async def test_each_call_leaves_one_chained_record(self, store: Store) -> None:
        """Sequence, hash and head follow from what is stored."""
        for number in range(3):
            await spend(store, hold(f"req_{number}"), 10 + number)
        previous = genesis("acct_sample")
        records = await store.records.read(RecordQuery("acct_sample", AUDIT_THREAD))
        assert [record.sequence for record in records] == [1, 2, 3]
        for record in records:
            previous = link(previous, record.sequence, record.id, bytes(record.body))
            assert record.hash == previous.hex()
        assert await store.records.head("acct_sample") == (3, previous.hex())
        assert [msgspec.json.decode(record.body)["request_id"] for record in records] == ["req_0", "req_1", "req_2"]

    async def test_records_are_read_by_place_time_model_and_thread(self, store: Store) -> None:
        """All conditions together; a limit cuts at the end."""
        start = samples.STARTED_AT
        for number in range(4):
            held = hold(f"req_{number}", model="a" if number % 2 else "b")
            await store.ledger.settle(settlement(held, 1, served_at=start + number * 1000))

        async def read(**changes: Any) -> list[int]:
            query = RecordQuery("acct_sample", **changes)
            return [record.sequence for record in await store.records.read(query)]

        assert await read(after=1, limit=2) == [2, 3]
        assert await read(since=start + 1000, until=start + 3000) == [2, 3]
        assert await read(since=start + 1000, until=start + 3000, thread=AUDIT_THREAD) == [2, 3]
        assert await read(since=start + 9000, thread=AUDIT_THREAD) == []
        assert await read(model="a", thread=AUDIT_THREAD) == [2, 4]
        assert await read(thread="th_other") == []

    async def test_records_are_found_by_time_though_the_clock_was_set(self, store: Store) -> None:
        """Also those that were made after the clock went back, and at an hour that began before."""
        hours = (10, 12, 7, 12, 11, 9)
        for number, hour in enumerate(hours):
            served = samples.STARTED_AT + hour * 3_600_000 + number
            await store.ledger.settle(settlement(hold(f"req_{number}"), 1, served_at=served))
        for since in range(6, 14):
            at = samples.STARTED_AT + since * 3_600_000
            for thread in (AUDIT_THREAD, None):
                found = await store.records.read(RecordQuery("acct_sample", thread, since=at))
                expected = [number + 1 for number, hour in enumerate(hours) if hour >= since]
                assert [record.sequence for record in found] == expected

    async def test_a_calls_record_that_comes_from_elsewhere_is_the_one_there_is(self, store: Store) -> None:
        """An id is on record once for an account, wherever it came from first."""
        await spend(store, hold("req_1"), 10)
        (record,) = await store.records.read(RecordQuery("acct_sample"))
        assert await store.records.append("acct_sample", AUDIT_THREAD, "req_1", b"{}", "inst_1") == record
        elsewhere = await store.records.append("acct_other", AUDIT_THREAD, "req_1", b"{}", "inst_1")
        assert (elsewhere.sequence, bytes(elsewhere.body)) == (1, b"{}")

    async def test_a_delivered_record_is_stored_once(self, store: Store) -> None:
        """The second delivery gives back what the first one stored, also where it differs."""
        body = b'{"model":"demo","cost_usd":"0.1"}'
        first = await store.records.append("acct_sample", AUDIT_THREAD, "req_x", body, "inst_1")
        again = await store.records.append("acct_sample", AUDIT_THREAD, "req_x", b'{"cost_usd":"9"}', "inst_1")
        other = await store.records.append("acct_other", AUDIT_THREAD, "req_x", body, "inst_1")
        assert first == again
        assert (bytes(again.body), again.sequence, other.sequence) == (body, 1, 1)
        assert len(await store.records.read(RecordQuery("acct_sample", model="demo"))) == 1

    async def test_a_cursor_moves_forwards_only(self, store: Store) -> None:
        """Each sink has its own, per account."""
        await store.records.advance("jsonl", "acct_sample", 5)
        await store.records.advance("jsonl", "acct_sample", 3)
        assert await store.records.cursor("jsonl", "acct_sample") == 5
        assert await store.records.cursor("thread", "acct_sample") == 0

    # ------------------------------------------------------------ reports

    async def test_a_day_is_one_row_for_each_bearer_model_and_tier(self, store: Store) -> None:
        """Sums of what was delivered, charged, owed and lost."""
        await spend(store, hold("req_1"), 30)
        await store.ledger.settle(settlement(hold("req_2"), 5, usage=Usage(1, 2, estimated=True), loss=Units(4)))
        await spend(store, hold("req_3", bearer_id="key_other"), 7)
        tomorrow = samples.STARTED_AT + 86_400_000
        await spend(store, hold("req_4", started_at=tomorrow), 1)
        rows = await store.reports.totals("acct_sample", "2026-11-22", "2026-11-22", samples.EVERY_GROUP)
        assert [(row.bearer_id, row.calls, row.charge) for row in rows] == [("key_other", 1, 7), ("key_sample", 2, 35)]
        assert (rows[1].usage, rows[1].loss) == (Usage(21, 12, estimated=True), 4)
        assert len(await store.reports.totals(None, "2026-11-22", "2026-11-23", samples.EVERY_GROUP)) == 3
