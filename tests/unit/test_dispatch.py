"""Compiled hooks: who is asked, in what order, and what becomes of a plugin that misbehaves (fault 27)."""

import asyncio
import logging
from typing import Any

import pytest

from gateway_core.dispatch import Dispatch
from gateway_core.errors import InternalError, InvalidBearer, ProviderFault, SubscriptionRequired
from gateway_core.hookspecs import hookimpl, lasting
from gateway_core.money import Units
from gateway_core.testing import samples
from gateway_core.testing.plugins import load_plugins
from gateway_core.types import Cost, Credentials, Principal, Route, Terms, Usage

CREDENTIALS = Credentials("sk-secret-bearer", "127.0.0.1")
CALL = samples.call()
COST = Cost(Units(3), Units(2), samples.rates())


def dispatch(*classes: type, **options: float) -> Dispatch:
    """The named hooks of these classes, asked in the order given."""
    return Dispatch(load_plugins({f"p{place}": made for place, made in enumerate(classes)}), **options)


def plugin(**hooks: Any) -> type:
    """A plugin class with these functions for hooks."""
    return type("Plugin", (), {"API": 1, **{name: hookimpl(function) for name, function in hooks.items()}})


def answering(answer: Any) -> dict[str, Any]:
    """Every decision hook, answering the same."""

    async def authenticate(self: Any, credentials: Credentials) -> Any:
        return raised(answer)

    def admit(self: Any, call: Any) -> Any:
        return raised(answer)

    def select_backend(self: Any, call: Any) -> Any:
        return raised(answer)

    def price(self: Any, call: Any, usage: Any) -> Any:
        return raised(answer)

    return {"authenticate": authenticate, "admit": admit, "select_backend": select_backend, "price": price}


def raised(answer: Any) -> Any:
    if isinstance(answer, BaseException):
        raise answer
    return answer


async def ask(compiled: Dispatch, hook: str) -> Any:
    if hook == "authenticate":
        return await compiled.authenticate(CREDENTIALS)
    if hook == "price":
        return compiled.price(CALL, Usage())
    return getattr(compiled, hook)(CALL)


DECISIONS = ["authenticate", "admit", "select_backend", "price"]
GOOD: dict[str, Any] = {
    "authenticate": samples.principal(),
    "admit": Terms("paid"),
    "select_backend": [Route("demo", "demo")],
    "price": COST,
}


@pytest.mark.parametrize("hook", DECISIONS)
async def test_nobody_answers(hook: str) -> None:
    assert await ask(dispatch(), hook) is None
    assert await ask(dispatch(plugin(**answering(None))), hook) is None
    assert await ask(dispatch(plugin(**answering(None)), plugin(**answering(None))), hook) is None


@pytest.mark.parametrize("hook", DECISIONS)
async def test_none_asks_the_next_and_the_first_answer_wins(hook: str) -> None:
    silent, good, wrong = plugin(**answering(None)), plugin(**answering(GOOD[hook])), plugin(**answering("no"))
    assert await ask(dispatch(good), hook) is GOOD[hook]
    assert await ask(dispatch(silent, good, wrong), hook) is GOOD[hook]


@pytest.mark.parametrize("hook", DECISIONS)
async def test_a_refusal_passes_as_it_is_and_nobody_else_is_asked(hook: str) -> None:
    refusal = SubscriptionRequired("mine, and refused")
    compiled = dispatch(plugin(**answering(refusal)), plugin(**answering(GOOD[hook])))
    with pytest.raises(SubscriptionRequired) as caught:
        await ask(compiled, hook)
    assert caught.value is refusal


@pytest.mark.parametrize("hook", DECISIONS)
@pytest.mark.parametrize(
    "failure", [ValueError("sk-secret-bearer"), ProviderFault("sk-secret-bearer"), KeyError("sk-secret-bearer")]
)
async def test_27_a_plugin_that_raises_fails_closed_and_is_named(
    hook: str, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    compiled = dispatch(plugin(**answering(None)), plugin(**answering(failure)), plugin(**answering(GOOD[hook])))
    with pytest.raises(InternalError, match=r"^The plugin p1 failed\.$") as caught:
        await ask(compiled, hook)
    assert caught.value.__cause__ is not None
    assert f"plugin p1 failed in {hook}: " in caplog.text
    assert "test_dispatch.py" in caplog.text
    assert "sk-secret-bearer" not in caplog.text


@pytest.mark.parametrize(
    ("hook", "answer"),
    [
        ("authenticate", "acct_1"),
        ("authenticate", False),
        ("admit", "paid"),
        ("admit", 0),
        ("admit", Terms("paid\r\nset-cookie: a=b", (), None)),
        ("admit", Terms("bezahlt für alle", (), None)),
        ("select_backend", []),
        ("select_backend", (Route("a", "b"),)),
        ("select_backend", ["demo"]),
        ("select_backend", Route("a", "b")),
        ("price", 3),
        ("price", Cost(1.5, Units(0), samples.rates())),  # type: ignore[arg-type]  # what a careless plugin does
        ("price", Cost(Units(-1), Units(0), samples.rates())),
        ("price", Cost(Units(1), Units(-1), samples.rates())),
        ("price", Cost(True, Units(0), samples.rates())),  # type: ignore[arg-type]  # what a careless plugin does
    ],
)
async def test_27_a_wrong_answer_fails_closed_and_is_named(
    hook: str, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    compiled = dispatch(plugin(**answering(answer)), plugin(**answering(GOOD[hook])))
    with pytest.raises(InternalError, match=r"^The plugin p0 failed\.$"):
        await ask(compiled, hook)
    assert f"plugin p0 failed in {hook}: its answer, a {type(answer).__name__}, is not one" in caplog.text


async def test_27_authenticate_that_hangs_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    cleaned = []

    async def authenticate(self: Any, credentials: Credentials) -> Principal | None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)
        return samples.principal()

    compiled = dispatch(plugin(authenticate=authenticate), authenticate_seconds=0.01)
    with pytest.raises(InternalError, match=r"^The plugin p0 failed\.$"):
        await compiled.authenticate(CREDENTIALS)
    assert cleaned == [True]
    assert "plugin p0 failed in authenticate: TimeoutError" in caplog.text


async def test_authenticate_may_wait_raise_and_be_refused_after_waiting() -> None:
    ready: asyncio.Future[Principal] = asyncio.get_running_loop().create_future()

    async def waits(self: Any, credentials: Credentials) -> Principal | None:
        await asyncio.sleep(0)
        return await ready

    async def recovers(self: Any, credentials: Credentials) -> Principal | None:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            await asyncio.sleep(0)
        return None

    async def refuses(self: Any, credentials: Credentials) -> Principal | None:
        await asyncio.sleep(0)
        raise InvalidBearer

    compiled = dispatch(plugin(authenticate=recovers), plugin(authenticate=waits), plugin(authenticate=refuses))
    asking = asyncio.ensure_future(compiled.authenticate(CREDENTIALS))
    ready.set_result(samples.principal())
    assert await asking == samples.principal()
    with pytest.raises(InvalidBearer):
        await dispatch(plugin(authenticate=refuses)).authenticate(CREDENTIALS)


async def test_a_caller_that_gives_up_cancels_the_plugin() -> None:
    cleaned: list[str] = []
    started = asyncio.Event()

    async def authenticate(self: Any, credentials: Credentials) -> Principal | None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cleaned.append("cancelled")
            raise
        return None

    asking = asyncio.ensure_future(dispatch(plugin(authenticate=authenticate)).authenticate(CREDENTIALS))
    await started.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert cleaned == ["cancelled"]


def test_an_implementation_may_take_fewer_arguments_or_another_order() -> None:
    def only_usage(self: Any, usage: Usage) -> Cost | None:
        return COST if usage.input == 7 else None

    def turned(self: Any, usage: Usage, call: Any) -> Cost | None:
        return COST if (usage.input, call) == (8, CALL) else None

    def nothing(self: Any) -> Cost | None:
        return COST

    compiled = dispatch(plugin(price=only_usage), plugin(price=turned))
    assert compiled.price(CALL, Usage(input=7)) is COST
    assert compiled.price(CALL, Usage(input=8)) is COST
    assert compiled.price(CALL, Usage(input=9)) is None
    assert dispatch(plugin(price=nothing)).price(CALL, Usage()) is COST


def test_every_hooks_keep_their_plugins_names_and_shutdown_is_reversed() -> None:
    async def startup(self: Any) -> None: ...
    async def shutdown(self: Any) -> None: ...
    async def emit_audit(self: Any, record: Any) -> None: ...

    each = plugin(startup=startup, shutdown=shutdown, emit_audit=emit_audit)
    compiled = dispatch(each, each)
    assert [name for name, _ in compiled.startup] == ["p0", "p1"]
    assert [name for name, _ in compiled.shutdown] == ["p1", "p0"]
    assert [name for name, _ in compiled.emit_audit] == ["p0", "p1"]


def test_two_gateways_in_one_process_share_nothing() -> None:
    one, two = dispatch(plugin(**answering(GOOD["admit"]))), dispatch()
    assert one.admit(CALL) == Terms("paid")
    assert two.admit(CALL) is None


def test_nothing_is_logged_for_a_refusal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(SubscriptionRequired):
        dispatch(plugin(**answering(SubscriptionRequired("no")))).admit(CALL)
    assert caplog.text == ""


def test_a_decision_lasts_where_all_that_may_make_it_say_so() -> None:
    hooks = answering(None)
    marked = {name: lasting(function) for name, function in answering(None).items()}
    everything = frozenset(DECISIONS)
    assert dispatch().lasting == everything
    assert dispatch(plugin(**marked)).lasting == everything
    assert dispatch(plugin(**hooks)).lasting == frozenset()
    assert dispatch(plugin(**marked), plugin(admit=hooks["admit"])).lasting == everything - {"admit"}
    assert dispatch(plugin(**marked), plugin(price=hooks["price"])).lasting == everything - {"price"}
