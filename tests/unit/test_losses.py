"""The bound of the house's loss: by account and UTC day, from the store's rollups and what is settled since."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway_core.config_file import from_tables
from gateway_core.errors import ConfigError, RateLimited
from gateway_core.losses import Losses
from gateway_core.money import Units
from gateway_core.store.sqlite import SqliteStore
from gateway_core.store_ports import Store
from gateway_core.testing import samples
from gateway_core.testing.calls import hold, settlement
from gateway_core.testing.clock import ManualClock
from gateway_core.tokens import Tokens
from gateway_core.types import ModelFacts, Route, Usage
from gateway_core.usage import UNSEEN_PER_SECOND, UsageCounter

DAY_MS = 86_400_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(samples.STARTED_AT)


@pytest.fixture
async def store(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Store]:
    made = SqliteStore(tmp_path / "store.sqlite3", clock)
    await made.open()
    await made.directory.create_account(samples.account(), "test")
    yield made
    await made.close()


async def lose(store: Store, call_id: str, loss: int, started_at: int = samples.STARTED_AT) -> None:
    held = hold(call_id, started_at=started_at)
    await store.ledger.hold(held)
    await store.ledger.settle(settlement(held, 0, loss=Units(loss), outcome="cut"))


async def test_the_bound_holds_for_an_account_and_a_day(store: Store, clock: ManualClock) -> None:
    losses = Losses(store, Units(10), clock)
    await losses.load()
    losses.check(samples.call(), "paid")
    for _ in range(2):
        losses.note(settlement(hold(), 0, loss=Units(5), outcome="cut"))
    with pytest.raises(RateLimited) as refused:
        losses.check(samples.call(started_at=samples.STARTED_AT + DAY_MS - 1500), "paid")
    assert (refused.value.retry_after, refused.value.should_retry, refused.value.tier) == (2, False, "paid")
    losses.check(samples.call(started_at=samples.STARTED_AT + DAY_MS), "paid")
    losses.check(samples.call(account=samples.account(id="acct_other")), "paid")


async def test_what_was_delivered_whole_counts_for_nothing(store: Store, clock: ManualClock) -> None:
    held = hold("req_absurd")
    absurd = settlement(held, 100, loss=Units(1_000), outcome="ok")
    await store.ledger.hold(held)
    await store.ledger.settle(absurd)
    losses = Losses(store, Units(10), clock)
    await losses.load()
    losses.note(absurd)
    losses.check(samples.call(), "paid")


async def test_a_restart_reads_the_day_from_the_store(store: Store, clock: ManualClock) -> None:
    await lose(store, "req_1", 100, samples.STARTED_AT - 1)
    await lose(store, "req_2", 6)
    losses = Losses(store, Units(10), clock)
    await losses.load()
    losses.check(samples.call(), "paid")
    await lose(store, "req_3", 4)
    await losses.load()
    with pytest.raises(RateLimited):
        losses.check(samples.call(), "paid")


async def test_days_that_are_over_are_forgotten_and_a_wall_clock_set_back_forgives_nothing(
    store: Store, clock: ManualClock
) -> None:
    losses = Losses(store, Units(10), clock)
    losses.note(settlement(hold(), 0, loss=Units(10), outcome="cut"))
    losses.note(settlement(hold(started_at=samples.STARTED_AT + DAY_MS), 0, loss=Units(1), outcome="cut"))
    with pytest.raises(RateLimited):
        losses.check(samples.call(), "paid")
    losses.note(settlement(hold(started_at=samples.STARTED_AT + 2 * DAY_MS), 0, loss=Units(1), outcome="cut"))
    losses.check(samples.call(), "paid")


async def test_a_bound_of_nothing_refuses_only_who_cost_something(store: Store, clock: ManualClock) -> None:
    losses = Losses(store, Units(0), clock)
    losses.note(settlement(hold(), 0, loss=Units(1), outcome="cut"))
    losses.check(samples.call(account=samples.account(id="acct_other")), "paid")
    with pytest.raises(RateLimited):
        losses.check(samples.call(), "paid")


async def test_without_a_bound_nothing_is_refused(store: Store, clock: ManualClock) -> None:
    losses = Losses(store, None, clock)
    await losses.load()
    losses.note(settlement(hold(), 0, loss=Units(10**17)))
    losses.check(samples.call(), "paid")


@pytest.mark.parametrize(
    ("features", "stream", "delivered", "seconds", "output"),
    [
        ({"stream", "reasoning"}, True, 3, 2.0, 2 * UNSEEN_PER_SECOND),
        ({"stream", "reasoning"}, True, 40, 0.0, 40),
        ({"stream", "reasoning"}, True, 3, 3600.0, 500),
        ({"stream"}, True, 3, 3600.0, 3),
        ({"stream"}, False, 0, 2.0, 2 * UNSEEN_PER_SECOND),
    ],
    ids=["reasons", "wrote more", "never more than the hold", "hides nothing", "a plain answer"],
)
def test_what_a_provider_made_unseen_is_estimated_by_time(
    features: set[str], stream: bool, delivered: int, seconds: float, output: int
) -> None:
    facts = ModelFacts("m", (Route("p", "m"),), features=frozenset(features))
    counter = UsageCounter(Tokens())
    request = samples.request(stream=stream, size=400)
    held = hold(output_tokens=500)
    usage = counter.of_cut_provider(request, facts, held, Usage(input=7, output=delivered), seconds)
    assert usage == Usage(input=7, output=output, estimated=True)
    assert counter.of_cut_provider(request, facts, held, Usage(), seconds).input == 100


def test_the_bound_is_an_amount_or_none() -> None:
    for text in ("0", "12.50", "unlimited"):
        assert from_tables({"limits": {"loss_usd_per_day": text}}, name="f").config.limits.loss_usd_per_day == text
    with pytest.raises(ConfigError, match=r"limits\.loss_usd_per_day"):
        from_tables({"limits": {"loss_usd_per_day": "much"}}, name="f")
