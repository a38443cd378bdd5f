"""Who calls: known as long as what `authenticate` said lasts, and not a moment longer. On the real store."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from gateway_core import callers
from gateway_core.callers import LASTS_MS, Caller, Callers
from gateway_core.clock import month_bounds
from gateway_core.dispatch import Dispatch
from gateway_core.errors import AccountSuspended, InsufficientScope, InvalidBearer
from gateway_core.gates import Gates
from gateway_core.hookspecs import hookimpl, lasting
from gateway_core.store.sqlite import SqliteStore
from gateway_core.testing import samples
from gateway_core.testing.callers import Caller as Client
from gateway_core.testing.clock import ManualClock
from gateway_core.testing.plugins import load_plugins
from gateway_core.types import Credentials, Instance, Principal

SHOWN = Credentials("lab-1", "192.0.2.1")


class Bench:
    """Callers of one account, and a plugin that knows them."""

    def __init__(self, store: SqliteStore, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.answer: Principal | None = samples.principal()
        self.asked = 0
        self.callers = self.made(lasts=True)

    def made(self, *, lasts: bool) -> Callers:
        async def authenticate(_plugin: Any, credentials: Credentials) -> Principal | None:
            self.asked += 1
            return self.answer

        hook = hookimpl(lasting(authenticate) if lasts else authenticate)
        made = type("Plugin", (), {"API": 1, "authenticate": hook})
        return Callers(Dispatch(load_plugins({"lab": made})), self.store)

    def known(self, credentials: Credentials = SHOWN) -> Caller | None:
        return self.callers.known(credentials, self.clock.now_ms())

    async def find(self, credentials: Credentials = SHOWN) -> Caller:
        return await self.callers.find(credentials, self.clock.now_ms())


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = ManualClock()
    store = SqliteStore(tmp_path / "store.sqlite3", clock)
    await store.open()
    await store.directory.create_account(samples.account(), "test")
    yield Bench(store, clock)
    await store.close()


async def test_whoever_was_found_is_known(bench: Bench) -> None:
    assert bench.known() is None
    found = await bench.find()
    assert (found.principal, found.account.id) == (samples.principal(), "acct_sample")
    assert bench.known() is found
    assert bench.known(Credentials("lab-1", "192.0.2.2")) is found  # the address is no part of it
    assert bench.known(Credentials("lab-2", "192.0.2.1")) is None
    assert bench.asked == 1


async def test_it_lasts_a_minute(bench: Bench) -> None:
    found = await bench.find()
    bench.clock.advance(LASTS_MS / 1000 - 0.001)
    assert bench.known() is found
    bench.clock.advance(0.001)
    assert bench.known() is None
    again = await bench.find()
    assert bench.known() is again
    bench.clock.jump(-1)  # nor is it believed before it was said
    assert bench.known() is None


async def test_it_ends_with_its_day(bench: Bench) -> None:
    midnight = month_bounds("2026-11")[1]
    found = await bench.callers.find(SHOWN, midnight - 1000)
    assert found.month == "2026-11"
    assert bench.callers.known(SHOWN, midnight - 1) is found
    assert bench.callers.known(SHOWN, midnight) is None
    assert (await bench.callers.find(SHOWN, midnight)).month == "2026-12"


@pytest.mark.parametrize("came", ["with its head", "at once", "a second later"])
async def test_a_call_is_of_the_month_in_which_it_was_whole(bench: Bench, came: str) -> None:
    bench.clock.wall_ms = month_bounds("2026-11")[1] - 1
    body = b'{"model": "demo", "messages": [{"role": "user", "content": "Hi"}]}'
    unused = dict.fromkeys(("limiter", "settler", "counter", "losses"))
    gates = Gates(
        **cast("Any", unused),
        dispatch=bench.callers._dispatch,
        store=bench.store,
        models={},
        clock=bench.clock,
    )

    class Slow(Client):
        async def body(self) -> bytes:
            bench.clock.advance(1 if came == "a second later" else 0)
            return body

        def idempotency_key(self) -> None:  # type: ignore[override]  # it has none
            return None

    client = Slow()
    client.credentials = SHOWN
    client.here, client.has_body = (body if came == "with its head" else None), came == "at once"
    call, read, _ = await gates.identify(client)
    assert read == body
    assert call.month == ("2026-12" if came == "a second later" else "2026-11")
    assert call.started_at == bench.clock.now_ms()


async def test_it_ends_with_its_bearer(bench: Bench) -> None:
    bench.answer = samples.principal(expires_at=bench.clock.now_ms() + 5000)
    await bench.find()
    bench.clock.advance(4.999)
    assert bench.known() is not None
    bench.clock.advance(0.001)
    assert bench.known() is None


async def test_a_change_to_any_account_key_or_instance_ends_it(bench: Bench) -> None:
    found = await bench.find()
    account = samples.account(cap=None, limits={"demo": {"rpm": 3}})
    await bench.store.directory.update_account(account, "test", "account.update")
    assert bench.known() is None
    again = await bench.find()
    assert again.account.limits == {"demo": {"rpm": 3}} != found.account.limits
    instance = Instance("inst_1", "acct_sample", "self_host", "home", 0, pinned_keys="{}")
    await bench.store.instances.add(instance, "test")
    assert bench.known() is None
    await bench.find()
    await bench.store.instances.revoke_jti("inst_1", "jti", bench.clock.now_ms() + 1000, "test")
    assert bench.known() is None


async def test_a_change_while_it_is_found_makes_it_stale(bench: Bench) -> None:
    async def authenticate(_plugin: Any, credentials: Credentials) -> Principal | None:
        await bench.store.directory.update_account(samples.account(), "test", "account.update")
        return bench.answer

    made = type("Plugin", (), {"API": 1, "authenticate": hookimpl(lasting(authenticate))})
    bench.callers = Callers(Dispatch(load_plugins({"lab": made})), bench.store)
    await bench.find()
    assert bench.known() is None


async def test_what_promises_nothing_is_asked_each_time(bench: Bench) -> None:
    bench.callers = bench.made(lasts=False)
    await bench.find()
    assert bench.known() is None


async def test_who_shows_no_bearer_is_asked_for_each_time(bench: Bench) -> None:
    nobody = Credentials(None, "192.0.2.1")
    await bench.find(nobody)
    assert bench.known(nobody) is None


async def test_a_refusal_is_not_kept(bench: Bench) -> None:
    refused: list[tuple[Principal | None, type[Exception]]] = [
        (None, InvalidBearer),
        (samples.principal(account_id="acct_other"), InvalidBearer),
        (samples.principal(scopes=frozenset({"records:read"})), InsufficientScope),
    ]
    for bench.answer, refusal in refused:
        with pytest.raises(refusal):
            await bench.find()
        assert bench.known() is None
    bench.answer = samples.principal()
    suspended = msgspec.structs.replace(samples.account(), suspended=True)
    await bench.store.directory.update_account(suspended, "test", "account.suspend")
    with pytest.raises(AccountSuspended):
        await bench.find()
    assert bench.known() is None


async def test_the_oldest_make_room(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "_MOST_KEPT", 2)
    shown = [Credentials(f"lab-{number}", "") for number in range(3)]
    await bench.find(shown[0])
    await bench.find(shown[1])
    await bench.find(shown[0])
    await bench.find(shown[2])
    assert [bench.known(each) is not None for each in shown] == [True, False, True]
