"""Fault 21: an issuer's keys are rotated, or their server is down: one fetch in 30 s, and the last good set serves."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway_core import jwt
from gateway_core.eddsa import Key
from gateway_core.errors import InvalidBearer, InvalidJwtSignature
from gateway_core.instances import InstanceBearersPlugin
from gateway_core.store.sqlite import SqliteStore
from gateway_core.store_ports import Store
from gateway_core.testing import samples
from gateway_core.testing.clock import ManualClock
from gateway_core.testing.key_server import KeyServer, key_server
from gateway_core.types import Credentials, Instance, Principal
from gateway_core.upstream.outside import GuardedOutside

AUDIENCE = "https://gateway.example"


class Bench:
    """The plugin on an open store, and an issuer with two keys, its set on a server of its own."""

    def __init__(self, store: Store, server: KeyServer) -> None:
        self.store = store
        self.server = server
        self.clock = ManualClock()
        self.plugin = InstanceBearersPlugin()
        self.outside = GuardedOutside(allow_private=True)
        self.old, self.new = jwt.new_key(), jwt.new_key()
        self.id = jwt.instance_id(self.old)

    async def start(self) -> None:
        directory = self.store.directory
        await directory.create_account(samples.account(), "test")
        text = jwt.key_set_text({self.old.thumbprint(): self.old})
        url = f"{self.server.url}/jwks.json"
        fetched = self.clock.now_ms()
        await self.store.instances.add(
            Instance(self.id, "acct_sample", "self_host", "office", fetched, None, url, text, fetched), "test"
        )
        services: Any = SimpleNamespace(
            store=self.store,
            clock=self.clock,
            outside=self.outside,
            site=SimpleNamespace(url=AUDIENCE),
            signer=SimpleNamespace(instance_id="inst_self"),
        )
        await self.plugin.startup(services)

    def publish(self, *keys: Key) -> None:
        self.server.body = json.dumps({"keys": [jwt.public_jwk(key) for key in keys]}).encode()

    async def call(self, key: Key, jti: str = "jti_1") -> Principal | None:
        bearer = jwt.sign(
            key,
            issuer=self.id,
            purpose="inference",
            audience=AUDIENCE,
            scope="inference",
            jti=jti,
            now_ms=self.clock.now_ms(),
            seconds=3600,
        )
        return await self.plugin.authenticate(Credentials(bearer, "127.0.0.1"))

    @property
    def fetches(self) -> int:
        return len(self.server.asked)

    async def until_fetched(self, number: int) -> None:
        async with asyncio.timeout(30):
            while self.fetches < number:  # noqa: ASYNC110  # the server counts in a thread of its own
                await asyncio.sleep(0.01)


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with key_server() as served:
        yield served


@pytest.fixture
async def bench(tmp_path: Path, server: KeyServer) -> AsyncIterator[Bench]:
    store = SqliteStore(tmp_path / "store.sqlite3", ManualClock())
    await store.open()
    made = Bench(store, server)
    await made.start()
    yield made
    await made.plugin.shutdown()
    await made.outside.close()
    await store.close()


async def test_a_key_that_is_new_is_fetched_once_for_all_that_wait(bench: Bench) -> None:
    bench.publish(bench.old, bench.new)
    answers = await asyncio.gather(*[bench.call(bench.new, f"jti_{number}") for number in range(20)])
    assert {answer.account_id for answer in answers if answer} == {"acct_sample"}
    assert bench.fetches == 1
    assert await bench.call(bench.old) is not None
    assert bench.fetches == 1


async def test_unknown_keys_fetch_at_most_once_in_30_seconds(bench: Bench) -> None:
    bench.publish(bench.old)
    for number in range(50):
        with pytest.raises(InvalidJwtSignature):
            await bench.call(jwt.new_key(), f"jti_{number}")
    assert bench.fetches == 1
    bench.clock.advance(29.9)
    with pytest.raises(InvalidJwtSignature):
        await bench.call(bench.new)
    assert bench.fetches == 1
    bench.clock.advance(0.1)
    bench.publish(bench.new)
    assert await bench.call(bench.new) is not None
    assert bench.fetches == 2


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"{}"),
        (404, b""),
        (302, b""),
        (200, b""),
        (200, b"<html>"),
        (200, b'{"keys": []}'),
        (200, b'{"keys": [{"kty": "RSA"}]}'),
        (200, b"[" * 60_000),
        (200, b" " * 70_000),
        (200, b"\xff\xfe"),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_the_last_good_set_serves_while_the_server_is_down(bench: Bench, status: int, body: bytes) -> None:
    bench.server.status, bench.server.body = status, body
    bench.server.headers = {"location": f"{bench.server.url}/elsewhere"} if status == 302 else {}
    for round_ in range(3):
        with pytest.raises(InvalidJwtSignature):
            await bench.call(bench.new)
        assert await bench.call(bench.old, f"jti_{round_}") is not None
        assert bench.fetches == round_ + 1
        bench.clock.advance(30)
    assert {path for _, path, _ in bench.server.asked} == {"/jwks.json"}


async def test_a_set_that_was_fetched_is_kept_in_the_store(bench: Bench) -> None:
    bench.publish(bench.old, bench.new)
    assert await bench.call(bench.new) is not None
    found = await bench.store.instances.find(bench.id)
    assert found is not None
    assert set(jwt.read_key_set(found.jwks or "")) == {bench.old.thumbprint(), bench.new.thumbprint()}
    assert found.jwks_fetched_at == bench.clock.now_ms()


async def test_a_key_that_was_withdrawn_ends_though_its_bearers_were_verified(bench: Bench) -> None:
    bench.publish(bench.new)
    assert await bench.call(bench.old) is not None
    bench.clock.advance(299)
    assert await bench.call(bench.old) is not None
    assert bench.fetches == 0
    bench.clock.advance(1)
    assert await bench.call(bench.old, "jti_old") is not None  # the last good set, while a new one is fetched
    await bench.until_fetched(1)
    async with asyncio.timeout(30):
        while True:
            try:
                await bench.call(bench.old, "jti_old")
            except InvalidJwtSignature:
                break
            await asyncio.sleep(0.01)
    assert await bench.call(bench.new) is not None
    assert bench.fetches == 1


async def test_a_change_ends_what_was_cached_at_once(bench: Bench) -> None:
    """Fault 22's side of identity: who looks again, as open streams do each second, is refused."""
    assert await bench.call(bench.old) is not None
    await bench.store.instances.revoke_jti(bench.id, "jti_1", bench.clock.now_ms() + 10_000_000, "test")
    with pytest.raises(InvalidBearer):
        await bench.call(bench.old)
    assert await bench.call(bench.old, "jti_2") is not None
    found = await bench.store.instances.find(bench.id)
    assert found is not None
    revoked = Instance(**{**{name: getattr(found, name) for name in found.__struct_fields__}, "revoked_at": 1})
    await bench.store.instances.update(revoked, "test", "instance.revoke")
    with pytest.raises(InvalidBearer):
        await bench.call(bench.old, "jti_2")
