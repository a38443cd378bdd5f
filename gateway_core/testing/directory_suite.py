"""What every store must do with accounts, keys and the operators' log. Used as `store_suite` is."""

from typing import Any

import msgspec
import pytest

from gateway_core.errors import Conflict, NotFound
from gateway_core.money import Units
from gateway_core.store_ports import LogEntry, Store
from gateway_core.testing import samples
from gateway_core.types import Account, Key


def key(key_id: str = "key_1", **changes: Any) -> Key:
    """A key of the sample account."""
    made = Key(key_id, "acct_sample", "laptop", ("inference",), samples.STARTED_AT, "sk-…x4Qz")
    return msgspec.structs.replace(made, **changes)


class DirectorySuite:
    """Who is known, and who did what."""

    # ------------------------------------------------------------ directory

    async def test_accounts_are_found_listed_and_changed(self, store: Store) -> None:
        """By id and by name, a page at a time; a name belongs to one account."""
        other = Account("acct_z", "zeta", 1, cap=Units(5), limits={"m": {"rpm": 2}})
        await store.directory.create_account(other, "test")
        assert await store.directory.account("acct_z") == other
        assert await store.directory.account_named("zeta") == other
        assert [row.id for row in await store.directory.accounts()] == ["acct_sample", "acct_z"]
        assert await store.directory.accounts(after="acct_sample", limit=1) == [other]
        for twin in (Account("acct_z", "new", 1), Account("acct_new", "zeta", 1)):
            with pytest.raises(Conflict):
                await store.directory.create_account(twin, "test")
        changed = msgspec.structs.replace(other, suspended=True, cap=None)
        before = store.directory.generation
        await store.directory.update_account(changed, "test", "account.suspend")
        assert await store.directory.account("acct_z") == changed
        assert store.directory.generation > before
        with pytest.raises(Conflict):
            await store.directory.update_account(msgspec.structs.replace(other, name="sample"), "test", "x")
        with pytest.raises(NotFound):
            await store.directory.update_account(Account("acct_none", "none", 1), "test", "x")
        assert await store.directory.account("acct_none") is None

    async def test_a_key_is_found_by_its_digest_until_and_after_it_ends(self, store: Store) -> None:
        """A change is seen by the next read; it never lives longer for it; revoking it twice is a conflict."""
        full = key(models=("a", "b"), cap=Units(9), expires_at=500)
        await store.directory.add_key(full, b"digest-1", "test")
        await store.directory.add_key(key("key_2"), b"digest-2", "test")
        assert await store.directory.key_by_digest(b"digest-1") == full
        assert await store.directory.key_by_digest(b"unknown") is None
        for later in (77, 99):
            await store.directory.expire_key("key_1", later, "test")
        assert await store.directory.key_by_digest(b"digest-1") == msgspec.structs.replace(full, expires_at=77)
        before = store.directory.generation
        await store.directory.revoke_key("key_1", 88, "test")
        found = await store.directory.key_by_digest(b"digest-1")
        assert found is not None
        assert (found.revoked_at, found) == (88, await store.directory.key("key_1"))
        assert store.directory.generation > before
        for end in (store.directory.revoke_key, store.directory.expire_key):
            with pytest.raises(Conflict, match="revoked already"):
                await end("key_1", 99, "test")
            with pytest.raises(NotFound):
                await end("key_none", 99, "test")
        assert [row.id for row in await store.directory.keys("acct_sample")] == ["key_1", "key_2"]
        assert [row.id for row in await store.directory.keys("acct_sample", after="key_1", limit=1)] == ["key_2"]

    async def test_a_key_needs_an_account_and_a_digest_of_its_own(self, store: Store) -> None:
        """Neither may be taken or missing."""
        await store.directory.add_key(key(), b"digest", "test")
        with pytest.raises(Conflict):
            await store.directory.add_key(key("key_2"), b"digest", "test")
        with pytest.raises(NotFound):
            await store.directory.add_key(key("key_3", account_id="acct_none"), b"other", "test")

    async def test_a_last_use_is_written_with_a_later_commit_once_a_minute(self, store: Store) -> None:
        """It causes no commit; uses within a minute are one."""
        await store.directory.add_key(key(), b"digest", "test")
        before = store.directory.generation
        for at in (1_000_000, 1_030_000):
            store.directory.touch_key("key_1", at)
            await store.put_state("later", b"")
        found = await store.directory.key("key_1")
        assert found is not None
        assert found.last_used_at == 1_000_000
        store.directory.touch_key("key_1", 1_060_000)
        await store.put_state("later", b"")
        found = await store.directory.key("key_1")
        assert found is not None
        assert (found.last_used_at, store.directory.generation) == (1_060_000, before)

    async def test_who_did_what_is_logged_newest_first(self, store: Store) -> None:
        """A change and its line are one write."""
        await store.directory.add_key(key(), b"digest", "ann")
        await store.directory.revoke_key("key_1", 5, "bob")
        await store.directory.log(LogEntry(7, "eve", "look", "key_1", {"why": "audit"}))
        lines = await store.directory.log_entries(10)
        assert [(line.actor, line.action) for line in lines] == [
            ("eve", "look"),
            ("bob", "key.revoke"),
            ("ann", "key.mint"),
            ("test", "account.create"),
        ]
        assert lines[0] == LogEntry(7, "eve", "look", "key_1", {"why": "audit"}, lines[0].number)
        await store.directory.log(LogEntry(8, "eve", "look", "key_1"))
        assert await store.directory.log_entries(1, before=lines[0].number) == [lines[1]]
        assert await store.directory.log_entries(10, before=lines[-1].number) == []
