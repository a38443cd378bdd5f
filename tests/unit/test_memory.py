"""The providers' memory: sealed, bounded, the same after a restart and on every node, and never a reason to fail."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_core.config import MemoryConfig
from gateway_core.home import Home
from gateway_core.keyring import Keyring
from gateway_core.memory import MOST_KEYS, MemorySeal, ProviderMemory, Recent
from gateway_core.store.sqlite import SqliteStore
from gateway_core.testing import samples
from gateway_core.testing.clock import ManualClock

SECRET = b"I think that the user is in a hurry"
HOUR_MS = 3_600_000


class Node:
    """One process of a gateway: its store is open until `close`."""

    def __init__(self, home: Path, clock: ManualClock, config: MemoryConfig) -> None:
        self.store = SqliteStore(home / "store.sqlite3", clock)
        self.memory = ProviderMemory(self.store, MemorySeal(Keyring(Home(home))), config, clock)

    def beside(self, home: Path, clock: ManualClock, config: MemoryConfig) -> ProviderMemory:
        """Another process's memory on the same store."""
        return ProviderMemory(self.store, MemorySeal(Keyring(Home(home))), config, clock)


def on_disk(home: Path) -> list[bytes]:
    return [path.read_bytes() for path in home.glob("store.sqlite3*")]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(samples.STARTED_AT)


@pytest.fixture
async def node(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Node]:
    node = Node(tmp_path, clock, MemoryConfig(cache_bytes=10_000))
    await node.store.open()
    yield node
    await node.store.close()


async def test_what_is_kept_is_recalled_by_its_account(node: Node) -> None:
    await node.memory.keep("acct_1", {"call_1": SECRET, "call_2": b""})
    assert await node.memory.recall("acct_1", ["call_1", "call_0", "call_2"]) == {"call_1": SECRET, "call_2": b""}
    assert await node.memory.recall("acct_2", ["call_1"]) == {}
    assert await node.memory.recall("acct_1", []) == {}


async def test_nobody_keeps_and_is_told_nothing(node: Node) -> None:
    """A call whose account was lost on its way must not read what another such call has kept."""
    await node.memory.keep("", {"call_1": SECRET})
    assert await node.memory.recall("", ["call_1"]) == {}


async def test_account_and_key_are_told_apart(node: Node) -> None:
    await node.memory.keep("acct_1", {"2x": b"one"})
    await node.memory.keep("acct_12", {"x": b"two"})
    assert await node.memory.recall("acct_12", ["x", "2x"]) == {"x": b"two"}


async def test_it_survives_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    first = Node(tmp_path, clock, MemoryConfig())
    await first.store.open()
    await first.memory.keep("acct_1", {"call_1": SECRET})
    await first.store.close()
    second = Node(tmp_path, clock, MemoryConfig())
    await second.store.open()
    assert await second.memory.recall("acct_1", ["call_1"]) == {"call_1": SECRET}
    await second.store.close()


async def test_another_node_finds_it(node: Node, tmp_path: Path, clock: ManualClock) -> None:
    other = node.beside(tmp_path, clock, MemoryConfig())
    await node.memory.keep("acct_1", {"call_1": SECRET})
    assert await other.recall("acct_1", ["call_1"]) == {"call_1": SECRET}


async def test_nothing_of_it_lies_in_the_clear(node: Node, tmp_path: Path) -> None:
    await node.memory.keep("acct_1", {"call_telling": SECRET})
    files = on_disk(tmp_path)
    assert any(b"memories" in content for content in files)
    assert not any(SECRET in content or b"call_telling" in content for content in files)


async def test_it_ends(node: Node, tmp_path: Path, clock: ManualClock) -> None:
    await node.memory.keep("acct_1", {"call_1": SECRET})
    clock.advance(24 * 3600 - 1)
    assert await node.memory.recall("acct_1", ["call_1"]) == {"call_1": SECRET}
    clock.advance(1)
    assert await node.memory.recall("acct_1", ["call_1"]) == {}
    assert await node.beside(tmp_path, clock, MemoryConfig()).recall("acct_1", ["call_1"]) == {}


async def test_what_is_too_large_is_not_kept_and_is_no_error(
    node: Node, tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    memory = node.beside(tmp_path, clock, MemoryConfig(max_entry_bytes=10))
    await memory.keep("acct_1", {"a": b"x" * 10, "b": b"x" * 10})
    await memory.keep("acct_1", {"a": b"x" * 11})
    assert await memory.recall("acct_1", ["a", "b"]) == {"a": b"x" * 10, "b": b"x" * 10}
    assert "an entry of 11 bytes is too large" in caplog.text


async def test_a_conversation_s_last_keys_are_recalled(node: Node) -> None:
    await node.memory.keep("acct_1", {"first": b"1", "last": b"2"})
    keys = ["first", *(f"call_{number}" for number in range(MOST_KEYS - 1)), "last"]
    assert await node.memory.recall("acct_1", keys) == {"last": b"2"}


async def test_without_its_store_it_remembers_here_and_raises_nothing(
    node: Node, tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    await node.store.memories.keep("acct_1", [], node.memory._bounds)
    with sqlite3.connect(tmp_path / "store.sqlite3") as db:
        db.execute("DROP TABLE memories")
    db.close()
    await node.memory.keep("acct_1", {"call_1": SECRET})
    assert "the memory is not on disk" in caplog.text
    assert await node.memory.recall("acct_1", ["call_1"]) == {"call_1": SECRET}
    assert await node.beside(tmp_path, clock, MemoryConfig()).recall("acct_1", ["call_1"]) == {}
    assert "the memory cannot be read" in caplog.text


async def test_an_entry_opens_for_its_own_account_key_and_end_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seal = MemorySeal(Keyring(Home(tmp_path)))
    entry = seal.seal("acct_1", seal.digest("acct_1", "k"), 5, SECRET)
    assert seal.open("acct_1", entry) == SECRET
    changed = [
        ("acct_2", entry),
        ("acct_1", msgspec.structs.replace(entry, key=seal.digest("acct_1", "other"))),
        ("acct_1", msgspec.structs.replace(entry, expires_at=6)),
        ("acct_1", msgspec.structs.replace(entry, sealed=entry.sealed[:-1] + bytes([entry.sealed[-1] ^ 1]))),
        ("acct_1", msgspec.structs.replace(entry, sealed=b"short")),
    ]
    assert [seal.open(account_id, each) for account_id, each in changed] == [None] * 5
    assert caplog.text.count("cannot be opened") == 5
    (tmp_path / "elsewhere").mkdir()
    assert MemorySeal(Keyring(Home(tmp_path / "elsewhere"))).open("acct_1", entry) is None


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("keep"), st.sampled_from("AB"), st.dictionaries(st.sampled_from("xyz"), st.binary(max_size=60))
        ),
        st.tuples(st.just("recall"), st.sampled_from("AB"), st.lists(st.sampled_from("xyz"))),
        st.tuples(st.just("wait"), st.integers(0, 20 * HOUR_MS // 1000), st.just(None)),
    ),
    max_size=15,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, cache_bytes=st.sampled_from([0, 600, 100_000]))
async def test_it_is_a_dictionary_whose_entries_end(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str | int, object]], cache_bytes: int
) -> None:
    """Whatever is kept where, and whether this process still has it."""
    clock = ManualClock(samples.STARTED_AT)
    node = Node(tmp_path_factory.mktemp("memory"), clock, MemoryConfig(cache_bytes=cache_bytes))
    await node.store.open()
    expected: dict[tuple[str, str], tuple[bytes, int]] = {}
    for step, who, what in steps:
        now = clock.now_ms()
        if step == "wait":
            assert isinstance(who, int)
            clock.advance(who)
        elif step == "keep":
            assert isinstance(who, str)
            assert isinstance(what, dict)
            await node.memory.keep(who, what)
            expected |= {(who, key): (value, now + 24 * HOUR_MS) for key, value in what.items()}
        else:
            assert isinstance(who, str)
            assert isinstance(what, list)
            known = {key: expected[who, key] for key in what if (who, key) in expected}
            assert await node.memory.recall(who, what) == {key: v for key, (v, end) in known.items() if end > now}
    await node.store.close()


@given(
    st.lists(st.tuples(st.integers(0, 5), st.binary(max_size=400)), max_size=40),
    st.integers(0, 2000),
)
def test_what_this_process_holds_is_bounded(puts: list[tuple[int, bytes]], most: int) -> None:
    recent = Recent(most)
    for number, value in puts:
        recent.put(b"%d" % number, value, 10)
        held = {key: recent.get(key, 0) for key in list(recent._entries)}
        assert recent._size == sum(len(each or b"") + 256 for each in held.values()) <= most
    assert all(recent.get(b"%d" % number, 10) is None for number in range(6))
    assert recent._size == 0
