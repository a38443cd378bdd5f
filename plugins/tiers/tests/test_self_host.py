"""The self-host tier: whom it admits, and on which terms."""

from typing import Any, cast

import msgspec
import pytest
from spl_tiers.self_host import Plugin

from gateway_core.config import Config
from gateway_core.dispatch import Dispatch
from gateway_core.errors import AccountSuspended, ConfigError
from gateway_core.money import Units
from gateway_core.testing import samples
from gateway_core.testing.plugins import load_plugins
from gateway_core.types import Call, Terms, Window


class Running(msgspec.Struct):
    config: Config


async def admitting(user_key: str = "self-host", **settings: Any) -> Dispatch:
    """The tier, started in a gateway whose user keys are on `user_key`."""
    plugins = load_plugins({"tier-self-host": Plugin}, {"tiers": {"self-host": settings}} if settings else None)
    dispatch = Dispatch(plugins)
    config = msgspec.convert({"bearers": {"user_key": user_key}}, Config)
    for _, startup in dispatch.startup:
        await startup(cast("Any", Running(config)))
    return dispatch


def call(kind: str = "user_key", **account: Any) -> Call:
    principal = msgspec.structs.replace(samples.principal(), kind=kind)
    return samples.call("m", principal=principal, account=samples.account(**account))


async def test_nobody_is_limited_by_surprise() -> None:
    assert (await admitting()).admit(call()) == Terms("self-host")


@pytest.mark.parametrize(
    ("user_key", "admitted"),
    [("self-host", {"user_key", "instance", "self_host", "operator"}), ("paid", {"self_host", "operator"})],
)
async def test_who_is_on_the_tier(user_key: str, admitted: set[str]) -> None:
    dispatch = await admitting(user_key)
    kinds = ["user_key", "instance", "self_host", "anonymous", "operator"]
    assert {kind for kind in kinds if dispatch.admit(call(kind)) is not None} == admitted


async def test_configured_limits_and_cap() -> None:
    terms = (await admitting(requests_per_minute=60, cap_usd="12.50")).admit(call())
    assert terms == Terms(
        "self-host", (Window("acct_sample:requests", "requests", 60, tier="self-host"),), Units(12_500_000_000_000)
    )


async def test_the_account_s_own_cap_replaces_the_tier_s() -> None:
    for cap in (Units(0), Units(10**15)):
        terms = (await admitting(cap_usd="1")).admit(call(cap=cap))
        assert terms is not None
        assert terms.cap == cap


async def test_the_account_s_own_limits_are_for_their_model() -> None:
    dispatch = await admitting(requests_per_minute=60)
    terms = dispatch.admit(call(limits={"m": {"rpm": 3, "tpm": 1000}, "n": {"rpm": 1}}))
    assert terms is not None
    assert [(each.key, each.unit, each.limit, each.label) for each in terms.windows] == [
        ("acct_sample:requests", "requests", 60, "requests per minute"),
        ("acct_sample:m:requests", "requests", 3, "requests per minute"),
        ("acct_sample:m:tokens", "tokens", 1000, "tokens per minute"),
    ]


async def test_one_account_s_calls_share_windows_whatever_the_key() -> None:
    dispatch = await admitting(requests_per_minute=60)
    terms = [dispatch.admit(call(kind)) for kind in ("user_key", "self_host", "operator")]
    assert len({each.windows for each in terms if each is not None}) == 1


async def test_a_suspended_account_is_refused() -> None:
    with pytest.raises(AccountSuspended):
        (await admitting()).admit(call(suspended=True))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"requests_per_minute": 0}, r"tiers\.self-host\.requests_per_minute: expected a whole number >= 1"),
        ({"requests_per_minuet": 1}, r'tiers\.self-host\.requests_per_minuet: unknown key; .*"requests_per_minute"'),
        ({"cap_usd": "-1"}, r"tiers\.self-host: cap_usd: '-1' is not an amount of USD"),
        ({"cap_usd": 5}, r"tiers\.self-host\.cap_usd: expected text in quotes"),
    ],
)
async def test_bad_settings_are_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        await admitting(**settings)


async def test_an_account_that_changed_has_other_terms_at_once() -> None:
    dispatch, first, second = await admitting(cap_usd="1"), call(), call(cap=Units(7))
    before = dispatch.admit(first)
    assert dispatch.admit(first) is before
    changed = dispatch.admit(second)
    assert changed is not None
    assert changed.cap == Units(7)


async def test_each_model_has_its_own_terms() -> None:
    dispatch, account = await admitting(), samples.account(limits={"m": {"rpm": 3}})
    limited = dispatch.admit(samples.call("m", account=account))
    other = dispatch.admit(samples.call("n", account=account))
    assert limited is not None
    assert [window.limit for window in limited.windows] == [3]
    assert other == Terms("self-host")
