"""Telling, from the real store: in order per account, again after failures and restarts, sinks apart from another."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway_core.ids import request_id
from gateway_core.outbox import LONGEST_PAUSE, Emit, Outbox
from gateway_core.ports import SinkReport
from gateway_core.store.sqlite import SqliteStore
from gateway_core.testing import calls, samples
from gateway_core.testing.clock import ManualClock
from gateway_core.types import Record

PATIENCE = 20.0


class Heard:
    """A sink that remembers what it took, and refuses while told to."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, int]] = []
        self.refuses: set[str] = set()
        self.attempts = 0
        self.came = asyncio.Event()

    async def emit(self, record: Record) -> None:
        self.came.set()
        self.attempts += 1
        if record.account_id in self.refuses:
            raise ConnectionError("the sink is down")
        self.taken.append((record.account_id, record.sequence))

    async def asked(self, attempts: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.attempts < attempts:
                self.came.clear()
                await self.came.wait()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.taken) < count:
                self.came.clear()
                await self.came.wait()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(samples.STARTED_AT)


@pytest.fixture
async def store(tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(tmp_path / "store.sqlite3", clock)
    await made.open()
    for name in ("a", "b"):
        await made.directory.create_account(samples.account(id=f"acct_{name}", name=name), "test")
    yield made
    await made.close()


def quick(store: SqliteStore, clock: ManualClock, *sinks: tuple[str, Emit], **more: Any) -> Outbox:
    """An outbox that looks at the clock again and again."""
    return Outbox(store, sinks, clock, gather=0.0, look=0.002, **more)


async def post(store: SqliteStore, outbox: Outbox | None, account_id: str, count: int) -> None:
    for _ in range(count):
        held = calls.hold(request_id(), account_id=account_id)
        await store.ledger.hold(held)
        settled = await store.ledger.settle(calls.settlement(held))
        if outbox is not None:
            outbox.note(account_id, settled.sequence)


async def test_every_sink_hears_every_account_in_order(store: SqliteStore, clock: ManualClock) -> None:
    one, two = Heard(), Heard()
    outbox = quick(store, clock, ("one", one.emit), ("two", two.emit))
    await post(store, None, "acct_a", 3)  # from before this start
    await outbox.start()
    await post(store, outbox, "acct_b", 2)
    await post(store, outbox, "acct_a", 2)
    for sink in (one, two):
        await sink.until(7)
        assert [number for account, number in sink.taken if account == "acct_a"] == [1, 2, 3, 4, 5]
        assert [number for account, number in sink.taken if account == "acct_b"] == [1, 2]
    await outbox.stop()


async def test_28_a_sink_that_is_down_for_one_account_holds_up_nothing_else(
    store: SqliteStore, clock: ManualClock
) -> None:
    sink, other = Heard(), Heard()
    sink.refuses.add("acct_a")
    outbox = quick(store, clock, ("sink", sink.emit), ("other", other.emit))
    await outbox.start()
    await post(store, outbox, "acct_a", 3)
    await post(store, outbox, "acct_b", 3)
    await sink.until(3)
    await other.until(6)
    assert [account for account, _ in sink.taken] == ["acct_b"] * 3
    sink.refuses.clear()
    clock.advance(LONGEST_PAUSE)  # its pause is over
    await sink.until(6)
    assert [number for account, number in sink.taken if account == "acct_a"] == [1, 2, 3]
    await outbox.stop()


async def test_a_restart_goes_on_where_the_last_run_stopped(store: SqliteStore, clock: ManualClock) -> None:
    first = Heard()
    outbox = quick(store, clock, ("sink", first.emit))
    await outbox.start()
    await post(store, outbox, "acct_a", 4)
    await first.until(4)
    await outbox.stop()
    await post(store, None, "acct_a", 2)
    again = Heard()
    outbox = quick(store, clock, ("sink", again.emit))
    await outbox.start()
    await again.until(2)
    assert again.taken[-2:] == [("acct_a", 5), ("acct_a", 6)]
    await outbox.stop()


async def failing(outbox: Outbox, attempts: int) -> SinkReport:
    """The first sink's report, once it has failed so often in a row."""
    async with asyncio.timeout(PATIENCE):
        while (report := (await outbox.reports())[0]).attempts < attempts:  # noqa: ASYNC110  # it is in the store
            await asyncio.sleep(0.002)
    return report


async def behind_at_rest(store: SqliteStore, sink: str) -> int:
    """Records that a sink is behind, when all writes that were begun are done."""
    await store.put_state("a write of ours comes after those", b"")
    return sum(row.records for row in await store.records.behind(sink))


async def test_a_sink_that_does_not_answer_holds_up_no_other_account(store: SqliteStore, clock: ManualClock) -> None:
    answered = asyncio.Event()
    heard = Heard()

    async def emit(record: Record) -> None:
        if record.account_id == "acct_a":
            await answered.wait()
        await heard.emit(record)

    outbox = quick(store, clock, ("sink", emit))
    await outbox.start()
    await post(store, outbox, "acct_a", 2)
    await post(store, outbox, "acct_b", 2)
    await heard.until(2)
    await post(store, outbox, "acct_b", 2)
    await heard.until(4)
    assert heard.taken == [("acct_b", number) for number in (1, 2, 3, 4)]
    answered.set()
    await heard.until(6)
    await outbox.stop()


async def test_an_attempt_is_bounded_and_says_so(store: SqliteStore, clock: ManualClock) -> None:
    async def emit(record: Record) -> None:
        await asyncio.Event().wait()

    outbox = quick(store, clock, ("sink", emit), attempt=0.01)
    await outbox.start()
    await post(store, outbox, "acct_a", 1)
    assert (await failing(outbox, 1)).last_error == "took longer than 0.01s"
    await outbox.stop()


@pytest.mark.parametrize("error", [asyncio.CancelledError(), ValueError("rec_1 of acct_a at https://secret.example")])
async def test_27_whatever_a_sink_raises_it_is_asked_again(
    error: BaseException, store: SqliteStore, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard()
    refuses = [error]

    async def emit(record: Record) -> None:
        if refuses:
            raise refuses.pop()
        await heard.emit(record)

    outbox = quick(store, clock, ("sink", emit))
    await outbox.start()
    await post(store, outbox, "acct_a", 2)
    report = await failing(outbox, 1)
    assert (report.last_error, report.records_behind, outbox.failing) == (type(error).__name__, 2, True)
    assert "secret" not in caplog.text
    clock.advance(1.0)
    await heard.until(2)
    await outbox.stop()
    assert await behind_at_rest(store, "sink") == 0


async def test_pauses_grow_and_a_restart_waits_them_out(store: SqliteStore, clock: ManualClock) -> None:
    sink = Heard()
    sink.refuses.add("acct_a")
    outbox = quick(store, clock, ("sink", sink.emit))
    await outbox.start()
    await post(store, outbox, "acct_a", 1)
    waits = []
    for attempts in range(1, 12):
        report = await failing(outbox, attempts)
        assert report.next_attempt_at is not None
        waits.append((report.next_attempt_at - clock.now_ms()) / 1000)
        clock.advance(waits[-1] + 0.001)
    longest = [min(LONGEST_PAUSE, 2.0**number) for number in range(11)]
    assert all(most / 2 - 0.01 <= wait <= most + 0.01 for wait, most in zip(waits, longest, strict=True))
    await failing(outbox, 12)
    await outbox.stop()

    again = Heard()
    outbox = quick(store, clock, ("sink", again.emit), ("other", (other := Heard()).emit))
    await outbox.start()
    await other.until(1)
    assert not again.came.is_set()  # it was dead a moment ago: it is left alone until its pause is over
    assert (await failing(outbox, 12)).accounts_failing == 1
    clock.advance(LONGEST_PAUSE)
    await again.until(1)
    await outbox.stop()
    assert await behind_at_rest(store, "sink") == 0


async def test_retry_ends_the_pauses_of_the_sink_that_is_named(store: SqliteStore, clock: ManualClock) -> None:
    one, two = Heard(), Heard()
    for sink in (one, two):
        sink.refuses.add("acct_a")
    outbox = quick(store, clock, ("one", one.emit), ("two", two.emit))
    await outbox.start()
    await post(store, outbox, "acct_a", 1)
    await one.asked(1)
    await two.asked(1)
    one.refuses.clear()
    two.refuses.clear()
    outbox.retry("one")
    await one.until(1)
    assert two.taken == []
    outbox.retry()
    await two.until(1)
    await outbox.stop()


async def test_retry_is_for_who_is_being_told_in_vain_just_then_too(store: SqliteStore, clock: ManualClock) -> None:
    """The attempt that hangs at a sink that was down takes no notice of one that is up again."""
    sink, hangs, breaks = Heard(), asyncio.Event(), asyncio.Event()

    async def emit(record: Record) -> None:
        if not breaks.is_set():
            hangs.set()
            await breaks.wait()
            raise ConnectionError("the sink was down")
        await sink.emit(record)

    outbox = quick(store, clock, ("sink", emit))
    await outbox.start()
    await post(store, outbox, "acct_a", 1)
    async with asyncio.timeout(PATIENCE):
        await hangs.wait()
    outbox.retry()
    breaks.set()
    await sink.until(1)
    await outbox.stop()


async def test_a_sink_that_does_not_want_an_account_is_not_asked_and_not_behind(
    store: SqliteStore, clock: ManualClock
) -> None:
    sink, everything = Heard(), Heard()
    wanted = {"acct_b"}

    async def wants(account_id: str) -> bool:
        return account_id in wanted

    outbox = quick(store, clock, ("sink", sink.emit), ("all", everything.emit), wants={"sink": wants})
    await outbox.start()
    await post(store, outbox, "acct_a", 3)
    await post(store, outbox, "acct_b", 1)
    await everything.until(4)
    await sink.until(1)
    assert sink.taken == [("acct_b", 1)]
    assert await behind_at_rest(store, "all") == 0
    assert [report.records_behind for report in await outbox.reports()] == [0, 0]
    assert (await outbox.floor("acct_a"), await outbox.floor("acct_b")) == (3, 1)
    wanted.add("acct_a")
    # Behind from its first record on, as soon as it is wanted; told when an instance changes or a record comes.
    assert [report.records_behind for report in await outbox.reports()] == [3, 0]
    assert await outbox.floor("acct_a") == 0
    store.instances.generation += 1
    await sink.until(4)
    assert sink.taken[1:] == [("acct_a", 1), ("acct_a", 2), ("acct_a", 3)]
    await outbox.stop()


async def test_stopping_keeps_what_was_taken(store: SqliteStore, clock: ManualClock) -> None:
    """A stop in the middle of a batch: what the sink has is not told again, what it has not is."""
    heard = Heard()
    hangs = asyncio.Event()

    async def emit(record: Record) -> None:
        if record.sequence == 3:
            hangs.set()
            await asyncio.Event().wait()
        await heard.emit(record)

    outbox = quick(store, clock, ("sink", emit))
    await post(store, None, "acct_a", 5)
    await outbox.start()
    async with asyncio.timeout(PATIENCE):
        await hangs.wait()
    await outbox.stop()
    outbox = quick(store, clock, ("sink", heard.emit))
    await outbox.start()
    await heard.until(5)
    assert [number for _, number in heard.taken] == [1, 2, 3, 4, 5]
    await outbox.stop()
