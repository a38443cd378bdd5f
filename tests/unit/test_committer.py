"""Group commit: what shares a commit, what waits for nothing, and what happens when one fails."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gateway_core.errors import Conflict, StoreCorrupt, StoreError
from gateway_core.store import committer as module
from gateway_core.store.committer import MOST_AWAITED, Committer, Op

NEVER_MS = 3_600_000.0
"""A window that no test outlives: what commits within it did not wait for it."""

SHORT_MS = 5.0
"""A window for tests in which it is all the same."""


def sqlite_error(code: int) -> sqlite3.OperationalError:
    """An error as SQLite raises it."""
    error = sqlite3.OperationalError("as SQLite says it")
    error.sqlite_errorcode = code
    return error


class ListBooks:
    """Books that keep what was committed in a list, and fail when they are told to."""

    def __init__(self) -> None:
        self.committed: list[list[str]] = []
        self.faults: list[Exception] = []
        self.reopened = 0
        self.closed = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self._open: list[str] = []

    def begin(self) -> None:
        self._open = []

    def write(self, name: str) -> None:
        self._open.append(name)

    def commit(self) -> None:
        self.gate.wait()
        if self.faults:
            raise self.faults.pop(0)
        self.committed.append(self._open)

    def rollback(self) -> None:
        self._open = []

    def reopen(self) -> None:
        self.reopened += 1

    def close(self) -> None:
        self.closed.set()


class NameOp(Op):
    """Writes its name, or raises."""

    def __init__(self, name: str, error: Exception | None = None) -> None:
        super().__init__(asyncio.get_running_loop().create_future())
        self.name = name
        self.error = error

    def apply(self, books: ListBooks) -> str:
        if self.error:
            raise self.error
        books.write(self.name)
        return self.name


@pytest.fixture
def books() -> ListBooks:
    return ListBooks()


@pytest.fixture
async def made(books: ListBooks) -> AsyncIterator[Callable[..., Committer]]:
    all_made: list[Committer] = []

    def make(window_ms: float = SHORT_MS) -> Committer:
        all_made.append(Committer(books, window_ms, lambda: NameOp("probe")))
        return all_made[-1]

    yield make
    books.gate.set()
    for committer in all_made:
        await committer.close()


def submitted(committer: Committer, *names: str) -> list["asyncio.Future[Any]"]:
    ops = [NameOp(name) for name in names]
    for op in ops:
        committer.submit(op)
    return [op.future for op in ops]


async def recovered(committer: Committer) -> None:
    async with asyncio.timeout(30):
        while not committer.healthy:  # noqa: ASYNC110  # it tells nobody that it has recovered
            await asyncio.sleep(0.01)


async def test_a_lone_row_waits_for_nothing(books: ListBooks, made: Callable[..., Committer]) -> None:
    committer = made(NEVER_MS)
    for name in ("a", "b", "c"):
        await submitted(committer, name)[0]
    assert books.committed == [["a"], ["b"], ["c"]]


async def test_what_comes_while_a_commit_runs_shares_the_next(books: ListBooks, made: Callable[..., Committer]) -> None:
    committer = made()
    books.gate.clear()
    first = submitted(committer, "a")
    rest = submitted(committer, "b", "c", "d")
    books.gate.set()
    await asyncio.gather(*first, *rest)
    assert books.committed == [["a"], ["b", "c", "d"]]


async def test_a_commit_waits_for_as_many_rows_as_are_expected(
    books: ListBooks, made: Callable[..., Committer]
) -> None:
    committer = made(NEVER_MS)
    await submitted(committer, "warm")[0]
    futures = []
    for still_expected, name in ((3, "a"), (2, "b"), (1, "c")):
        committer.expected = still_expected
        futures += submitted(committer, name)
    await asyncio.sleep(0)
    assert len(books.committed) == 1
    committer.expected = 0
    futures += submitted(committer, "d")
    await asyncio.gather(*futures)
    assert books.committed[1:] == [["a", "b", "c", "d"]]


async def test_a_commit_waits_for_no_more_than_the_most(books: ListBooks, made: Callable[..., Committer]) -> None:
    committer = made(NEVER_MS)
    await submitted(committer, "warm")[0]
    committer.expected = 10 * MOST_AWAITED
    await asyncio.gather(*submitted(committer, *map(str, range(MOST_AWAITED))))
    assert [len(batch) for batch in books.committed] == [1, MOST_AWAITED]


async def test_expected_rows_that_do_not_come_are_waited_for_one_window(
    books: ListBooks, made: Callable[..., Committer]
) -> None:
    committer = made()
    await submitted(committer, "warm")[0]
    committer.expected = 20
    await asyncio.gather(*submitted(committer, "a", "b"))
    assert books.committed[1:] == [["a", "b"]]


async def test_a_timer_is_believed_where_the_clock_is_coarse_and_behind_it(
    books: ListBooks, made: Callable[..., Committer]
) -> None:
    """Else it would be set again for what has passed, and fire in every turn of the loop until the clock has moved."""
    committer = made()
    await asyncio.gather(*submitted(committer, "a"))
    committer.expected = 5
    now = committer.time()
    committer.time = lambda: now
    async with asyncio.timeout(30):
        await asyncio.gather(*submitted(committer, "b"))
    assert books.committed == [["a"], ["b"]]


async def test_those_whom_a_commit_has_let_go_share_the_next_however_long_it_took(
    books: ListBooks, made: Callable[..., Committer]
) -> None:
    committer = made(NEVER_MS)
    committer.expected = 3
    books.gate.clear()
    began = submitted(committer, "a")
    committer._began -= 1.1 * NEVER_MS / 1000  # that is how long the commit takes
    books.gate.set()
    await asyncio.gather(*began)
    submitted(committer, "d")
    await asyncio.sleep(0)
    submitted(committer, "e", "f")
    await committer.drain()
    assert books.committed[-1] == ["d", "e", "f"]


@pytest.mark.parametrize(("windows_later", "window_ms", "alone"), [(1.2, NEVER_MS, False), (2.5, SHORT_MS, True)])
async def test_the_first_row_that_comes_back_waits_for_its_fellows_where_it_comes_soon(
    books: ListBooks, made: Callable[..., Committer], windows_later: float, window_ms: float, alone: bool
) -> None:
    committer = made(window_ms)
    committer.expected = 3
    await submitted(committer, "a")[0]
    for instant in ("_came", "_began", "_ended"):  # so long ago is what was
        setattr(committer, instant, getattr(committer, instant) - windows_later * window_ms / 1000)
    books.gate.clear()
    submitted(committer, "d")
    await asyncio.sleep(0)
    submitted(committer, "e", "f")
    books.gate.set()
    await committer.drain()
    assert books.committed[1:] == ([["d"], ["e", "f"]] if alone else [["d", "e", "f"]])


async def test_a_deferred_row_goes_by_itself_after_a_while(books: ListBooks, made: Callable[..., Committer]) -> None:
    committer = made()
    op = NameOp("open")
    committer.defer(op)
    assert await op.future == "open"


async def test_a_deferred_row_stays_out_of_commits_until_it_is_due(
    books: ListBooks, made: Callable[..., Committer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEFERRED", NEVER_MS / 1000)
    committer = made(NEVER_MS)
    op = NameOp("open")
    committer.defer(op)
    await submitted(committer, "other")[0]
    assert (books.committed, op.taken) == ([["other"]], False)
    committer.hasten(op)
    await op.future
    assert books.committed == [["other"], ["open"]]


async def test_a_row_is_withdrawn_until_it_is_in_a_batch(books: ListBooks, made: Callable[..., Committer]) -> None:
    committer = made(NEVER_MS)
    books.gate.clear()
    first, deferred, waiting = NameOp("a"), NameOp("b"), NameOp("c")
    committer.submit(first)
    committer.submit(waiting)
    committer.defer(deferred)
    assert [committer.withdraw(op) for op in (first, deferred, waiting)] == [False, True, True]
    books.gate.set()
    await committer.drain()
    assert books.committed == [["a"]]


async def test_a_row_is_looked_at_though_those_that_it_was_to_wait_for_were_taken_back(
    books: ListBooks, made: Callable[..., Committer]
) -> None:
    committer = made()
    await submitted(committer, "warm")[0]
    committer.expected = 3
    gone = NameOp("gone")
    committer.submit(gone)
    assert committer.withdraw(gone)
    await asyncio.sleep(10 * SHORT_MS / 1000)  # whatever was to be looked at by then was
    committer.expected = 0
    assert await submitted(committer, "a")[0] == "a"
    assert books.committed == [["warm"], ["a"]]


async def test_a_rider_causes_no_commit(books: ListBooks, made: Callable[..., Committer]) -> None:
    committer = made(NEVER_MS)
    rider = NameOp("rider")
    committer.ride(rider)
    assert not rider.taken
    await submitted(committer, "a")[0]
    assert books.committed == [["a", "rider"]]


async def test_closing_commits_what_waits(books: ListBooks, made: Callable[..., Committer]) -> None:
    committer = made(NEVER_MS)
    deferred, rider = NameOp("deferred"), NameOp("rider")
    committer.defer(deferred)
    committer.ride(rider)
    await committer.close()
    assert sorted(books.committed[0]) == ["deferred", "rider"]
    assert books.closed.is_set()
    with pytest.raises(StoreError, match="closed"):
        await submitted(committer, "late")[0]


async def test_a_refusal_is_its_own_and_not_its_neighbours(books: ListBooks, made: Callable[..., Committer]) -> None:
    committer = made()
    books.gate.clear()
    submitted(committer, "first")
    refused = NameOp("refused", Conflict("taken"))
    committer.submit(refused)
    good = submitted(committer, "good")[0]
    books.gate.set()
    assert await good == "good"
    with pytest.raises(Conflict):
        await refused.future
    assert books.committed == [["first"], ["good"]]


async def test_a_row_that_cannot_be_written_fails_alone(books: ListBooks, made: Callable[..., Committer]) -> None:
    committer = made()
    books.gate.clear()
    submitted(committer, "first")
    before, bad, after = NameOp("before"), NameOp("bad", OverflowError("too large")), NameOp("after")
    for op in (before, bad, after):
        committer.submit(op)
    books.gate.set()
    assert (await before.future, await after.future) == ("before", "after")
    with pytest.raises(StoreError, match="too large"):
        await bad.future
    assert committer.healthy


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_BUSY])
async def test_a_commit_that_failed_is_tried_again_under_the_same_ids(
    books: ListBooks, made: Callable[..., Committer], code: int
) -> None:
    committer = made()
    books.faults = [sqlite_error(code)]
    assert await submitted(committer, "a")[0] == "a"
    assert (books.committed, books.reopened, committer.healthy) == ([["a"]], 1, True)


async def test_a_store_that_cannot_commit_refuses_and_recovers_by_itself(
    books: ListBooks, made: Callable[..., Committer]
) -> None:
    committer = made()
    books.faults = [sqlite_error(sqlite3.SQLITE_FULL)] * 5
    books.gate.clear()
    doomed = submitted(committer, "a")[0]
    stranded = submitted(committer, "b")[0]
    books.gate.set()
    with pytest.raises(StoreError, match="Look at the disk"):
        await doomed
    with pytest.raises(StoreError):
        await stranded
    assert not committer.healthy
    with pytest.raises(StoreError, match="tried again by itself"):
        await submitted(committer, "c")[0]
    await recovered(committer)
    assert await submitted(committer, "d")[0] == "d"
    assert books.committed == [["probe"], ["d"]]


async def test_damage_is_not_tried_again_and_says_what_to_do(books: ListBooks, made: Callable[..., Committer]) -> None:
    committer = made()
    books.faults = [sqlite_error(sqlite3.SQLITE_CORRUPT)]
    with pytest.raises(StoreCorrupt, match="spl restore"):
        await submitted(committer, "a")[0]
    assert books.committed == []


async def test_a_caller_that_goes_away_does_not_stop_the_commit(
    books: ListBooks, made: Callable[..., Committer]
) -> None:
    committer = made()
    books.gate.clear()
    gone, stays = submitted(committer, "gone")[0], submitted(committer, "stays")[0]
    gone.cancel()
    books.gate.set()
    assert await stays == "stays"
    assert books.committed == [["gone"], ["stays"]]
