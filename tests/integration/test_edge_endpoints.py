"""The core's endpoints against the real program: keys, accounts, models, calls, administration."""

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway_core.testing.api_caller import ApiCaller
from gateway_core.testing.server import ServedGateway, serving

CONFIG = """
include = ["shipped:self-host.toml"]
[models.demo]
price = { input = "0.075", cached_input = "0.01", output = "2.50" }
[models.other]
routes = [{ provider = "demo", model = "other" }]
price = "free"
tiers = []
[models."org/third"]
routes = [{ provider = "demo", model = "third" }]
price = "free"
"""


class Caller(ApiCaller):
    """One bearer's client, who calls models, too."""

    def chat(self, model: str = "demo") -> httpx2.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
        return self.request("POST", "/v1/chat/completions", json=body)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedGateway]:
    """A gateway with priced, tiered and oddly named models."""
    with serving(tmp_path_factory.mktemp("endpoints") / "home", config=CONFIG) as running:
        yield running


@pytest.fixture(scope="module")
def operator(served: ServedGateway) -> Iterator[Caller]:
    """The operator."""
    with httpx2.Client(base_url=served.url) as http:
        yield Caller(http, served.operator_key)


@pytest.fixture
def account(operator: Caller, request: pytest.FixtureRequest) -> str:
    """A new account's name."""
    name = request.node.name
    operator.ok("POST", "/v1/admin/accounts", {"name": name}, 201)
    return str(name)


@pytest.fixture
def owner(operator: Caller, account: str) -> Caller:
    """An owner of that account."""
    return operator.other(operator.mint(account=account, scopes=["owner"]))


# ---------------------------------------------------------------- keys


def test_a_key_is_minted_listed_used_and_revoked(owner: Caller, account: str) -> None:
    minted = owner.mint(name="laptop", cap_usd="5.50", expires="30d", models=["demo"])
    secret = minted.pop("secret")
    assert minted["object"] == "key"
    assert minted["account"] == account
    assert minted["scopes"] == ["inference"]
    assert minted["models"] == ["demo"]
    assert minted["cap_usd"] == "5.5"
    assert minted["hint"] == f"sk-…{secret[-4:]}"
    assert minted["expires_at"] > minted["created_at"]
    listed = owner.ok("GET", "/v1/keys")
    assert secret not in json.dumps(listed)
    assert minted in listed["data"]
    app = Caller(owner.http, secret)
    assert app.chat().status_code == 200
    revoked = owner.ok("DELETE", f"/v1/keys/{minted['id']}")
    assert revoked["revoked_at"] is not None
    assert app.chat().status_code == 401
    again = owner.refused(409, "conflict", "DELETE", f"/v1/keys/{minted['id']}")
    assert revoked["revoked_at"] in again["message"]
    assert [key["revoked_at"] for key in owner.ok("GET", "/v1/keys")["data"] if key["id"] == minted["id"]] == [
        revoked["revoked_at"]
    ]


def test_keys_come_in_pages_in_order_of_age(owner: Caller) -> None:
    names = [f"k{number}" for number in range(5)]
    ids = [owner.mint(name=name)["id"] for name in names]
    page = owner.ok("GET", "/v1/keys?limit=4")
    assert page["has_more"] is True
    rest = owner.ok("GET", f"/v1/keys?limit=4&after={page['next_after']}")
    assert rest["has_more"] is False
    assert rest["next_after"] is None
    assert [key["id"] for key in page["data"] + rest["data"]][1:] == ids


def test_a_rotated_key_overlaps_with_the_new_one(owner: Caller) -> None:
    old = owner.mint(name="rotated", cap_usd="3", models=["demo"], expires="2d")
    new = owner.ok("POST", f"/v1/keys/{old['id']}/rotate", {}, 201)
    assert {field: new[field] for field in ("name", "cap_usd", "models", "scopes", "expires_at")} == {
        field: old[field] for field in ("name", "cap_usd", "models", "scopes", "expires_at")
    }
    assert new["replaces"]["id"] == old["id"]
    assert old["created_at"] < new["replaces"]["expires_at"] < old["expires_at"]
    assert owner.other(old).chat().status_code == 200
    assert owner.other(new).chat().status_code == 200
    last = owner.ok("POST", f"/v1/keys/{new['id']}/rotate", {"overlap_seconds": 0}, 201)
    assert owner.other(new).chat().status_code == 401
    assert owner.other(last).chat().status_code == 200
    owner.refused(409, "conflict", "POST", f"/v1/keys/{new['id']}/rotate", {})
    for seconds in (-1, 10**9):
        error = owner.refused(
            400, "invalid_request", "POST", f"/v1/keys/{last['id']}/rotate", {"overlap_seconds": seconds}
        )
        assert error["param"] == "overlap_seconds"


def test_a_key_mints_nothing_beyond_itself(operator: Caller, account: str) -> None:
    bounded = operator.mint(account=account, scopes=["owner"], models=["demo"], cap_usd="5", expires="1d")
    caller = operator.other(bounded)
    child = caller.mint()
    assert (child["models"], child["cap_usd"]) == (["demo"], "5")
    assert child["expires_at"] == bounded["expires_at"]
    assert caller.mint(cap_usd="1")["cap_usd"] == "1"
    assert caller.mint(cap_usd="9", expires="9d")["expires_at"] == bounded["expires_at"]
    for fields in ({"scopes": ["operator"]}, {"scopes": ["records:write"]}, {"models": ["org/third"]}):
        caller.refused(403, "insufficient_scope", "POST", "/v1/keys", {"name": "k", **fields})
    strong = operator.mint(account=account, scopes=["operator"])
    caller.refused(403, "insufficient_scope", "POST", f"/v1/keys/{strong['id']}/rotate", {})


def test_an_account_sees_only_its_own(owner: Caller, operator: Caller) -> None:
    """Fault 35, for owners: another account's key does not exist."""
    foreign = operator.mint()
    unknown = owner.refused(404, "not_found", "DELETE", "/v1/keys/key_000000000000")
    found = owner.refused(404, "not_found", "DELETE", f"/v1/keys/{foreign['id']}")
    assert found["message"] == unknown["message"]
    owner.refused(404, "not_found", "POST", f"/v1/keys/{foreign['id']}/rotate", {})
    owner.refused(403, "insufficient_scope", "GET", "/v1/keys?account=local")
    owner.refused(403, "insufficient_scope", "POST", "/v1/keys", {"name": "k", "account": "local"})
    assert foreign["id"] in [key["id"] for key in operator.ok("GET", "/v1/keys")["data"]]


def test_a_leaked_application_key_only_calls(owner: Caller) -> None:
    """Fault 35: it mints nothing, reads no keys and no records, reaches no administration, and learns nothing."""
    app = owner.other(owner.mint())
    for method, path in (
        ("GET", "/v1/keys"),
        ("POST", "/v1/keys"),
        ("POST", "/v1/keys/key_1/rotate"),
        ("DELETE", "/v1/keys/key_1"),
        ("GET", "/v1/threads/th_audit_api_usage/records"),
        ("POST", "/v1/threads/th_audit_api_usage/records"),
        ("GET", "/v1/admin/accounts"),
        ("PATCH", "/v1/admin/accounts/local"),
        ("GET", "/v1/admin/config"),
        ("POST", "/v1/admin/backup"),
    ):
        app.refused(403, "insufficient_scope", method, path)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"cap_usd": "-1"}, "cap_usd"),
        ({"cap_usd": "NaN"}, "cap_usd"),
        ({"cap_usd": "1e3"}, "cap_usd"),
        ({"cap_usd": "0.0000000000001"}, "cap_usd"),
        ({"cap_usd": "1000001"}, "cap_usd"),
        ({"cap_usd": 5}, "cap_usd"),
        ({"expires": "soon"}, "expires"),
        ({"expires": "-1d"}, "expires"),
        ({"expires": "0d"}, "expires"),
        ({"expires": "2020-01-01"}, "expires"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": None}, "name"),
        ({"scopes": ["root"]}, "scopes[0]"),
        ({"scopes": "owner"}, "scopes"),
        ({"models": ["dmeo"]}, "models"),
        ({"models": []}, "models"),
        ({"cap": "5"}, "cap"),
    ],
)
def test_a_bad_field_is_named(operator: Caller, fields: dict[str, Any], param: str) -> None:
    before = operator.ok("GET", "/v1/keys?limit=1000")
    error = operator.refused(400, "invalid_request", "POST", "/v1/keys", {"name": "k", **fields})
    assert error["param"] == param
    assert operator.ok("GET", "/v1/keys?limit=1000") == before


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/keys?account=nobody", None),
        ("GET", "/v1/usage?account=nobody", None),
        ("GET", "/v1/admin/usage?account=nobody", None),
        ("GET", "/v1/admin/instances?account=nobody", None),
        ("GET", "/v1/admin/adjustments?account=nobody", None),
        ("POST", "/v1/keys", {"name": "k", "account": "nobody"}),
        ("POST", "/v1/admin/subscriptions", {"account": "nobody", "plan": "pro"}),
        ("POST", "/v1/admin/instances", {"name": "i", "account": "nobody", "key": "x"}),
        ("POST", "/v1/admin/provisioned-instances", {"name": "i", "account": "nobody"}),
        ("POST", "/v1/admin/adjustments", {"account": "nobody", "kind": "credit_note", "amount_usd": "1", "why": "w"}),
    ],
)
def test_an_account_that_is_not_there_is_told_by_its_parameter(
    operator: Caller, method: str, path: str, body: Any
) -> None:
    assert operator.refused(404, "not_found", method, path, body)["param"] == "account"


def test_an_unknown_name_is_told_the_nearest(operator: Caller) -> None:
    assert (
        'did you mean "cap_usd"?'
        in operator.refused(400, "invalid_request", "POST", "/v1/keys", {"name": "k", "cap_us": "1"})["message"]
    )
    assert (
        'did you mean "demo"?'
        in operator.refused(400, "invalid_request", "POST", "/v1/keys", {"name": "k", "models": ["demoo"]})["message"]
    )
    assert operator.refused(400, "invalid_request", "POST", "/v1/keys", {})["param"] == "name"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"text"',
        b"\xff",
        b'{"name": "\xff"}',
        b'{"name": "\\ud800"}',
        b'{"name": NaN}',
        b'{"name": "a", "name": "b"}',
        b'{"name": ' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"name": ' + b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(operator: Caller, body: bytes) -> None:
    answer = operator.request("POST", "/v1/keys", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_request"


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=1001", "limit=x", "limit=", "limit=1&limit=2", "limti=1"),
        *("limit=000000100999999", f"limit={'9' * 200}", f"limit={'0' * 199}1"),
    ],
)
def test_a_bad_query_is_refused(operator: Caller, query: str) -> None:
    assert operator.refused(400, "invalid_request", "GET", f"/v1/keys?{query}")["param"] in {"limit", "limti"}


# ---------------------------------------------------------------- accounts


def test_an_account_is_created_changed_suspended_and_resumed(operator: Caller) -> None:
    made = operator.ok("POST", "/v1/admin/accounts", {"name": "acme", "credit_usd": "20", "cap_usd": "100"}, 201)
    assert (made["credit_usd"], made["cap_usd"], made["suspended"], made["limits"]) == ("20", "100", False, {})
    assert (
        operator.ok("GET", "/v1/admin/accounts/acme") == made == operator.ok("GET", f"/v1/admin/accounts/{made['id']}")
    )
    app = operator.other(operator.mint(account="acme"))
    path = "/v1/admin/accounts/acme"
    assert operator.ok("PATCH", path, {"suspended": True})["suspended"] is True
    assert app.chat().status_code == 403
    assert app.chat().json()["error"]["code"] == "account_suspended"
    assert operator.ok("PATCH", path, {"suspended": False})["suspended"] is False
    assert app.chat().status_code == 200
    limits = {"demo": {"rpm": 2, "tpm": 1000}}
    assert operator.ok("PATCH", path, {"limits": limits, "cap_usd": None})["limits"] == limits
    assert operator.ok("PATCH", path, {"limits": {"org/third": {"rpm": 1}}})["limits"] == {
        **limits,
        "org/third": {"rpm": 1},
    }
    assert operator.ok("PATCH", path, {"limits": {"demo": None}}) == {
        **made,
        "cap_usd": None,
        "limits": {"org/third": {"rpm": 1}},
    }


def test_what_a_change_of_limits_does_not_name_stays(operator: Caller, account: str) -> None:
    path = f"/v1/admin/accounts/{account}"
    before = operator.ok("PATCH", path, {"cap_usd": "9", "limits": {"demo": {"rpm": 2, "tpm": 1000}}})
    for change, left in (
        ({"rpm": 5}, {"rpm": 5, "tpm": 1000}),
        ({"tpm": 7}, {"rpm": 5, "tpm": 7}),
        ({}, {"rpm": 5, "tpm": 7}),
        ({"rpm": None}, {"tpm": 7}),
        ({"rpm": None, "tpm": 8}, {"tpm": 8}),
    ):
        assert operator.ok("PATCH", path, {"limits": {"demo": change}}) == {**before, "limits": {"demo": left}}
    assert operator.ok("PATCH", path, {"limits": {"demo": {"tpm": None}}}) == {**before, "limits": {}}


def test_changes_at_once_are_all_made(operator: Caller, account: str) -> None:
    path = f"/v1/admin/accounts/{account}"
    changes = [{"suspended": True}, {"cap_usd": "7"}, {"credit_usd": "3"}, {"limits": {"demo": {"rpm": 3}}}]
    for _ in range(5):
        operator.ok("PATCH", path, {"suspended": False, "cap_usd": None, "credit_usd": "0", "limits": {"demo": None}})
        with ThreadPoolExecutor(len(changes)) as callers:
            list(callers.map(lambda change: operator.ok("PATCH", path, change), changes))
        after = operator.ok("GET", path)
        assert (after["suspended"], after["cap_usd"], after["credit_usd"]) == (True, "7", "3")
        assert after["limits"] == {"demo": {"rpm": 3}}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"cap_usd": "-1"}, "cap_usd"),
        ({"credit_usd": None}, "credit_usd"),
        ({"limits": {"nothing": {"rpm": 1}}}, "limits"),
        ({"limits": {"demo": {"rpm": 0}}}, "limits.demo.rpm"),
        ({"limits": {"demo": {"rpm": 1.5}}}, "limits[...].rpm"),
        ({"limits": {"demo": {"rps": 1}}}, "limits[...].rps"),
        ({"suspended": "yes"}, "suspended"),
        ({"name": "x"}, "name"),
        ({}, None),
    ],
)
def test_a_bad_change_changes_nothing(operator: Caller, account: str, change: Any, param: str | None) -> None:
    before = operator.ok("GET", f"/v1/admin/accounts/{account}")
    error = operator.refused(400, "invalid_request", "PATCH", f"/v1/admin/accounts/{account}", change)
    assert error["param"] == param
    assert operator.ok("GET", f"/v1/admin/accounts/{account}") == before


def test_accounts_are_unique_and_come_in_pages(operator: Caller) -> None:
    for number in range(3):
        operator.ok("POST", "/v1/admin/accounts", {"name": f"page-{number}"}, 201)
    assert operator.refused(409, "conflict", "POST", "/v1/admin/accounts", {"name": "page-0"})["param"] == "name"
    for name in ("acct_mine", "a/b", ".", ".."):  # no path could name these
        error = operator.refused(400, "invalid_request", "POST", "/v1/admin/accounts", {"name": name})
        assert error["param"] == "name"
    operator.refused(404, "not_found", "GET", "/v1/admin/accounts/nobody")
    names, after = [], ""
    while True:
        page = operator.ok("GET", f"/v1/admin/accounts?limit=2{after}")
        assert len(page["data"]) <= 2
        names += [row["name"] for row in page["data"]]
        if not page["has_more"]:
            break
        after = f"&after={page['next_after']}"
    assert names[0] == "local"
    assert [name for name in names if name.startswith("page-")] == ["page-0", "page-1", "page-2"]


# ---------------------------------------------------------------- models


def test_models_are_those_that_the_caller_may_use(operator: Caller, owner: Caller) -> None:
    assert [model["id"] for model in owner.ok("GET", "/v1/models")["data"]] == ["demo", "org/third"]
    assert owner.ok("GET", "/v1/models/org/third")["object"] == "model"
    for name in ("other", "nothing"):
        owner.refused(404, "model_not_found", "GET", f"/v1/models/{name}")
    bounded = owner.other(owner.mint(models=["demo"]))
    assert [model["id"] for model in bounded.ok("GET", "/v1/models")["data"]] == ["demo"]
    bounded.refused(404, "model_not_found", "GET", "/v1/models/org/third")


def test_capabilities_with_and_without_a_bearer(operator: Caller, owner: Caller, account: str) -> None:
    operator.ok("PATCH", f"/v1/admin/accounts/{account}", {"limits": {"demo": {"rpm": 7, "tpm": 100_000}}})
    stranger = Caller(owner.http, None)
    rows = {row["model"]: row for row in stranger.ok("GET", "/v1/capabilities")["data"]}
    assert set(rows) == {"demo", "other", "org/third"}
    demo = rows["demo"]
    assert {name: demo["price"][name] for name in ("input", "cached_input", "output", "currency")} == {
        "input": "0.08",
        "cached_input": "0.01",
        "output": "2.50",
        "currency": "USD",
    }
    assert demo["price"]["exact"]["input"] == "0.075"
    assert (demo["available"], demo["tier"], demo["requests_per_minute"]) == (False, None, None)
    assert demo["tiers"] == ["self-host"]
    assert rows["other"]["tiers"] == []
    assert owner.chat().status_code == 200
    rows = {row["model"]: row for row in owner.ok("GET", "/v1/capabilities")["data"]}
    assert rows["demo"]["available"] is True
    assert rows["other"]["available"] is False
    assert rows["demo"]["tier"] == "self-host"
    assert rows["demo"]["requests_per_minute"]["limit"] == 7
    assert rows["demo"]["requests_per_minute"]["remaining"] == 6
    assert rows["demo"]["tokens_per_minute"]["remaining"] < 100_000
    assert rows["org/third"]["requests_per_minute"] is None


# ---------------------------------------------------------------- calls


def test_a_call_is_read_by_its_account_only(owner: Caller, operator: Caller) -> None:
    app = owner.other(owner.mint())
    answer = app.chat()
    identifier = answer.headers["x-syncropic-request-id"]
    found = owner.ok("GET", f"/v1/requests/{identifier}")
    assert found == app.ok("GET", f"/v1/requests/{identifier}")
    assert found["id"] == found["request_id"] == identifier
    assert found["tokens_output"] == answer.json()["usage"]["completion_tokens"]
    assert found["outcome"] == "ok"
    record = owner.ok("GET", "/v1/threads/th_audit_api_usage/records")["data"][-1]["body"]
    assert {name: value for name, value in found.items() if name not in {"id", "object"}} == record
    foreign = operator.refused(404, "not_found", "GET", f"/v1/requests/{identifier}")
    assert foreign["message"] == app.refused(404, "not_found", "GET", "/v1/requests/req_" + "0" * 26)["message"]
    app.refused(404, "not_found", "GET", "/v1/requests/..%2f")


# ---------------------------------------------------------------- administration


def test_the_log_says_who_did_what(operator: Caller, owner: Caller) -> None:
    key = owner.mint()
    owner.ok("DELETE", f"/v1/keys/{key['id']}")
    page = operator.ok("GET", "/v1/admin/log?limit=1")
    newest, before = operator.ok("GET", "/v1/admin/log?limit=2")["data"]
    assert (newest["action"], newest["subject"]) == ("key.revoke", key["id"])
    assert (before["action"], before["subject"]) == ("key.mint", key["id"])
    assert newest["actor"] == before["actor"]
    assert newest["actor"].startswith("key_")
    owner.mint()  # what is noted meanwhile moves no page
    following = operator.ok("GET", f"/v1/admin/log?limit=1&after={page['next_after']}")["data"]
    assert following == [before]


def test_plugins_and_configuration_are_shown(operator: Caller, served: ServedGateway) -> None:
    plugins = {row["name"]: row for row in operator.ok("GET", "/v1/admin/plugins")["data"]}
    assert plugins["user-keys"]["state"] == "on"
    assert "authenticate" in plugins["user-keys"]["hooks"]
    config = operator.ok("GET", "/v1/admin/config")
    assert config["models"]["demo"]["price"]["output"] == "2.50"
    assert served.operator_key not in json.dumps(config)


def test_the_ledger_agrees(operator: Caller) -> None:
    assert operator.chat().status_code == 200
    assert operator.ok("POST", "/v1/admin/reconcile")["data"] == []


def test_a_backup_is_a_store(operator: Caller, tmp_path: Path) -> None:
    target = tmp_path / "copy.sqlite3"
    assert operator.ok("POST", "/v1/admin/backup", {"path": str(target)}, 201)["path"] == str(target)
    with sqlite3.connect(target) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT count(*) FROM keys").fetchone()[0] > 0
    db.close()
    operator.refused(409, "conflict", "POST", "/v1/admin/backup", {"path": str(target)})
    for path in ("relative", str(tmp_path / "none" / "x"), "/proc/none/x", "a\0b"):
        assert operator.refused(400, "invalid_request", "POST", "/v1/admin/backup", {"path": path})["param"] == "path"


def test_the_operator_calls_on_the_local_account(operator: Caller) -> None:
    answer = operator.chat()
    assert answer.status_code == 200
    found = operator.ok("GET", f"/v1/requests/{answer.headers['x-request-id']}")
    assert found["key_id"] == "key_operator"


def test_no_secret_is_in_the_log(served: ServedGateway, operator: Caller) -> None:
    secret = operator.mint()["secret"]
    Caller(operator.http, secret).chat()
    Caller(operator.http, secret[:-1]).chat()
    text = served.output()
    assert secret not in text
    assert served.operator_key not in text
