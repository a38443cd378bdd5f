"""Idempotency-Keys over time, on the real store: how long an answer is kept, what frees a key, what is undecided."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway_core.clients import Listener
from gateway_core.config import IdempotencyConfig
from gateway_core.errors import Conflict, GatewayError, IdempotencyKeyReused, InternalError, ProviderError, StoreError
from gateway_core.home import Home
from gateway_core.idempotency import PRUNE_EVERY, PRUNED_AT_ONCE, Idempotency
from gateway_core.keyring import Keyring
from gateway_core.money import Units
from gateway_core.sealing import Seal
from gateway_core.settle import Settler
from gateway_core.store.sqlite import SqliteStore
from gateway_core.testing import answers_suite, samples
from gateway_core.testing.callers import Caller
from gateway_core.testing.calls import hold, settlement
from gateway_core.testing.clock import ManualClock
from gateway_core.types import Call, Outcome

HOUR = 3600.0


class Gateway:
    """Idempotency on a real store, and calls that are settled there without a provider."""

    def __init__(self, store: SqliteStore, home: Path, clock: ManualClock) -> None:
        self.store = store
        self.undecided: set[str] = set()
        settler: Any = SimpleNamespace(undecided=self.undecided.__contains__)
        self.idempotency = Idempotency(store, settler, Seal(Keyring(Home(home))), IdempotencyConfig(), clock)
        self.clock = clock
        self.made: list[str] = []
        self.outcome: Outcome = "ok"
        self.error: Exception | None = None
        self.keeps = True

    async def ask(self, request_id: str, key: str = "k", body: bytes = b"{}") -> Caller:
        caller = Caller(request_id=request_id)
        call = samples.call(id=request_id, started_at=self.clock.now_ms())
        await self.idempotency.serve(caller, call, body, key, self.run)
        return caller

    async def run(self, call: Call, client: Listener) -> None:
        """A call that ends as the test says."""
        self.made.append(call.id)
        held = hold(call.id, started_at=call.started_at)
        await self.store.ledger.hold(held)
        body = f"answer of {call.id}".encode()
        kept = client.keep(body) if self.keeps else None
        await self.store.ledger.settle(settlement(held, 30, outcome=self.outcome), kept)
        if self.error is not None:
            raise self.error
        await client.answer(body, Units(30))


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    clock = ManualClock()
    store = SqliteStore(tmp_path / "store.sqlite3", clock)
    await store.open()
    await store.directory.create_account(samples.account(), "test")
    yield Gateway(store, tmp_path, clock)
    await store.close()


async def test_an_answer_is_given_again_for_24_hours(gateway: Gateway) -> None:
    assert (await gateway.ask("req_1")).original is None
    gateway.clock.advance(24 * HOUR - 1)
    again = await gateway.ask("req_2")
    assert (again.got, again.original, again.charge) == ([b"answer of req_1"], "req_1", 0)
    with pytest.raises(IdempotencyKeyReused):
        await gateway.ask("req_3", body=b"other")
    gateway.clock.advance(1)
    assert (await gateway.ask("req_4", body=b"other")).got == [b"answer of req_4"]
    assert gateway.made == ["req_1", "req_4"]


async def test_what_expired_is_removed_in_the_background_a_little_at_a_time(gateway: Gateway) -> None:
    for number in range(3):
        await gateway.ask(f"req_{number}", key=f"k{number}")
    gateway.clock.advance(24 * HOUR)
    await gateway.idempotency.beat()
    await gateway.ask("req_3", key="k3")
    gateway.clock.advance(24 * HOUR)
    assert await gateway.store.answers.prune(gateway.clock.now_ms() - 1, PRUNED_AT_ONCE) == 0
    await gateway.idempotency.beat()
    assert await gateway.store.answers.prune(gateway.clock.now_ms(), PRUNED_AT_ONCE) == 0
    await gateway.ask("req_4", key="k4")
    gateway.clock.jump(24 * HOUR)
    gateway.clock.seconds += PRUNE_EVERY - 1
    await gateway.idempotency.beat()
    gateway.clock.seconds += 1
    assert await gateway.store.answers.prune(gateway.clock.now_ms(), 0) == 0
    await gateway.idempotency.beat()
    assert await gateway.store.answers.prune(gateway.clock.now_ms(), PRUNED_AT_ONCE) == 0


async def test_nothing_delivered_frees_the_key_whatever_the_body(gateway: Gateway) -> None:
    gateway.outcome, gateway.error = "failed", ProviderError("down")
    for number in range(2):
        with pytest.raises(ProviderError):
            await gateway.ask(f"req_{number}")
    gateway.outcome, gateway.error = "ok", None
    assert (await gateway.ask("req_3", body=b"other")).got == [b"answer of req_3"]


async def test_a_bug_of_ours_is_told_as_one(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    gateway.error = ZeroDivisionError("ours")
    with pytest.raises(InternalError, match="The gateway failed"):
        await gateway.ask("req_1")
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(("outcome", "message"), [("cut", "ended after a part"), ("ok", "is not kept")])
async def test_what_was_delivered_and_not_kept_is_never_made_twice(
    gateway: Gateway, outcome: Outcome, message: str
) -> None:
    gateway.outcome, gateway.keeps = outcome, False
    await gateway.ask("req_1")
    with pytest.raises(Conflict, match=message) as refused:
        await gateway.ask("req_2")
    assert "req_1" in refused.value.message
    with pytest.raises(IdempotencyKeyReused):
        await gateway.ask("req_3", body=b"other")
    assert gateway.made == ["req_1"]


async def test_while_a_settlement_is_undecided_so_is_its_key(gateway: Gateway) -> None:
    await gateway.ask("req_1")
    gateway.undecided.add("req_1")
    with pytest.raises(InternalError) as refused:
        await gateway.ask("req_2")
    assert refused.value.retry_after
    gateway.undecided.clear()
    assert (await gateway.ask("req_3")).original == "req_1"


async def test_a_key_is_its_bearer_s_own(gateway: Gateway) -> None:
    await gateway.ask("req_1")
    caller = Caller(request_id="req_2")
    call = samples.call(id="req_2", principal=samples.principal(bearer_id="key_other"))
    await gateway.idempotency.serve(caller, call, b"{}", "k", gateway.run)
    assert caller.original is None


async def test_many_at_once_are_one_call(gateway: Gateway) -> None:
    callers = await asyncio.gather(*(gateway.ask(f"req_{number}") for number in range(20)))
    assert gateway.made == ["req_0"]
    assert {tuple(caller.got) for caller in callers} == {(b"answer of req_0",)}
    assert sum(caller.charge or 0 for caller in callers) == 30


async def test_a_store_that_cannot_commit_is_said_so(gateway: Gateway) -> None:
    await gateway.store.close()
    with pytest.raises(GatewayError, match="store cannot be used"):
        await gateway.ask("req_1")


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_goes_the_way_of_its_settlement_when_a_commit_fails(
    gateway: Gateway, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream was delivered, so its settlement is made later, with its answer; a plain answer was withheld."""
    store, unused = gateway.store, Any
    settler = Settler(store, unused, unused, gateway.clock)  # type: ignore[arg-type]  # nothing is priced or counted
    place = answers_suite.place()
    await store.answers.claim(place)
    held = hold(place.request_id, stream=stream)
    await store.ledger.hold(held)
    await store.ledger.open(held)
    with monkeypatch.context() as broken:
        failed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        failed.set_exception(StoreError("the disk is full"))
        broken.setattr(store.ledger, "settle", lambda *_: failed)
        with pytest.raises(StoreError):
            await settler.post(settlement(held, 30), answers_suite.kept(place))
    await asyncio.sleep(0)
    assert settler.undecided(place.request_id)
    await settler.retry()
    assert not settler.undecided(place.request_id)
    found = await store.answers.claim(answers_suite.place(request_id="req_2"))
    row = await store.ledger.find(place.request_id)
    assert row is not None
    assert (found.answer if found else None, row.settlement.charge) == ((b"sealed", 30) if stream else (None, 0))
    assert (found is None) is not stream
