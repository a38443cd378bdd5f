"""User keys: minted, recognised, cached, and refused at once when they end. On the real store."""

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from gateway_core import key_text
from gateway_core.bearers import LOCAL_ACCOUNT, OPERATOR_BEARER_ID, UserKeysPlugin, local_account, mint, with_implied
from gateway_core.config import Config
from gateway_core.errors import AccountSuspended, ConfigError, InvalidBearer
from gateway_core.home import Home
from gateway_core.key_text import new_key_text
from gateway_core.keyring import Keyring
from gateway_core.money import parse_usd
from gateway_core.services import Services
from gateway_core.stand_ins import StandIns
from gateway_core.store.sqlite import SqliteStore
from gateway_core.store_ports import Store
from gateway_core.testing.clock import ManualClock
from gateway_core.types import Account, Credentials, Key, Principal

DAY = 86_400_000


class Reads:
    """The store's directory, counting what is read of it."""

    def __init__(self, directory: Any) -> None:
        self._directory = directory
        self.reads: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name in {"key_by_digest", "account", "account_named", "touch_key"}:
            self.reads.append(name)
        return getattr(self._directory, name)


class Bench:
    """A plugin on an open store, and what it takes to make keys."""

    def __init__(self, home: Path, clock: ManualClock, store: Store) -> None:
        self.clock = clock
        self.store = store
        self.keyring = Keyring(Home(home))
        self.reads = Reads(store.directory)
        self.plugin = UserKeysPlugin()
        self.stand_ins = StandIns()
        self.home = home

    def services(self) -> Services:
        # Only what the plugin uses is there.
        store: Any = SimpleNamespace(
            directory=self.reads, get_state=self.store.get_state, put_state=self.store.put_state
        )
        unused: Any = None
        return Services(
            config=Config(),
            home=self.home,
            keyring=self.keyring,
            signer=unused,
            stand_ins=self.stand_ins,
            site=unused,
            store=store,
            limiter=unused,
            upstream=unused,
            outside=unused,
            inside=unused,
            tokens=unused,
            providers={},
            models={},
            outbox=unused,
            clock=self.clock,
            log=unused,
        )

    async def key(self, **fields: Any) -> tuple[Key, str]:
        account = await local_account(self.store.directory, self.clock.now_ms())
        key, secret = mint(account.id, "test", now_ms=self.clock.now_ms(), **fields)
        await self.store.directory.add_key(key, self.keyring.digest(secret), "test")
        return key, secret

    async def call(self, bearer: str | None) -> Principal | None:
        return await self.plugin.authenticate(Credentials(bearer=bearer, address="127.0.0.1"))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = ManualClock()
    store = SqliteStore(tmp_path / "store.sqlite3", clock)
    await store.open()
    try:
        made = Bench(tmp_path, clock, store)
        await made.plugin.startup(made.services())
        yield made
    finally:
        await store.close()


def test_owners_may_call_and_operators_may_all() -> None:
    assert with_implied(["inference"]) == {"inference"}
    assert with_implied(["owner"]) == {"owner", "inference"}
    assert with_implied(["operator"]) == {"operator", "owner", "inference"}
    assert with_implied(["records:write"]) == {"records:write"}


async def test_a_key_is_its_account(bench: Bench) -> None:
    key, secret = await bench.key(models=["b", "a", "a"], cap=parse_usd("5"), expires_at=bench.clock.now_ms() + DAY)
    principal = await bench.call(secret)
    assert principal == Principal(
        account_id=key.account_id,
        kind="user_key",
        bearer_id=key.id,
        scopes=frozenset({"inference"}),
        models=frozenset({"a", "b"}),
        cap=parse_usd("5"),
        expires_at=key.expires_at,
    )


async def test_other_bearers_are_not_ours(bench: Bench) -> None:
    for bearer in (None, "eyJhbGciOiJFZERTQSJ9.e30.c2ln", "pk-123"):
        assert await bench.call(bearer) is None
    assert bench.reads.reads == []


async def test_a_bad_key_is_refused_by_its_checksum(bench: Bench) -> None:
    _, secret = await bench.key()
    for bearer in ("sk-", "sk-proj-abc", secret[:-1], secret + "x", secret[:-1] + ("A" if secret[-1] != "A" else "B")):
        with pytest.raises(InvalidBearer):
            await bench.call(bearer)
    assert bench.reads.reads == []


async def test_an_unknown_key_and_a_wrong_secret_take_one_path(bench: Bench) -> None:
    """Fault 23: the same reads and the same words, whether the id is known or not."""
    _, secret = await bench.key()
    unknown = new_key_text()
    wrong = secret[:18] + unknown[18:61]
    wrong += key_text._checksum(wrong)
    seen = []
    for bearer in (unknown, wrong):
        bench.reads.reads.clear()
        with pytest.raises(InvalidBearer) as refusal:
            await bench.call(bearer)
        seen.append((bench.reads.reads[:], refusal.value.message))
    assert seen[0] == seen[1]
    assert seen[0][0] == ["key_by_digest"]


async def test_a_verified_key_is_not_looked_up_again(bench: Bench) -> None:
    _, secret = await bench.key()
    first = await bench.call(secret)
    bench.reads.reads.clear()
    assert await bench.call(secret) is first
    assert bench.reads.reads == []


async def test_last_use_is_noted_once_a_minute(bench: Bench) -> None:
    _, secret = await bench.key()
    for _ in range(3):
        await bench.call(secret)
    assert bench.reads.reads.count("touch_key") == 1
    bench.clock.advance(61)
    await bench.call(secret)
    assert bench.reads.reads.count("touch_key") == 2


async def test_a_revoked_key_is_refused_at_once(bench: Bench) -> None:
    key, secret = await bench.key()
    _, other = await bench.key()
    assert await bench.call(secret)
    await bench.store.directory.revoke_key(key.id, bench.clock.now_ms(), "test")
    with pytest.raises(InvalidBearer):
        await bench.call(secret)
    assert await bench.call(other)


async def test_a_key_ends_when_it_expires(bench: Bench) -> None:
    key, secret = await bench.key()
    assert await bench.call(secret)
    await bench.store.directory.expire_key(key.id, bench.clock.now_ms() + 60_000, "test")
    bench.clock.advance(59)
    assert await bench.call(secret)
    bench.clock.advance(1)
    with pytest.raises(InvalidBearer):
        await bench.call(secret)


async def test_a_suspended_account_may_not_call_until_it_is_resumed(bench: Bench) -> None:
    _, secret = await bench.key()
    assert await bench.call(secret)
    directory = bench.store.directory
    account = await local_account(directory, 0)
    await directory.update_account(msgspec.structs.replace(account, suspended=True), "test", "account.suspend")
    with pytest.raises(AccountSuspended):
        await bench.call(secret)
    await directory.update_account(account, "test", "account.resume")
    assert await bench.call(secret)


async def test_the_operator_acts_on_the_local_account(bench: Bench) -> None:
    principal = await bench.call(bench.keyring.operator_key)
    account = await bench.store.directory.account_named(LOCAL_ACCOUNT)
    assert account is not None
    assert principal == Principal(
        account_id=account.id,
        kind="operator",
        bearer_id=OPERATOR_BEARER_ID,
        scopes=frozenset({"operator", "owner", "inference"}),
    )


async def test_the_local_account_is_made_once(bench: Bench) -> None:
    first = await local_account(bench.store.directory, 1)
    assert await local_account(bench.store.directory, 2) == first
    assert [account.name for account in await bench.store.directory.accounts()] == [LOCAL_ACCOUNT]


async def test_a_store_of_another_home_is_refused(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "pepper").write_bytes(b"x" * 32)
    bench.keyring = Keyring(Home(tmp_path))
    with pytest.raises(ConfigError, match="pepper: is not the one that the keys in this store were made with"):
        await UserKeysPlugin().startup(bench.services())


async def test_the_cache_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway_core.bearers._CACHED_BEARERS", 2)
    secrets = [(await bench.key())[1] for _ in range(4)]
    for secret in secrets:
        assert await bench.call(secret)
    assert len(bench.plugin._cache) == 2


async def test_a_key_of_an_account_that_is_not_there(bench: Bench) -> None:
    await bench.store.directory.create_account(Account(id="acct_x", name="x", created_at=0), "test")
    key, secret = mint("acct_x", "k", now_ms=0)
    await bench.store.directory.add_key(key, bench.keyring.digest(secret), "test")
    principal = await bench.call(secret)
    assert principal is not None
    assert principal.account_id == "acct_x"


async def test_a_stand_in_is_worth_what_its_key_is_worth(bench: Bench) -> None:
    key, secret = await bench.key()
    bearer = bench.stand_ins.bearer(key.id)
    assert await bench.call(bearer) == await bench.call(secret)
    await bench.store.directory.revoke_key(key.id, bench.clock.now_ms(), "test")
    with pytest.raises(InvalidBearer):
        await bench.call(bearer)


async def test_a_stand_in_of_another_process_is_refused(bench: Bench) -> None:
    key, _ = await bench.key()
    for bearer in (StandIns().bearer(key.id), bench.stand_ins.bearer("key_unknown")):
        with pytest.raises(InvalidBearer):
            await bench.call(bearer)


async def test_the_operators_stand_in_is_the_operator(bench: Bench) -> None:
    principal = await bench.call(bench.stand_ins.bearer("key_operator"))
    assert principal is not None
    assert principal.kind == "operator"
