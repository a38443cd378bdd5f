"""Every route with its gate, shown by requests: with no bearer, a bad one, and a key of each scope."""

from pathlib import Path

import httpx2
import pytest

from gateway_core import config_file
from gateway_core.edge.app import App
from gateway_core.edge.routing import RouteInfo
from gateway_core.gateway import Gateway
from gateway_core.home import Home
from gateway_core.key_text import new_key_text
from gateway_core.testing.server import ServedGateway

#: What anybody may call, without a bearer. Everything else is gated.
PUBLIC = {
    "GET /healthz",
    "GET /readyz",
    "GET /v1/capabilities",
    "GET /.well-known/jwks.json",
    "GET /openapi.json",
    "GET /docs",
}

#: Who gets past which gate.
PASSES = {
    "public": {"none", "app", "owner", "operator", "writer"},
    "caller": {"app", "owner", "operator", "writer"},
    "inference": {"app", "owner", "operator"},
    "owner": {"owner", "operator"},
    "operator": {"operator"},
    "records:write": {"writer"},
    "records:read": set(),
}

EXPECTED = {
    "POST /v1/chat/completions": "inference",
    "GET /v1/models": "inference",
    "GET /v1/models/{id:path}": "inference",
    "GET /v1/capabilities": "public",
    "POST /v1/tokenize-text": "inference",
    "GET /v1/requests/{id}": "inference",
    "GET /v1/keys": "owner",
    "POST /v1/keys": "owner",
    "POST /v1/keys/{id}/rotate": "owner",
    "DELETE /v1/keys/{id}": "owner",
    "GET /v1/threads/{thread}/records": "owner",
    "POST /v1/threads/{thread}/records": "records:write",
    "GET /v1/usage": "owner",
    "GET /v1/invoices": "owner",
    "GET /v1/invoices/{month}": "owner",
    "GET /v1/admin/usage": "operator",
    "GET /v1/admin/plans": "operator",
    "POST /v1/admin/subscriptions": "operator",
    "GET /v1/admin/subscriptions/{account}": "operator",
    "POST /v1/admin/subscriptions/{account}/cancel": "operator",
    "POST /v1/admin/subscriptions/{account}/reactivate": "operator",
    "POST /v1/admin/subscriptions/{account}/suspend": "operator",
    "POST /v1/admin/subscriptions/{account}/resume": "operator",
    "GET /v1/admin/adjustments": "operator",
    "POST /v1/admin/adjustments": "operator",
    "GET /v1/admin/accounts": "operator",
    "POST /v1/admin/accounts": "operator",
    "GET /v1/admin/accounts/{name}": "operator",
    "PATCH /v1/admin/accounts/{name}": "operator",
    "GET /v1/audit/records": "records:read",
    "GET /v1/audit/chain": "owner",
    "GET /v1/audit/head": "owner",
    "POST /v1/console/links": "owner",
    "GET /v1/admin/outbox": "operator",
    "GET /v1/admin/outbox/{sink}": "operator",
    "POST /v1/admin/outbox/retry": "operator",
    "GET /.well-known/jwks.json": "public",
    "GET /v1/admin/instances": "operator",
    "POST /v1/admin/instances": "operator",
    "POST /v1/admin/provisioned-instances": "operator",
    "GET /v1/admin/instances/{id}": "operator",
    "PATCH /v1/admin/instances/{id}": "operator",
    "DELETE /v1/admin/instances/{id}": "operator",
    "POST /v1/admin/instances/{id}/revoked-tokens": "operator",
    "GET /v1/admin/signing-keys": "operator",
    "POST /v1/admin/signing-keys": "operator",
    "POST /v1/admin/tokens": "operator",
    "GET /v1/admin/plugins": "operator",
    "GET /v1/admin/providers": "operator",
    "GET /v1/admin/limits": "operator",
    "GET /v1/admin/errors": "operator",
    "GET /v1/admin/config": "operator",
    "POST /v1/admin/reconcile": "operator",
    "GET /v1/admin/log": "operator",
    "POST /v1/admin/backup": "operator",
    "GET /openapi.json": "public",
    "GET /docs": "public",
    "GET /healthz": "public",
    "GET /readyz": "public",
}


def routes(home: Path) -> tuple[RouteInfo, ...]:
    """Every route of the API, chat included. The console's pages have sessions in place of gates, and a table of their
    own in plugins/console/tests/test_pages.py."""
    app = Gateway.assemble(config_file.load(None, Home(home)), Home(home)).app
    assert isinstance(app, App)
    return tuple(route for route in app.routes if not route.path.startswith("/console"))


@pytest.fixture(scope="module")
def all_routes(tmp_path_factory: pytest.TempPathFactory) -> tuple[RouteInfo, ...]:
    """The routes of the shipped configuration."""
    return routes(tmp_path_factory.mktemp("routes"))


@pytest.fixture(scope="module")
def bearers(running_server: ServedGateway) -> dict[str, dict[str, str]]:
    """Who calls → headers."""
    operator = {"authorization": f"Bearer {running_server.operator_key}"}
    found = {"none": {}, "operator": operator, "unknown": {"authorization": f"Bearer {new_key_text()}"}}
    with httpx2.Client(base_url=running_server.url, headers=operator) as http:
        for who, scope in (("app", "inference"), ("owner", "owner"), ("writer", "records:write")):
            answer = http.post("/v1/keys", json={"name": who, "scopes": [scope]})
            assert answer.status_code == 201, answer.text
            found[who] = {"authorization": f"Bearer {answer.json()['secret']}"}
    return found


def test_the_list_of_routes_is_this_one(all_routes: tuple[RouteInfo, ...]) -> None:
    assert {f"{route.method} {route.path}": route.gate for route in all_routes} == EXPECTED


def test_34_every_route_is_gated_or_on_the_public_list(all_routes: tuple[RouteInfo, ...]) -> None:
    assert {f"{route.method} {route.path}" for route in all_routes if route.gate == "public"} == PUBLIC
    assert all(route.summary for route in all_routes)


@pytest.mark.parametrize("name", EXPECTED)
def test_34_each_gate_lets_in_whom_it_names(
    name: str, running_server: ServedGateway, bearers: dict[str, dict[str, str]]
) -> None:
    method, path = name.split()
    url = path.replace("{id:path}", "x").replace("{id}", "x").replace("{name}", "x").replace("{thread}", "th_x")
    passing = PASSES[EXPECTED[name]]
    with httpx2.Client(base_url=running_server.url) as http:
        for who, headers in bearers.items():
            answer = http.request(method, url, headers=headers)
            told = (who, answer.status_code, answer.text)
            assert answer.headers["x-request-id"] == answer.headers["x-syncropic-request-id"], told
            if who in passing:
                assert answer.status_code not in {401, 403, 503}, told
            elif who in {"none", "unknown"}:
                # A bad bearer is looked at even where none is needed, if what it may do matters.
                blind = PUBLIC - {"GET /v1/capabilities"}
                assert answer.status_code == (200 if name in blind else 401), told
                if answer.status_code == 401:
                    assert answer.json()["error"]["code"] == "invalid_bearer"
                    assert answer.headers["www-authenticate"] == "Bearer"
            else:
                assert answer.status_code == 403, told
                assert answer.json()["error"]["code"] == "insufficient_scope"


@pytest.mark.parametrize(
    ("method", "path", "nearest"),
    [
        ("GET", "/v1/nothing", "/v1/"),
        ("POST", "/v1/chat/completion", "POST /v1/chat/completions"),
        ("POST", "/chat/completions", "POST /v1/chat/completions"),
        ("GET", "/v1/model", "GET /v1/models"),
        ("GET", "/v1/keys/", "GET /v1/keys"),
    ],
)
def test_what_is_not_there_points_to_what_is(
    running_server: ServedGateway, method: str, path: str, nearest: str
) -> None:
    answer = httpx2.request(method, running_server.url + path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"
    assert nearest in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/chat/completions", "OPTIONS, POST"),
        ("DELETE", "/v1/keys", "GET, HEAD, OPTIONS, POST"),
        ("POST", "/healthz", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(
    running_server: ServedGateway, method: str, path: str, allow: str
) -> None:
    answer = httpx2.request(method, running_server.url + path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allow
    assert answer.json()["error"]["code"] == "method_not_allowed"
    options = httpx2.options(running_server.url + path)
    assert (options.status_code, options.headers["allow"]) == (204, allow)


def test_head_is_get_without_a_body(running_server: ServedGateway, bearers: dict[str, dict[str, str]]) -> None:
    answer = httpx2.head(running_server.url + "/v1/models", headers=bearers["app"])
    assert (answer.status_code, answer.content) == (200, b"")
    assert httpx2.head(running_server.url + "/v1/models").status_code == 401
