"""The API asked from within: the same gates, the same answers, and refusals that count."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway_core import config_file
from gateway_core.edge.guard import Addresses
from gateway_core.errors import InsufficientScope, InvalidBearer, NotFound
from gateway_core.gateway import Gateway
from gateway_core.home import Home
from gateway_core.key_text import new_key_text
from gateway_core.ports import REQUEST_ID


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    home = Home(tmp_path / "home")
    home.ensure()
    made = Gateway.assemble(config_file.load(None, home), home)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


def scope(address: str = "192.0.2.7") -> dict[str, Any]:
    return {"type": "http", "client": (address, 1), "headers": [], REQUEST_ID: "req_1"}


async def minted(gateway: Gateway) -> tuple[str, str]:
    """A key of the account `local`: its secret and its id."""
    body = msgspec.json.encode({"name": "test"})
    operator = gateway.services.keyring.operator_key
    answer = await gateway.services.inside.ask(scope(), operator, "POST", "/v1/keys", body)
    assert answer.status == 201
    made = msgspec.json.decode(answer.body)
    return made["secret"], made["id"]


async def test_an_endpoint_answers_within_as_at_the_door(gateway: Gateway) -> None:
    secret, key_id = await minted(gateway)
    inside, stand_in = gateway.services.inside, gateway.services.stand_ins.bearer(key_id)
    by_key = await inside.ask(scope(), secret, "GET", "/v1/models")
    by_stand_in = await inside.ask(scope(), stand_in, "GET", "/v1/models")
    assert (by_key.status, by_key.headers["content-type"]) == (200, "application/json")
    assert by_key.body == by_stand_in.body
    assert await inside.identify(scope(), secret) == await inside.identify(scope(), stand_in)
    query = await inside.ask(scope(), gateway.services.keyring.operator_key, "GET", "/v1/admin/log?limit=1")
    assert len(msgspec.json.decode(query.body)["data"]) == 1


async def test_every_gate_holds_within(gateway: Gateway) -> None:
    secret, key_id = await minted(gateway)
    inside = gateway.services.inside
    with pytest.raises(InsufficientScope):
        await inside.ask(scope(), secret, "GET", "/v1/keys")
    with pytest.raises(NotFound):
        await inside.ask(scope(), secret, "GET", "/v1/nothing")
    await gateway.services.store.directory.revoke_key(key_id, gateway.services.clock.now_ms(), "test")
    for bearer in (secret, gateway.services.stand_ins.bearer(key_id)):
        with pytest.raises(InvalidBearer):
            await inside.ask(scope(), bearer, "GET", "/v1/models")


async def test_refusals_within_count_against_the_address(gateway: Gateway) -> None:
    inside = gateway.services.inside
    with pytest.raises(InvalidBearer):
        await inside.identify(scope(), new_key_text())
    assert len(gateway.inside.failures.counted) == 1


@pytest.mark.parametrize(
    ("scheme", "peer", "forwarded", "secure"),
    [
        ("http", "127.0.0.1", None, False),
        ("https", "192.0.2.1", None, True),
        ("http", "10.0.0.1", b"https", True),
        ("http", "10.0.0.1", b"http", False),
        ("http", "10.0.0.1", b"https, http", False),
        ("http", "192.0.2.1", b"https", False),
    ],
)
def test_tls_is_what_the_socket_or_a_trusted_proxy_says(
    scheme: str, peer: str, forwarded: bytes | None, secure: bool
) -> None:
    headers = [] if forwarded is None else [(b"x-forwarded-proto", forwarded)]
    found = Addresses(["10.0.0.0/8"]).secure({"scheme": scheme, "client": (peer, 1), "headers": headers})
    assert found is secure


async def test_a_plain_call_within_is_made_and_billed(gateway: Gateway) -> None:
    secret, key_id = await minted(gateway)
    body = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
    asked = {**scope(), REQUEST_ID: "req_01ARZ3NDEKTSV4RRFFQ69G5FAV"}
    answer = await gateway.services.inside.ask(asked, secret, "POST", "/v1/chat/completions", msgspec.json.encode(body))
    assert msgspec.json.decode(answer.body)["choices"][0]["finish_reason"] == "stop"
    row = await gateway.services.store.ledger.find(asked[REQUEST_ID])
    assert row is not None
    assert (row.settlement.hold.bearer_id, row.settlement.outcome) == (key_id, "ok")
