"""Instances over HTTP: what is refused changes nothing, and a secret is shown once."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway_core import jwt
from gateway_core.testing.server import ServedGateway, serving

PATH = "/v1/admin/instances"
PROVISIONED = "/v1/admin/provisioned-instances"


def ask(gateway: ServedGateway, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    headers = {"authorization": f"Bearer {gateway.operator_key}"}
    answer = httpx2.request(method, gateway.url + path, json=body, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json()


def public(key: Any = None) -> str:
    return json.dumps(jwt.public_jwk(key or jwt.new_key()))


def register(gateway: ServedGateway, status: int = 201, **fields: Any) -> Any:
    return ask(gateway, "POST", PATH, {"name": "office", "account": "local", **fields}, status)


def test_an_instance_s_life(running_server: ServedGateway) -> None:
    first, second = jwt.new_key(), jwt.new_key()
    made = register(running_server, key=public(first), cap_usd="5")
    assert (made["id"], made["kind"], made["cap_usd"]) == (jwt.instance_id(first), "self_host", "5")
    path = f"{PATH}/{made['id']}"
    assert ask(running_server, "GET", path) == made
    changed = ask(running_server, "PATCH", path, {"name": "new", "cap_usd": None, "add_key": public(second)})
    assert (changed["name"], changed["cap_usd"], len(changed["keys"])) == ("new", None, 2)
    changed = ask(
        running_server, "PATCH", path, {"remove_key": first.thumbprint(), "push_url": "https://a.example/v1/"}
    )
    assert ([key["kid"] for key in changed["keys"]], changed["push_url"]) == (
        [second.thumbprint()],
        "https://a.example",
    )
    token = ask(running_server, "POST", f"{path}/revoked-tokens", {"jti": "jti_1"}, 201)
    assert token == {"object": "revoked_token", "instance": made["id"], "jti": "jti_1"}
    revoked = ask(running_server, "DELETE", path)
    assert revoked["revoked_at"] is not None
    assert ask(running_server, "DELETE", path, status=409)["error"]["code"] == "conflict"
    assert register(running_server, 409, key=public(first))["error"]["code"] == "conflict"
    listed = ask(running_server, "GET", f"{PATH}?account=local&limit=1000")["data"]
    assert revoked in listed
    logged = ask(running_server, "GET", "/v1/admin/log?limit=5")["data"]
    told = [(line["action"], line["subject"], line["actor"]) for line in logged]
    assert ("instance.revoke", made["id"], "key_operator") in told


def test_a_change_at_the_same_time_does_not_undo_a_revocation(running_server: ServedGateway) -> None:
    with ThreadPoolExecutor(3) as callers:
        for _ in range(5):
            made = register(running_server, key=public())
            path = f"{PATH}/{made['id']}"
            ending = callers.submit(ask, running_server, "DELETE", path)
            capped = callers.submit(ask, running_server, "PATCH", path, {"cap_usd": "7"})
            named = callers.submit(ask, running_server, "PATCH", path, {"name": "x"})
            revoked, _, _ = ending.result(), capped.result(), named.result()
            after = ask(running_server, "GET", path)
            assert after == {**made, "cap_usd": "7", "name": "x", "revoked_at": revoked["revoked_at"]}


def test_a_provisioned_key_is_shown_once(running_server: ServedGateway) -> None:
    made = ask(running_server, "POST", PROVISIONED, {"name": "hosted", "account": "local"}, 201)
    key = jwt.read_private_key(made["signing_key"])
    assert made["id"] == jwt.instance_id(key)
    secret = made["signing_key"].splitlines()[1]
    shown = ask(running_server, "GET", f"{PATH}/{made['id']}")
    assert "signing_key" not in shown
    assert secret not in json.dumps(ask(running_server, "GET", "/v1/admin/log?limit=100"))
    assert secret not in running_server.output()
    store = b"".join(file.read_bytes() for file in running_server.home.glob("store.sqlite3*"))
    assert secret.encode() not in store


@pytest.mark.parametrize(
    ("fields", "param", "status"),
    [
        ({}, "key", 400),
        ({"key": "{}", "jwks_url": "https://a.example"}, "key", 400),
        ({"key": "nonsense"}, "key", 400),
        ({"key": jwt.new_key().as_pem(private=True).decode()}, "key", 400),
        ({"key": json.dumps({"keys": [jwt.public_jwk(jwt.new_key()) for _ in range(2)]})}, "id", 400),
        ({"key": json.dumps({"keys": [jwt.public_jwk(jwt.new_key())], "issuer": "inst_" + "x" * 43})}, "id", 400),
        ({"key": public(), "id": "inst_short"}, "id", 400),
        ({"key": public(), "id": "../x"}, "id", 400),
        ({"key": public(), "name": ""}, "name", 400),
        ({"key": public(), "account": "nobody"}, "account", 404),
        ({"key": public(), "cap_usd": "-1"}, "cap_usd", 400),
        ({"key": public(), "cap_usd": "NaN"}, "cap_usd", 400),
        ({"key": public(), "cap_usd": "0.0000000000001"}, "cap_usd", 400),
        ({"key": public(), "cap_usd": 5}, "cap_usd", 400),
        ({"key": public(), "kind": "instance"}, "kind", 400),
        ({"key": public(), "kind": "gateway", "cap_usd": "5"}, None, 400),
        ({"key": public(), "push_url": "https://127.0.0.1"}, "push_url", 400),
        ({"jwks_url": "http://a.example/jwks.json"}, "jwks_url", 400),
        ({"jwks_url": "nonsense"}, "jwks_url", 400),
        ({"key": public(), "jwks": "x"}, "jwks", 400),
    ],
    ids=str,
)
def test_what_cannot_be_registered_is_told_by_its_field(
    fields: dict[str, Any], param: str | None, status: int, running_server: ServedGateway
) -> None:
    before = ask(running_server, "GET", f"{PATH}?limit=1000")
    error = register(running_server, status, **fields)["error"]
    assert error["param"] == param, error
    assert "PRIVATE" not in error["message"]
    assert ask(running_server, "GET", f"{PATH}?limit=1000") == before


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"name": None},
        {"add_key": "x"},
        {"remove_key": "nobody"},
        {"push_url": "x"},
        {"cap_usd": "x"},
        {"kind": "gateway"},
        {"id": "x"},
    ],
    ids=str,
)
def test_a_change_that_cannot_be_made_changes_nothing(change: dict[str, Any], running_server: ServedGateway) -> None:
    made = register(running_server, key=public())
    path = f"{PATH}/{made['id']}"
    ask(running_server, "PATCH", path, change, 400)
    ask(running_server, "PATCH", path, {"remove_key": made["keys"][0]["kid"]}, 400)
    assert ask(running_server, "GET", path) == made


def test_what_is_not_there_is_not_found(running_server: ServedGateway) -> None:
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/revoked-tokens")):
        body = {"GET": None, "PATCH": {"name": "x"}, "DELETE": None, "POST": {"jti": "x"}}[method]
        ask(running_server, method, f"{PATH}/inst_nobody{path}", body, 404)


@pytest.mark.parametrize("jti", ["", "a b", "x" * 129, "ü", 5])
def test_a_jti_must_be_one(jti: Any, running_server: ServedGateway) -> None:
    made = register(running_server, key=public())
    ask(running_server, "POST", f"{PATH}/{made['id']}/revoked-tokens", {"jti": jti}, 400)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"audience": "x"},
        {"audience": "https://g.example", "ttl_seconds": 0},
        {"audience": "https://g.example", "ttl_seconds": 3601},
        {"audience": "https://g.example", "ttl_seconds": "600"},
        {"audience": "https://g.example", "purpose": "owner"},
    ],
    ids=str,
)
def test_a_bearer_that_would_not_do_is_not_minted(body: dict[str, Any], running_server: ServedGateway) -> None:
    ask(running_server, "POST", "/v1/admin/tokens", body, 400)


def test_a_bearer_is_minted_for_the_gateway_that_is_configured_and_noted_without_it(tmp_path: Path) -> None:
    """By the name that it knows itself by, where that is another than the address it is called at."""
    config = """
    include = ["shipped:self-host.toml"]
    [providers.managed]
    plugin = "provider-openai"
    base_url = "http://127.0.0.1:1/v1"
    audience = "https://gateway.example.com"
    api_key = "bearer:instance"
    """
    with serving(tmp_path / "home", config=config) as gateway:
        minted = json.loads(gateway.spl("token", "mint", "-o", "json"))
        (line,) = ask(gateway, "GET", "/v1/admin/log?limit=1")["data"]
    assert minted["audience"] == "https://gateway.example.com"
    assert (line["action"], line["actor"], line["subject"]) == ("token.mint", "key_operator", minted["jti"])
    assert line["detail"] == {"audience": minted["audience"], "scope": "inference", "expires_at": minted["expires_at"]}


def test_the_published_set_is_what_signs(running_server: ServedGateway) -> None:
    published = httpx2.get(f"{running_server.url}/.well-known/jwks.json")
    assert published.headers["cache-control"] == "public, max-age=30"
    body = {"audience": "https://g.example/v1/", "ttl_seconds": 60, "purpose": "records"}
    minted = ask(running_server, "POST", "/v1/admin/tokens", body, 201)
    unverified = jwt.read(minted["token"])
    jwt.verify_signature(unverified, jwt.read_key_set(published.text))
    assert unverified.issuer == published.json()["issuer"] == minted["issuer"]
    assert (minted["audience"], minted["scope"]) == ("https://g.example", "records:read")
    assert "PRIVATE" not in published.text
    assert '"d"' not in published.text
    for seconds in (-1, 604_801):
        ask(running_server, "POST", "/v1/admin/signing-keys", {"after_seconds": seconds}, 400)
    waiting = ask(running_server, "POST", "/v1/admin/signing-keys", {"after_seconds": 600}, 201)
    assert [key["signs"] for key in waiting["keys"]] == [True, False]
    ask(running_server, "POST", "/v1/admin/signing-keys", {}, 409)
