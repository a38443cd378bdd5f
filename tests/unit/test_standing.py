"""Where calls stand: kept exactly as long as the hooks' answers last, and never beyond."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_core.dispatch import Dispatch
from gateway_core.errors import AccountSuspended, GatewayError, ModelNotFound, SubscriptionRequired
from gateway_core.hookspecs import hookimpl, lasting
from gateway_core.money import Units
from gateway_core.settle import Settler
from gateway_core.standing import Standing, Standings
from gateway_core.testing import samples
from gateway_core.testing.clock import ManualClock
from gateway_core.testing.plugins import load_plugins
from gateway_core.types import Account, Call, Cost, ModelFacts, Principal, Route, Terms, Usage, Window

DAY_MS = 86_400_000
HOOKS = ("admit", "select_backend", "price")
MODELS = {
    "demo": ModelFacts("demo", (Route("one", "demo"),)),
    "dear": ModelFacts("dear", (Route("two", "dear"),), tiers=frozenset({"paid"})),
}


def plugin(asked: "Counter[str]", *, lasts: bool, hooks: tuple[str, ...] = HOOKS) -> type:
    """A plugin whose answers follow from what it may follow from, and which counts how often it is asked."""

    def admit(self: Any, call: Call) -> Terms | None:
        asked["admit"] += 1
        if call.account.suspended:
            raise AccountSuspended("no")
        window = Window(call.account.id, "tokens" if call.request.model == "dear" else "requests", 5)
        return Terms("open" if call.account.cap is None else "paid", (window,), call.account.cap)

    def select_backend(self: Any, call: Call) -> list[Route] | None:
        asked["select_backend"] += 1
        facts = MODELS.get(call.request.model)
        return None if facts is None else list(facts.routes)

    def price(self: Any, call: Call, usage: Usage) -> Cost | None:
        asked["price"] += 1
        day = call.started_at // DAY_MS
        return Cost(Units(usage.input), Units(0), samples.rates(price_id=f"{call.request.model}@{day}"))

    made: dict[str, Any] = {"admit": admit, "select_backend": select_backend, "price": price}
    marked = {hook: hookimpl(lasting(made[hook]) if lasts else made[hook]) for hook in hooks}
    return type("Plugin", (), {"API": 1, **marked})


def silent(*, lasts: bool) -> type:
    """A plugin that is asked for its terms and never has any."""

    def admit(self: Any, call: Call) -> Terms | None:
        return None

    return type("Plugin", (), {"API": 1, "admit": hookimpl(lasting(admit) if lasts else admit)})


def standings(*plugins: type) -> Standings:
    return Standings(Dispatch(load_plugins({f"p{place}": made for place, made in enumerate(plugins)})), MODELS)


def seen(standing: Standing) -> tuple[Any, ...]:
    return standing.facts, tuple(standing.routes), standing.terms, standing.counts_tokens


def test_lasting_answers_are_asked_for_once() -> None:
    asked: Counter[str] = Counter()
    made, call = standings(plugin(asked, lasts=True)), samples.call()
    first = made.of(call)
    later = msgspec.structs.replace(call, id="req_2", started_at=call.started_at + DAY_MS - 1, address="192.0.2.9")
    assert made.of(later) is first
    assert asked == {"admit": 1, "select_backend": 1}
    assert (first.counts_tokens, made.of(samples.call("demo")).counts_tokens) == (False, False)


@pytest.mark.parametrize(
    "change",
    [
        {"account": samples.account()},
        {"principal": samples.principal()},
        {"request": samples.request("dear"), "account": samples.account(cap=Units(5))},
        {"started_at": samples.STARTED_AT + DAY_MS},
        {"started_at": samples.STARTED_AT - 1},
    ],
    ids=["another account", "another principal", "another model", "the next day", "the day before"],
)
def test_they_are_asked_for_anew_when_what_they_follow_from_changes(change: dict[str, Any]) -> None:
    asked: Counter[str] = Counter()
    made, call = standings(plugin(asked, lasts=True)), samples.call()
    made.of(call)
    made.of(msgspec.structs.replace(call, **change))
    assert asked == {"admit": 2, "select_backend": 2}


@pytest.mark.parametrize("hook", ["admit", "select_backend"])
def test_one_plugin_that_promises_nothing_is_asked_each_time(hook: str) -> None:
    asked: Counter[str] = Counter()
    rest = tuple(each for each in HOOKS if each != hook)
    made = standings(plugin(asked, lasts=False, hooks=(hook,)), plugin(asked, lasts=True, hooks=rest))
    call = samples.call()
    for _ in range(3):
        made.of(call)
    assert asked == {"admit": 3, "select_backend": 3}


@pytest.mark.parametrize("lasts", [True, False])
def test_one_that_does_not_answer_must_promise_that_too(lasts: bool) -> None:
    asked: Counter[str] = Counter()
    made, call = standings(silent(lasts=lasts), plugin(asked, lasts=True)), samples.call()
    for _ in range(3):
        made.of(call)
    assert asked["admit"] == (1 if lasts else 3)


def test_a_refusal_is_not_kept() -> None:
    asked: Counter[str] = Counter()
    made = standings(plugin(asked, lasts=True))
    for _ in range(2):
        with pytest.raises(ModelNotFound):
            made.of(samples.call("nothing"))
        with pytest.raises(SubscriptionRequired):
            made.of(samples.call("dear"))
        with pytest.raises(ModelNotFound):
            made.of(samples.call("demo", principal=samples.principal(models=frozenset({"dear"}))))
    assert asked["select_backend"] == 6
    assert asked["admit"] == 2


@pytest.mark.parametrize("lasts", [True, False])
def test_rates_last_where_the_price_says_so(lasts: bool) -> None:
    asked: Counter[str] = Counter()
    dispatch = Dispatch(load_plugins({"p": plugin(asked, lasts=lasts)}))
    made, unused = Standings(dispatch, MODELS), Any
    settler = Settler(unused, dispatch, unused, ManualClock())  # type: ignore[arg-type]  # nothing is held here
    call = samples.call()
    for size in (100, 200, 300):
        again = msgspec.structs.replace(call, request=samples.request(size=size))
        hold = settler._worst(again, made.of(again))
        assert (hold.rates.price_id, hold.input_tokens) == (f"demo@{call.started_at // DAY_MS}", size + 64)
    assert asked["price"] == (1 if lasts else 3)


ACCOUNTS = [samples.account(), samples.account(), samples.account(cap=Units(9)), samples.account(suspended=True)]
PRINCIPALS = [samples.principal(), samples.principal(models=frozenset({"demo"})), samples.principal(bearer_id="key_2")]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(ACCOUNTS),
            st.sampled_from(PRINCIPALS),
            st.sampled_from(["demo", "dear", "nothing", ""]),
            st.integers(-2, 2),
        ),
        max_size=30,
    )
)
def test_what_is_kept_is_what_would_be_answered(steps: list[tuple[Account, Principal, str, int]]) -> None:
    kept = standings(plugin(Counter(), lasts=True))
    for account, principal, model, day in steps:
        at = samples.STARTED_AT + day * DAY_MS // 2
        call = samples.call(model, account=account, principal=principal, started_at=at)
        results: list[Any] = []
        for made in (kept, standings(plugin(Counter(), lasts=False))):
            try:
                results.append(seen(made.of(call)))
            except GatewayError as refusal:
                results.append((type(refusal), refusal.message))
        assert results[0] == results[1]
