"""The anonymous tier: whom it names and admits, how it counts them, and that it is off unless configured."""

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from spl_tiers.anonymous import Plugin

from gateway_core.config import Config
from gateway_core.dispatch import Dispatch
from gateway_core.errors import ConfigError, PluginError, RateLimited
from gateway_core.home import Home
from gateway_core.keyring import Keyring
from gateway_core.limits import MemoryLimiter
from gateway_core.money import parse_usd
from gateway_core.testing import samples
from gateway_core.testing.clock import ManualClock
from gateway_core.testing.limiter_suite import KeptState
from gateway_core.testing.plugins import load_plugins
from gateway_core.types import Account, Call, Credentials, Terms


class Directory:
    def __init__(self, account: Account | None) -> None:
        self.account = account

    async def account_named(self, name: str) -> Account | None:
        return self.account if name == "local" else None


class Store(msgspec.Struct):
    directory: Directory
    state: dict[str, bytes]

    async def get_state(self, name: str) -> bytes | None:
        return self.state.get(name)

    async def put_state(self, name: str, value: bytes) -> None:
        self.state[name] = value


class Running(msgspec.Struct):
    config: Config
    keyring: Keyring
    store: Store
    clock: ManualClock


class Tier:
    """The tier in a gateway that is started."""

    def __init__(self, home: Path, settings: dict[str, Any] | None, account: Account | None) -> None:
        tables = {} if settings is None else {"tiers": {"anonymous": settings}}
        self.dispatch = Dispatch(load_plugins({"tier-anonymous": Plugin}, tables))
        self.clock = ManualClock()
        place = Home(home)
        place.ensure()
        store = Store(Directory(account), {})
        self.running = Running(msgspec.convert(tables, Config), Keyring(place), store, self.clock)

    async def start(self) -> "Tier":
        for _, startup in self.dispatch.startup:
            await startup(cast("Any", self.running))
        return self

    async def call(self, address: str) -> Call:
        principal = await self.dispatch.authenticate(Credentials(None, address))
        assert principal is not None
        return samples.call("m", principal=principal, address=address)

    async def terms(self, address: str) -> Terms:
        terms = self.dispatch.admit(await self.call(address))
        assert terms is not None
        return terms


@pytest.fixture
async def tier(tmp_path: Path) -> Tier:
    return await Tier(tmp_path / "home", {}, samples.account(id="acct_local", name="local")).start()


async def test_it_is_off_unless_configured(tmp_path: Path) -> None:
    off = await Tier(tmp_path / "home", None, None).start()
    assert await off.dispatch.authenticate(Credentials(None, "192.0.2.1")) is None
    assert off.dispatch.admit(samples.call("m", principal=samples.principal(kind="anonymous"))) is None


async def test_only_who_shows_nothing_is_anonymous(tier: Tier) -> None:
    assert await tier.dispatch.authenticate(Credentials("sk-wrong", "192.0.2.1")) is None
    assert await tier.dispatch.authenticate(Credentials("", "192.0.2.1")) is None
    principal = await tier.dispatch.authenticate(Credentials(None, "192.0.2.1"))
    assert principal is not None
    assert (principal.account_id, principal.kind) == ("acct_local", "anonymous")
    assert principal.scopes == {"inference"}
    assert tier.dispatch.admit(samples.call("m")) is None


async def test_its_windows(tier: Tier) -> None:
    windows = (await tier.terms("192.0.2.1")).windows
    assert [(each.limit, each.label, each.day, each.tier) for each in windows] == [
        (5, "requests per minute", False, "anonymous"),
        (100, "messages per day", True, "anonymous"),
        (10_000, "messages per day by all callers together", True, "anonymous"),
    ]


async def test_its_budget_is_ten_dollars_a_day_unless_configured(tmp_path: Path) -> None:
    for settings, budget in (({}, "10"), ({"budget_usd_per_day": "0.5"}, "0.5")):
        tier = await Tier(tmp_path / budget, settings, samples.account()).start()
        assert (await tier.terms("192.0.2.1")).day_cap == parse_usd(budget)
    with pytest.raises(ConfigError, match="budget_usd_per_day"):
        Tier(tmp_path / "wrong", {"budget_usd_per_day": "ten"}, None)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
    ],
)
async def test_whom_an_address_counts_with(tier: Tier, one: str, other: str, same: bool) -> None:
    first, second = await tier.terms(one), await tier.terms(other)
    assert (first.windows[0].key == second.windows[0].key) is same
    assert first.windows[2].key == second.windows[2].key


async def test_no_address_is_to_be_seen(tier: Tier) -> None:
    today = await tier.call("192.0.2.1")
    assert "192.0.2.1" not in today.principal.bearer_id
    assert all("192.0.2.1" not in window.key for window in (await tier.terms("192.0.2.1")).windows)
    tier.clock.advance(86_400)
    tomorrow = await tier.call("192.0.2.1")
    assert tomorrow.principal.bearer_id != today.principal.bearer_id


async def test_a_day_s_hashes_are_nobody_s_without_its_key(tier: Tier) -> None:
    today = await tier.call("192.0.2.1")
    assert (await tier.call("192.0.2.1")).principal == today.principal
    state = tier.running.store.state
    (name,) = state
    assert name.startswith("day-key 20")
    await tier.start()  # a restart within the day goes on with its key
    assert (await tier.call("192.0.2.1")).principal == today.principal
    tier.clock.advance(86_400)
    await tier.call("192.0.2.1")
    assert len(state) == 2
    del state[name]  # what retention does in the end
    tier.clock.advance(-86_400)
    assert (await tier.call("192.0.2.1")).principal != today.principal


async def test_what_its_refusals_say(tmp_path: Path) -> None:
    settings = {"requests_per_minute": 2, "messages_per_day": 3, "messages_per_day_in_all": 5}
    tier = await Tier(tmp_path / "home", settings, samples.account()).start()
    limiter = MemoryLimiter("memory", KeptState().as_store(), tier.clock)

    async def refusal(address: str) -> str:
        with pytest.raises(RateLimited) as caught:
            await limiter.reserve((await tier.terms(address)).windows, 0)
        return caught.value.message

    for _ in range(2):
        await limiter.reserve((await tier.terms("192.0.2.1")).windows, 0)
    assert await refusal("192.0.2.1") == "2 requests per minute on anonymous tier; retry in 60s"
    tier.clock.advance(60)
    await limiter.reserve((await tier.terms("192.0.2.1")).windows, 0)
    assert (await refusal("192.0.2.1")).startswith("3 messages per day on anonymous tier; retry in ")
    for address in ("192.0.2.2", "192.0.2.3"):
        await limiter.reserve((await tier.terms(address)).windows, 0)
    assert (await refusal("192.0.2.4")).startswith("5 messages per day by all callers together on anonymous tier")
    await limiter.close()


async def test_without_its_account_it_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="tier-anonymous: there is no account 'local'"):
        await Tier(tmp_path / "home", {}, None).start()


async def test_bad_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tiers\.anonymous\.messages_per_day: expected a whole number >= 1"):
        Tier(tmp_path / "home", {"messages_per_day": 0}, None)
