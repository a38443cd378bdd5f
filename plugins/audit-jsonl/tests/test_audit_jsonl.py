"""The file of records: whole lines, once each, in order, through rotation, crashes and full disks."""

import asyncio
import json
import resource
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import httpx2
import msgspec
import pytest
from spl_audit_jsonl import Plugin
from spl_audit_jsonl.journal import Journal
from spl_audit_jsonl.plugin import AuditJsonlSettings

from gateway_core.errors import ConfigError
from gateway_core.testing import samples
from gateway_core.testing.clock import ManualClock
from gateway_core.testing.server import PATIENCE, ServedGateway, serving
from gateway_core.types import Record

NOW = samples.STARTED_AT
DAY = 86_400.0


def record(number: int, account: str = "acct_1", body: bytes = b'{"cost_usd":"0.5"}') -> Record:
    return samples.record(
        id=f"rec_{number}",
        account_id=account,
        sequence=number,
        created_at=NOW + number,
        body=msgspec.Raw(body),
        hash=f"{account}-{number:04}",
    )


class Running(msgspec.Struct):
    """What of the services the plugin uses."""

    home: Path
    clock: ManualClock


class Sink:
    """The plugin, started on a home."""

    def __init__(self, home: Path, clock: ManualClock, **settings: Any) -> None:
        self.path = home / "records.jsonl"
        self._home, self._clock = home, clock
        self.plugin = Plugin(AuditJsonlSettings(**{"path": "records.jsonl", **settings}))

    async def start(self) -> None:
        await self.plugin.startup(cast("Any", Running(self._home, self._clock)))

    async def take(self, *records: Record) -> None:
        await asyncio.gather(*[self.plugin.emit_audit(each) for each in records])

    def files(self) -> list[Path]:
        return [*sorted(self.path.parent.glob("records-*.jsonl")), self.path]

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for file in self.files() for line in file.read_text().splitlines()]

    def numbers(self) -> list[int]:
        return [row["sequence"] for row in self.rows()]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
async def make(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Callable[..., Any]]:
    """Starts sinks on one home, and stops each before the next."""
    started: list[Sink] = []

    async def start(**settings: Any) -> Sink:
        if started:
            await started.pop().plugin.shutdown()
        sink = Sink(tmp_path, clock, **settings)
        await sink.start()
        started.append(sink)
        return sink

    yield start
    for sink in started:
        await sink.plugin.shutdown()


async def test_a_record_is_a_line_of_its_own(make: Callable[..., Any]) -> None:
    sink = await make()
    await sink.take(record(1, body='{"a" : 1.50,\r\n "b":"\\né"}'.encode()))
    (line,) = sink.path.read_bytes().splitlines()
    assert b'"body":{"a" : 1.50,   "b":"\\n\xc3\xa9"}' in line
    assert json.loads(line) == {
        "account": "acct_1",
        "thread": "th_audit_api_usage",
        "sequence": 1,
        "id": "rec_1",
        "created_at": "2026-11-22T00:00:00.001Z",
        "hash": "acct_1-0001",
        "body": {"a": 1.5, "b": "\né"},
    }
    assert sink.path.stat().st_mode & 0o777 == 0o600
    assert await sink.plugin.wants_audit("acct_1") is True


async def test_without_a_path_it_wants_nothing(tmp_path: Path) -> None:
    plugin = Plugin(AuditJsonlSettings())
    await plugin.startup(cast("Any", Running(tmp_path, ManualClock())))
    assert await plugin.wants_audit("acct_1") is False
    await plugin.emit_audit(record(1))
    await plugin.shutdown()
    assert not (tmp_path / "records.jsonl").exists()


async def test_a_record_that_comes_again_is_written_once(make: Callable[..., Any]) -> None:
    sink = await make()
    await sink.take(record(1), record(1), record(2))
    await sink.take(record(2), record(3))
    again = await make()
    await again.take(record(2), record(3), record(4), record(1, "acct_2"))
    assert again.numbers() == [1, 2, 3, 4, 1]


async def test_the_same_number_after_a_restore_is_another_record(make: Callable[..., Any]) -> None:
    sink = await make()
    await sink.take(record(1), record(2))
    other = msgspec.structs.replace(record(2), hash="another")
    await sink.take(other)
    assert [row["hash"] for row in sink.rows()] == ["acct_1-0001", "acct_1-0002", "another"]


async def test_it_is_put_aside_by_size_and_what_is_too_old_is_removed(
    make: Callable[..., Any], clock: ManualClock
) -> None:
    sink = await make(max_bytes=1024, keep=3)
    for number in range(1, 41):
        await sink.take(record(number))
        clock.advance(0.001)
    assert len(sink.files()) == 4
    assert all(file.stat().st_size <= 1024 for file in sink.files())
    numbers = sink.numbers()
    assert numbers == list(range(numbers[0], 41))
    # Known again, whichever file it is in.
    again = await make(max_bytes=1024, keep=3)
    await again.take(*[record(number) for number in numbers])
    assert again.numbers() == numbers


async def test_files_of_one_instant_keep_their_order(make: Callable[..., Any]) -> None:
    sink = await make(max_bytes=1024)
    for number in range(1, 41):
        await sink.take(record(number))
    assert len(sink.files()) > 5
    assert sink.numbers() == list(range(1, 41))


async def test_it_is_put_aside_when_a_day_is_over(make: Callable[..., Any], clock: ManualClock) -> None:
    sink = await make(daily=True)
    await sink.take(record(1))
    await sink.take(record(2))
    clock.advance(DAY)
    await sink.take(record(3))
    assert [len(file.read_text().splitlines()) for file in sink.files()] == [2, 1]
    assert sink.files()[0].name == "records-20261123T000000000.jsonl"


@pytest.mark.parametrize("torn", [b'{"account":"acct_1","seq', b"x" * 3_000_000, b"\x00" * 10])
async def test_a_half_line_is_removed_at_the_start(make: Callable[..., Any], torn: bytes) -> None:
    sink = await make()
    await sink.take(record(1))
    await sink.plugin.shutdown()
    with sink.path.open("ab") as file:
        file.write(torn)
    again = await make()
    await again.take(record(1), record(2))
    assert again.numbers() == [1, 2]


async def test_what_is_no_line_of_ours_is_left_alone(make: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_bytes(b'# a note\n{"hash": 5}\n\xff\n')
    sink = await make()
    await sink.take(record(1))
    assert sink.path.read_bytes().count(b"\n") == 4


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file of this process grows beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_disk_that_is_full_leaves_no_half_line_and_is_tried_again(make: Callable[..., Any]) -> None:
    sink = await make()
    await sink.take(record(1))
    size = sink.path.stat().st_size
    with files_up_to(size + 50), pytest.raises(OSError, match="File too large"):
        await sink.take(record(2))
    assert (sink.path.stat().st_size, sink.numbers()) == (size, [1])
    await sink.take(record(2), record(3))
    assert sink.numbers() == [1, 2, 3]


async def test_a_record_that_is_given_up_on_is_not_written_twice(make: Callable[..., Any]) -> None:
    sink = await make()
    task = asyncio.create_task(sink.plugin.emit_audit(record(1)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await sink.take(record(1), record(2))
    assert sink.numbers() == [1, 2]


async def test_a_file_that_cannot_be_written_refuses_the_start(make: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"audit-jsonl\.path: .*file/x\.jsonl cannot be written"):
        await make(path="file/x.jsonl")
    journal = Journal(tmp_path / "mine.jsonl", max_bytes=1024, daily=False, keep=None, fsync=True)
    journal.open(NOW)
    with pytest.raises(ConfigError, match="another process writes to this file"):
        await make(path="mine.jsonl")
    journal.close()


# ---------------------------------------------------------------- the real program

CONFIG = """
include = ["shipped:self-host.toml"]
[plugins.audit-jsonl]
path = "audit/records.jsonl"
max_bytes = 8192
"""


def chat(gateway: ServedGateway, key: str) -> str:
    body = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"authorization": f"Bearer {key}"}
    answer = httpx2.post(f"{gateway.base_url}/chat/completions", json=body, headers=headers, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    return str(answer.headers["x-request-id"])


def written(home: Path) -> list[dict[str, Any]]:
    files = [*sorted((home / "audit").glob("records-*.jsonl")), home / "audit" / "records.jsonl"]
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_01_every_call_is_one_line_whatever_is_killed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    key, made = "", []
    for run in range(3):
        with serving(home, config=CONFIG) as gateway:
            key = key or gateway.key
            made += [chat(gateway, key) for _ in range(8)]
            if run < 2:
                gateway.process.kill()
                gateway.process.wait()
                with (home / "audit" / "records.jsonl").open("ab") as file:
                    file.write(b'{"account":"acct_')  # as a kill in the middle of a write leaves it
                continue
            deadline = time.monotonic() + PATIENCE
            while len(written(home)) < len(made):
                assert time.monotonic() < deadline, "the last records were not written"
                time.sleep(0.02)
            kept = json.loads(gateway.spl("thread", "records", "th_audit_api_usage"))
            assert gateway.stop() == 0
    lines = written(home)
    assert [line["id"] for line in lines] == made
    assert [(line["hash"], line["body"]) for line in lines] == [(row["hash"], row["body"]) for row in kept]
