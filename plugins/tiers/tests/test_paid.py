"""The paid tier: whom it admits, what it asks of a subscription, and which limits and cap bind."""

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from spl_tiers.paid import Plugin
from spl_tiers.self_host import Plugin as SelfHost

from gateway_core.config import Config
from gateway_core.dispatch import Dispatch
from gateway_core.errors import AccountSuspended, SubscriptionRequired
from gateway_core.money import Units
from gateway_core.testing import samples
from gateway_core.testing.plugins import load_plugins
from gateway_core.types import Call, Subscription, Terms

PRO = Subscription("sub_1", "acct_sample", "pro", samples.STARTED_AT, cap=Units(200), limits={"m": {"rpm": 7}})


async def started(plugin: type = Plugin, user_key: str = "paid", **settings: Any) -> Dispatch:
    tables = {plugin.SECTION.partition(".")[0]: {plugin.SECTION.partition(".")[2]: settings}}  # type: ignore[attr-defined]  # both tiers have one
    dispatch = Dispatch(load_plugins({"tier": plugin}, {**tables}))
    config = msgspec.convert({"bearers": {"user_key": user_key}}, Config)
    for _, startup in dispatch.startup:
        await startup(cast("Any", SimpleNamespace(config=config)))
    return dispatch


def call(kind: str = "user_key", **account: Any) -> Call:
    given = {"subscription": PRO, **account}
    return samples.call("m", principal=samples.principal(kind=kind), account=samples.account(**given))


def admitted(dispatch: Dispatch, asked: Call) -> Terms:
    terms = dispatch.admit(asked)
    assert terms is not None
    return terms


@pytest.mark.parametrize(("user_key", "kinds"), [("paid", {"user_key", "instance"}), ("self-host", set())])
async def test_who_is_on_the_tier(user_key: str, kinds: set[str]) -> None:
    dispatch = await started(user_key=user_key)
    asked = ["user_key", "instance", "self_host", "gateway", "anonymous", "operator"]
    assert {kind for kind in asked if dispatch.admit(call(kind)) is not None} == kinds


async def test_the_published_minute_and_the_plans_limits_on_the_model() -> None:
    terms = admitted(await started(), call())
    assert [(each.key, each.limit, each.label, each.tier) for each in terms.windows] == [
        ("acct_sample:requests", 60, "requests per minute", "paid"),
        ("acct_sample:m:requests", 7, "requests per minute", "paid"),
    ]


async def test_the_accounts_own_limits_override_the_plans_one_by_one() -> None:
    dispatch = await started(requests_per_minute=5)
    terms = admitted(dispatch, call(limits={"m": {"tpm": 9000}}))
    assert [(each.unit, each.limit) for each in terms.windows] == [("requests", 5), ("requests", 7), ("tokens", 9000)]
    terms = admitted(dispatch, call(limits={"m": {"rpm": 70}}))
    assert [each.limit for each in terms.windows] == [5, 70]


@pytest.mark.parametrize(
    ("account", "subscription", "bound"), [(None, 200, 200), (100, 200, 100), (300, 200, 200), (100, None, 100)]
)
async def test_the_tighter_cap_binds(account: int | None, subscription: int | None, bound: int) -> None:
    plan = msgspec.structs.replace(PRO, cap=None if subscription is None else Units(subscription))
    cap = None if account is None else Units(account)
    assert admitted(await started(), call(cap=cap, subscription=plan)).cap == bound


@pytest.mark.parametrize("status", [None, "cancelled", "suspended"])
@pytest.mark.parametrize("kind", ["user_key", "instance"])
async def test_without_an_active_subscription_it_is_refused(status: Any, kind: str) -> None:
    dispatch = await started()
    plan = None if status is None else msgspec.structs.replace(PRO, status=status)
    with pytest.raises(SubscriptionRequired) as caught:
        dispatch.admit(call(kind, subscription=plan))
    assert (caught.value.status, caught.value.code, caught.value.tier) == (402, "subscription_required", "paid")


async def test_a_suspended_account_is_refused_before_its_subscription_is_asked_for() -> None:
    dispatch = await started()
    with pytest.raises(AccountSuspended):
        dispatch.admit(call(suspended=True, subscription=None))


async def test_self_host_bearers_share_the_minute_and_the_cap_and_may_need_a_subscription() -> None:
    dispatch = await started(SelfHost, requests_per_minute=60, needs_subscription=True)
    terms = admitted(dispatch, call("self_host"))
    assert (terms.tier, terms.cap) == ("self-host", 200)
    assert terms.windows[0].key == admitted(await started(), call()).windows[0].key
    with pytest.raises(SubscriptionRequired):
        dispatch.admit(call("self_host", subscription=None))
    assert dispatch.admit(call("operator", subscription=None)) is not None
    free = await started(SelfHost)
    assert admitted(free, call("self_host", subscription=None)).cap is None
