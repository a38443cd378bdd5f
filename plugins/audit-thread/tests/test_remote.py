"""Records between instances: fetched whatever the gateway says meanwhile, pushed by a bearer for that one."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from spl_audit_thread.plugin import AuditThreadSettings
from spl_audit_thread.pull import Puller
from spl_audit_thread.remote import Pusher

from gateway_core import jwt
from gateway_core.config import UpstreamConfig
from gateway_core.errors import ConfigError, OutsideError
from gateway_core.home import Home
from gateway_core.keyring import Keyring
from gateway_core.signing import Signer
from gateway_core.store.sqlite import SqliteStore
from gateway_core.store_ports import RecordQuery
from gateway_core.testing import samples
from gateway_core.testing.clock import ManualClock
from gateway_core.testing.key_server import KeyServer, key_server
from gateway_core.types import Instance
from gateway_core.upstream.httpx_upstream import HttpxUpstream
from gateway_core.upstream.outside import GuardedOutside


@pytest.fixture
def gateway() -> Iterator[KeyServer]:
    """The other side, which answers what it is told to."""
    with key_server() as served:
        yield served


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Any]:
    clock = ManualClock()
    store = SqliteStore(tmp_path / "store.sqlite3", clock)
    await store.open()
    await store.directory.create_account(samples.account(), "test")
    made = SimpleNamespace(
        store=store,
        clock=clock,
        upstream=HttpxUpstream(UpstreamConfig()),
        outside=GuardedOutside(allow_private=True),
        signer=Signer(Keyring(Home(tmp_path)), Home(tmp_path), clock),
    )
    yield made
    await made.upstream.close()
    await made.outside.close()
    await store.close()


def page(*sequences: int, has_more: bool = False, **changes: Any) -> bytes:
    rows = [
        {"id": f"req_{number}", "thread": "th_audit_api_usage", "sequence": number, "body": {"n": number}, **changes}
        for number in sequences
    ]
    return json.dumps({"object": "list", "data": rows, "has_more": has_more}).encode()


async def wait_for(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # the other side counts in a thread of its own
            await asyncio.sleep(0.01)


async def stored(services: Any) -> list[tuple[str, bytes]]:
    records = await services.store.records.read(RecordQuery(account_id="acct_sample"))
    return [(record.id, bytes(record.body)) for record in records]


def puller(services: Any, gateway: KeyServer, **changes: Any) -> Puller:
    given: dict[str, Any] = {"audience": None, "account": "sample", "seconds": 0.05}
    return Puller(services, gateway.url, **{**given, **changes})


async def test_pages_are_fetched_in_order_and_the_place_is_kept(services: Any, gateway: KeyServer) -> None:
    gateway.body = page(1, 2)
    first = puller(services, gateway)
    await first.start()
    await wait_for(lambda: len(gateway.asked) >= 3)
    await first.stop()
    assert await stored(services) == [("req_1", b'{"n": 1}'), ("req_2", b'{"n": 2}')]
    assert gateway.asked[0][1] == "/v1/audit/records?after=0&limit=200"
    assert {path for _, path, _ in gateway.asked[1:]} == {"/v1/audit/records?after=2&limit=200"}
    gateway.asked.clear()
    gateway.body = page(3)
    again = puller(services, gateway)
    await again.start()
    await wait_for(lambda: gateway.asked)
    await again.stop()
    assert gateway.asked[0][1] == "/v1/audit/records?after=2&limit=200"


async def test_a_gateway_that_repeats_itself_is_not_asked_without_a_pause(services: Any, gateway: KeyServer) -> None:
    gateway.body = page(1, 2, has_more=True)
    made = puller(services, gateway, seconds=60.0)
    await made.start()
    await wait_for(lambda: len(gateway.asked) >= 2)  # the first page says that there is more
    gateway.body = page(3, has_more=True)
    for _ in range(20):
        await services.store.put_state("other", b"")  # a commit each: time enough for another look
    await made.stop()
    assert len(gateway.asked) == 2
    assert await stored(services) == [("req_1", b'{"n": 1}'), ("req_2", b'{"n": 2}')]


async def test_the_bearer_is_for_that_gateway_and_for_reading_only(services: Any, gateway: KeyServer) -> None:
    gateway.body = page()
    for audience, known_as in ((None, gateway.url), ("https://g.example/v1/", "https://g.example")):
        gateway.asked.clear()
        made = puller(services, gateway, audience=audience)
        await made.start()
        await wait_for(lambda: gateway.asked)
        await made.stop()
        unverified = jwt.read(str(gateway.asked[0][2]).removeprefix("Bearer "))
        claims = jwt.check_claims(unverified, (known_as,), services.clock.now_ms())
        assert (claims.purpose, set(claims.scopes)) == ("records", {"records:read"})


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (401, b"{}"),
        (200, b"<html>"),
        (200, b"{}"),
        (200, b"\xff"),
        (200, page(1, id="../x")),
        (200, page(1, thread="x")),
        (200, page(0)),
        (200, page(1, sequence="1")),
        (200, page(1, body=[1])),
        (200, page(1, body={"model": 5})),
    ],
    ids=lambda value: str(value)[:24],
)
async def test_what_is_no_page_stores_nothing_and_is_asked_for_again(
    status: int, body: bytes, services: Any, gateway: KeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.status, gateway.body = status, body
    made = puller(services, gateway)
    await made.start()
    await wait_for(lambda: len(gateway.asked) >= 2)
    assert await stored(services) == []
    gateway.status, gateway.body = 200, page(1)
    asked = len(gateway.asked)
    await wait_for(lambda: len(gateway.asked) >= asked + 2)
    await made.stop()
    assert await stored(services) == [("req_1", b'{"n": 1}')]
    assert "records could not be fetched" in caplog.text
    assert "Bearer" not in caplog.text


async def test_the_account_must_be_there(services: Any, gateway: KeyServer) -> None:
    with pytest.raises(ConfigError, match=r"pull_account.* there is no account"):
        await puller(services, gateway, account="nobody").start()


@pytest.mark.parametrize("url", ["", "gateway", "ftp://x", "https://", "https://u:p@x", "https://x/?y", "https://x y"])
def test_an_address_that_is_none_is_refused_at_start(url: str) -> None:
    for name in ("pull_from", "pull_audience"):
        with pytest.raises(msgspec.ValidationError, match=name):
            msgspec.convert({name: url}, AuditThreadSettings)


# ---------------------------------------------------------------- push


async def test_a_record_is_pushed_to_the_account_s_instance_alone(services: Any, gateway: KeyServer) -> None:
    pusher = Pusher(services)
    record = samples.record()
    await pusher.push(record)
    assert gateway.asked == []
    instance = Instance("inst_home", "acct_sample", "self_host", "home", 1, "{}", push_url=gateway.url)
    await services.store.instances.add(instance, "test")
    for gateway.status in (201, 200):
        await pusher.push(record)
    method, path, authorization = gateway.asked[0]
    assert (method, path) == ("POST", "/v1/threads/th_audit_api_usage/records")
    claims = jwt.check_claims(
        jwt.read(str(authorization).removeprefix("Bearer ")), ("inst_home",), services.clock.now_ms()
    )
    assert (claims.issuer, set(claims.scopes)) == (services.signer.instance_id, {"records:write"})
    await pusher.push(samples.record(account_id="acct_other"))
    assert len(gateway.asked) == 2


@pytest.mark.parametrize("status", [202, 204, 301, 400, 401, 404, 500])
async def test_what_is_not_taken_is_not_done(status: int, services: Any, gateway: KeyServer) -> None:
    instance = Instance("inst_home", "acct_sample", "self_host", "home", 1, "{}", push_url=gateway.url)
    await services.store.instances.add(instance, "test")
    gateway.status, gateway.body = status, b""
    with pytest.raises(OutsideError):
        await Pusher(services).push(samples.record())
