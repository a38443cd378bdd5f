"""What the gates cost: a bearer that was verified before, and everything until the hold, in CPU a call.

    .venv/bin/python -m scripts.benchmark.gates

In one process and without a socket; the managed profile, an account on a plan with a cap, a key with one of its own.
Decoding the body and giving back what was taken are not the gates', and are measured apart.
"""

import asyncio
import gc
import itertools
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from gateway_core import config_file
from gateway_core.callers import Callers
from gateway_core.clock import month_of
from gateway_core.gateway import Gateway
from gateway_core.home import Home
from gateway_core.key_text import new_key_text
from gateway_core.money import parse_usd
from gateway_core.plans import subscription_to
from gateway_core.standing import Standing, Standings
from gateway_core.types import Account, Call, ChatRequest, Credentials, Hold, Key, Reservation
from gateway_core.wire.chat import decode_request

CONFIG = """
include = ["shipped:syncropic.toml"]
[tiers.paid]
requests_per_minute = 1000000000
[providers.openai]
plugin = "provider-demo"
"""
BODY = b'{"model":"gpt-4o","messages":[{"role":"user","content":"Say hello in one sentence."}],"max_tokens":64}'
UNREAD = ChatRequest(model="", body={}, size=0)
ACCOUNT, KEY = "acct_bench", "key_bench"
CALLS = 5000
ROUNDS = 7

Step = Callable[[], Awaitable[object]]


class Gates:
    """The steps of `pipeline.Pipeline` up to the hold, one by one."""

    def __init__(self, gateway: Gateway, credentials: Credentials, call: Call, standing: Standing) -> None:
        self._gateway = gateway
        self._services = gateway.services
        self._callers = Callers(gateway.dispatch, gateway.services.store)
        self._standings = Standings(gateway.dispatch, gateway.services.models)
        self._credentials = credentials
        self._call = call
        self._standing = standing
        self._ids = itertools.count()

    async def bearer(self) -> None:
        """Who calls, and for whom."""
        now = self._call.started_at
        if self._callers.known(self._credentials, now) is None:
            await self._callers.find(self._credentials, now)

    async def look(self) -> None:
        """The minute, before the body is read."""
        terms = self._gateway.dispatch.admit(msgspec.structs.replace(self._call, request=UNREAD))
        assert terms is not None
        await self._services.limiter.peek(terms.windows)

    async def tier(self) -> None:
        """Model, key and tier."""
        self._standings.of(self._call)

    async def limits(self) -> Reservation:
        """The windows."""
        return await self._services.limiter.reserve(self._standing.terms.windows, 0)

    async def hold(self) -> Hold:
        """Price and caps."""
        call = msgspec.structs.replace(self._call, id=str(next(self._ids)))
        hold = self._gateway.settler.hold_now(call, self._standing)
        assert hold is not None
        return hold

    async def all(self) -> None:
        """Every step, and what was taken is given back."""
        await self.bearer()
        await self.look()
        await self.tier()
        self._services.limiter.cancel(await self.limits())
        self._services.store.ledger.release(await self.hold())

    async def decode(self) -> None:
        """The body."""
        decode_request(BODY)


async def prepared(gateway: Gateway) -> Gates:
    """All steps, about one call."""
    call, standing, credentials = await prepared_call(gateway)
    gates = Gates(gateway, credentials, call, standing)
    hold, _ = await gateway.settler.hold(call, standing)  # its months are read
    gateway.services.store.ledger.release(hold)
    return gates


async def prepared_call(gateway: Gateway) -> tuple[Call, Standing, Credentials]:
    """A call on an account of its own, with a plan and a key."""
    store, clock = gateway.services.store, gateway.services.clock
    secret = new_key_text()
    await store.directory.create_account(Account(ACCOUNT, "bench", clock.now_ms()), "bench")
    plans = gateway.services.config.plans
    await store.subscriptions.start(subscription_to("pro", plans, ACCOUNT, clock.now_ms()), "bench")
    key = Key(KEY, ACCOUNT, "bench", ("inference",), clock.now_ms(), "sk-…", cap=parse_usd("100"))
    await store.directory.add_key(key, gateway.services.keyring.digest(secret), "bench")
    credentials = Credentials(secret, "192.0.2.1")
    principal = await gateway.dispatch.authenticate(credentials)
    account = await store.directory.account(ACCOUNT)
    assert principal is not None
    assert account is not None
    now = clock.now_ms()
    call = Call("req_0", principal, account, decode_request(BODY), "/v1/chat/completions", now, month_of(now))
    return call, Standings(gateway.dispatch, gateway.services.models).of(call), credentials


async def microseconds(step: Step) -> float:
    """CPU of one call of a step, in the quietest of several rounds."""
    seen = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(CALLS):
            await step()
        seen.append((time.process_time() - began) / CALLS * 1e6)
    return min(seen)


async def measure(folder: Path) -> None:
    """Prints a line for each step, and one for all."""
    file = folder / "bench.toml"
    file.write_text(CONFIG)
    home = Home(folder / "home")
    home.ensure()
    gateway = Gateway.assemble(config_file.load(file, home), home)
    await gateway.start()
    try:
        gates = await prepared(gateway)
        gc.collect()
        gc.freeze()
        limiter, ledger = gateway.services.limiter, gateway.services.store.ledger

        async def limits() -> None:
            limiter.cancel(await gates.limits())

        async def hold() -> None:
            ledger.release(await gates.hold())

        steps: dict[str, Step] = {
            "bearer": gates.bearer,
            "look": gates.look,
            "tier": gates.tier,
            "limits, given back": limits,
            "hold, released": hold,
            "all of these": gates.all,
            "decoding, apart": gates.decode,
        }
        for name, step in steps.items():
            print(f"{name:20} {await microseconds(step):6.2f} µs")
    finally:
        await gateway.stop()


def main() -> None:
    os.environ.setdefault("OPENAI_API_KEY", "none-is-needed")
    with tempfile.TemporaryDirectory(prefix="spl-gates-") as folder:
        asyncio.run(measure(Path(folder)))


if __name__ == "__main__":
    main()
