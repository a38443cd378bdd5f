"""The team tier: limits of each model by plan, overridden by the account's own, counted per account."""

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from spl_tier_team import Plugin

from gateway_core.config import Config
from gateway_core.dispatch import Dispatch
from gateway_core.errors import AccountSuspended, ConfigError, SubscriptionRequired
from gateway_core.money import Units
from gateway_core.testing import samples
from gateway_core.testing.plugins import load_plugins
from gateway_core.types import Call, Subscription

PLANS = {"beta": {"limits": {"small": {"rpm": 60, "tpm": 100_000}, "large": {"rpm": 30}}}}
OWN_PLAN = Subscription("sub_1", "acct_sample", "big", samples.STARTED_AT, cap=Units(9), limits={"small": {"tpm": 5}})


async def started(user_key: str = "team", **settings: Any) -> Dispatch:
    dispatch = Dispatch(load_plugins({"tier-team": Plugin}, {"tiers": {"team": settings}}))
    config = msgspec.convert({"bearers": {"user_key": user_key}, "plans": PLANS, "tiers": {"team": settings}}, Config)
    for _, startup in dispatch.startup:
        await startup(cast("Any", SimpleNamespace(config=config)))
    return dispatch


def call(model: str = "small", kind: str = "user_key", **account: Any) -> Call:
    return samples.call(model, principal=samples.principal(kind=kind), account=samples.account(**account))


def limits(dispatch: Dispatch, asked: Call) -> list[tuple[str, str, int]]:
    terms = dispatch.admit(asked)
    assert terms is not None
    assert {window.tier for window in terms.windows} <= {"team"}
    return [(window.key, window.label, window.limit) for window in terms.windows]


@pytest.mark.parametrize(("user_key", "kinds"), [("team", {"user_key", "instance"}), ("self-host", set())])
async def test_who_is_on_the_tier(user_key: str, kinds: set[str]) -> None:
    dispatch = await started(user_key, plan="beta")
    asked = ["user_key", "instance", "self_host", "gateway", "anonymous", "operator"]
    assert {kind for kind in asked if dispatch.admit(call(kind=kind)) is not None} == kinds


async def test_limits_come_from_the_plan_that_all_are_on() -> None:
    dispatch = await started(plan="beta")
    assert limits(dispatch, call()) == [
        ("acct_sample:small:requests", "requests per minute", 60),
        ("acct_sample:small:tokens", "tokens per minute", 100_000),
    ]
    assert limits(dispatch, call("large")) == [("acct_sample:large:requests", "requests per minute", 30)]


async def test_every_key_of_a_team_counts_in_the_same_windows() -> None:
    dispatch = await started(plan="beta")
    keys = [samples.call("small", principal=samples.principal(bearer_id=name)) for name in ("key_1", "key_2")]
    assert limits(dispatch, keys[0]) == limits(dispatch, keys[1])


async def test_an_account_can_be_given_other_limits() -> None:
    dispatch = await started(plan="beta")
    own = {"small": {"rpm": 600}, "extra": {"tpm": 10}}
    assert [limit for _, _, limit in limits(dispatch, call(limits=own))] == [600, 100_000]
    assert [limit for _, _, limit in limits(dispatch, call("extra", limits=own))] == [10]


async def test_a_subscription_replaces_the_plan_that_all_are_on() -> None:
    dispatch = await started(plan="beta")
    assert limits(dispatch, call(subscription=OWN_PLAN)) == [("acct_sample:small:tokens", "tokens per minute", 5)]
    terms = dispatch.admit(call(subscription=OWN_PLAN, cap=Units(20)))
    assert terms is not None
    assert terms.cap == 9
    cancelled = msgspec.structs.replace(OWN_PLAN, status="cancelled")
    assert len(limits(dispatch, call(subscription=cancelled))) == 2


async def test_a_model_outside_the_plan_is_refused() -> None:
    dispatch = await started(plan="beta")
    with pytest.raises(SubscriptionRequired, match="`other` is not part of the plan beta") as caught:
        dispatch.admit(call("other"))
    assert (caught.value.param, caught.value.tier) == ("model", "team")


async def test_before_the_body_is_read_no_window_is_known() -> None:
    assert limits(await started(plan="beta"), call("")) == []


async def test_without_any_plan_it_is_refused() -> None:
    dispatch = await started()
    with pytest.raises(SubscriptionRequired):
        dispatch.admit(call())
    assert limits(dispatch, call(subscription=OWN_PLAN)) != []
    with pytest.raises(SubscriptionRequired, match="suspended"):
        dispatch.admit(call(subscription=msgspec.structs.replace(OWN_PLAN, status="suspended")))
    with pytest.raises(AccountSuspended):
        dispatch.admit(call(suspended=True))


async def test_a_plan_that_is_not_there_stops_the_start() -> None:
    with pytest.raises(ConfigError, match=r"there is no plan \"bata\""):
        await started(plan="bata")
