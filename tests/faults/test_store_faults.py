"""The embedded store under faults 1, 2, 3, 5 and 39: acknowledged is on disk, once, and the books agree."""

import asyncio
import random
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest

from gateway_core.clock import SystemClock
from gateway_core.errors import StoreCorrupt, StoreError
from gateway_core.store import backup, books
from gateway_core.store.sqlite import SqliteStore
from gateway_core.testing.calls import hold, settlement, spend

LOAD = Path(__file__).with_name("store_load.py")


def opened(home: Path) -> SqliteStore:
    return SqliteStore(home / "store.sqlite3", SystemClock())


async def check(home: Path, acknowledged: Counter[str]) -> None:
    """What holds after every fault, once what was open is settled: I1 and I2."""
    store = opened(home)
    await store.open()
    assert await store.ledger.reconcile() == []
    for orphan in await store.ledger.orphans():
        await store.ledger.settle(settlement(orphan.hold, 0, stream_state="gateway_restart", outcome="cut"))
    for line, times in acknowledged.items():
        what, _, call_id = line.partition(" ")
        if what in ("open", "settled"):
            row = await store.ledger.find(call_id)
            assert times == 1
            assert row is not None, f"{line} was acknowledged and is not there"
            assert what == "open" or row.settlement.stream_state is None, f"{call_id} was settled a second time"
    assert await store.ledger.reconcile() == []
    for account in range(5):
        assert (await store.ledger.month(f"acct_{account}", "2026-11")).held == 0
    await store.close()
    with sqlite3.connect(home / "store.sqlite3") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT count(*) FROM open_calls").fetchone() == (0,)
    db.close()


def lines(stream: IO[str] | None) -> list[str]:
    """Whole lines: a process that is killed may leave half a one."""
    assert stream is not None
    return [line.strip() for line in stream if line.endswith("\n")]


@pytest.mark.parametrize("seed", range(4))
def test_01_what_was_acknowledged_before_a_kill_is_there_once(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311  # replayed by its seed
    acknowledged: Counter[str] = Counter()
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, LOAD, tmp_path, "kill"], stdout=subprocess.PIPE, text=True, encoding="ascii"
        )
        assert process.stdout is not None
        for _ in range(dice.randrange(1, 800)):
            acknowledged[process.stdout.readline().strip()] += 1
        process.kill()
        acknowledged.update(lines(process.stdout))
        process.stdout.close()
        process.wait()
    asyncio.run(check(tmp_path, acknowledged))


def test_02_a_full_disk_refuses_and_recovers_by_itself(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, LOAD, tmp_path, "full"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    said = Counter(done.stdout.splitlines())
    kinds = Counter(line.split(" ")[0] for line in said)
    assert kinds["settled"] > 10
    assert (kinds["refused"], said["not-ready full"], kinds["recovered"]) == (1, 1, 1)
    asyncio.run(check(tmp_path, said))


class FlakyBooks(books.Transaction):
    """Commits that report a failure: before (`lost`) or after (`landed`) they are on disk."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]  # the base class's own arguments
        self.faults: list[str] = []

    def commit(self) -> None:
        fault = self.faults.pop(0) if self.faults else None
        if fault != "lost":
            super().commit()
        if fault:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error


@pytest.mark.parametrize("faults", [["lost"], ["landed"], ["lost", "landed"], ["landed", "lost"]])
async def test_03_a_commit_of_unknown_fate_is_tried_again_and_counts_once(
    tmp_path: Path, faults: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[FlakyBooks] = []

    def flaky(*args: object) -> FlakyBooks:
        made.append(FlakyBooks(*args))
        return made[0]

    monkeypatch.setattr("gateway_core.store.sqlite.Transaction", flaky)
    store = opened(tmp_path)
    await store.open()
    await spend(store, hold("req_before", 100, account_cap=1000), 30)
    held = hold("req_1", 100, account_cap=1000)
    await store.ledger.hold(held)
    made[0].faults = list(faults)
    settled = await store.ledger.settle(settlement(held, 40))
    assert (settled.first, settled.charge, settled.sequence) == (True, 40, 2)
    assert await store.ledger.headroom(hold("req_2", account_cap=1000)) == 930
    assert (await store.ledger.month("acct_sample", "2026-11")).settled == 70
    assert await store.ledger.reconcile() == []
    await store.close()


async def test_03_a_settlement_that_landed_though_it_failed_is_not_counted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[FlakyBooks] = []

    def flaky(*args: object) -> FlakyBooks:
        made.append(FlakyBooks(*args))
        return made[0]

    monkeypatch.setattr("gateway_core.store.sqlite.Transaction", flaky)
    store = opened(tmp_path)
    await store.open()
    held = hold("req_1", 100, account_cap=1000)
    await store.ledger.hold(held)
    made[0].faults = ["landed", "lost", "lost", "lost"]
    with pytest.raises(StoreError):
        await store.ledger.settle(settlement(held, 40))
    assert not await store.ready()
    with pytest.raises(StoreError):
        await store.ledger.hold(hold("req_2", account_cap=1000))
    async with asyncio.timeout(30):
        while not await store.ready():  # noqa: ASYNC110  # the store recovers by itself and tells nobody
            await asyncio.sleep(0.01)
    assert await store.ledger.headroom(hold("req_2", account_cap=1000)) == 860
    settled = await store.ledger.settle(settlement(held, 40))
    assert (settled.first, settled.charge) == (False, 40)
    assert await store.ledger.headroom(hold("req_2", account_cap=1000)) == 960
    assert await store.ledger.reconcile() == []
    await store.close()


@pytest.mark.parametrize("damage", ["header", "schema", "pages", "cut"])
async def test_05_a_damaged_store_refuses_to_start_and_says_how_to_restore(tmp_path: Path, damage: str) -> None:
    store = opened(tmp_path)
    await store.open()
    for number in range(300):
        await spend(store, hold(f"req_{number:03}"), 1)
    await store.close()
    path = tmp_path / "store.sqlite3"
    content = bytearray(path.read_bytes())
    if damage == "header":
        content[0:16] = bytes(16)
    elif damage == "schema":
        content[100:110] = b"\xff" * 10
    elif damage == "pages":
        for page in range(4096 * 8, len(content), 4096):
            content[page : page + 64] = b"\xa5" * 64
    else:
        del content[len(content) // 2 :]
    path.write_bytes(content)
    with pytest.raises(StoreCorrupt, match="spl restore FILE"):
        await opened(tmp_path).open()


async def test_39_a_backup_restored_elsewhere_is_the_store_as_it_was(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    home.mkdir()
    other.mkdir()
    copy = tmp_path / "copy"
    store = opened(home)
    await store.open()
    await spend(store, hold("req_1"), 30)
    await store.backup(copy)
    await spend(store, hold("req_2"), 30)
    await store.close()
    assert copy.stat().st_mode & 0o777 == 0o600
    backup.verify(copy)
    shutil.copyfile(copy, other / "store.sqlite3")
    restored = opened(other)
    await restored.open()
    assert await restored.ledger.find("req_1") is not None
    assert await restored.ledger.find("req_2") is None
    assert await restored.ledger.reconcile() == []
    await restored.close()


async def test_a_backup_has_nothing_that_was_removed_and_is_as_small_as_what_is_left(tmp_path: Path) -> None:
    store, copy, path = opened(tmp_path), tmp_path / "copy", tmp_path / "store.sqlite3"
    await store.open()
    await spend(store, hold("req_1"), 30)
    await store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("CREATE TABLE before AS SELECT printf('%.2000000c', '@') AS all_of_it")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        db.execute("DROP TABLE before")
    await store_and_backup(tmp_path, copy)
    assert path.stat().st_size > copy.stat().st_size + 1_900_000
    assert b"@" * 100 not in copy.read_bytes()
    with closing(sqlite3.connect(copy)) as db:
        assert db.execute("PRAGMA freelist_count").fetchone() == (0,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)


async def store_and_backup(home: Path, copy: Path) -> None:
    """Opens the store of a home and takes a backup that can be trusted."""
    store = opened(home)
    await store.open()
    await store.backup(copy)
    await store.close()
    backup.verify(copy)


@pytest.mark.parametrize("content", [b"", b"no database at all", b"SQLite format 3\x00" + bytes(5000)])
def test_39_what_is_no_whole_backup_is_not_taken_for_one(tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "copy"
    source.write_bytes(content)
    with pytest.raises(StoreError):
        backup.verify(source)
    with pytest.raises(StoreError, match="There is no backup"):
        backup.verify(tmp_path / "none")
