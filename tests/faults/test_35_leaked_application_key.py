"""Fault 35: an application's key leaks. It calls models up to its cap; nothing else is done or learned with it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway_core import config_file
from gateway_core.edge.app import App
from gateway_core.gateway import Gateway
from gateway_core.home import Home
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.profiles import MESSAGES, Vendors, environment, managed, mint, subscriber
from gateway_core.testing.server import ServedGateway, serving

OPEN_TO_IT = {"public", "caller", "inference"}


@dataclass(frozen=True)
class Scene:
    """The managed gateway with two accounts; `leaked` is an application's key of the first."""

    gateway: ServedGateway
    client: httpx2.Client
    victim: str
    other: str
    other_request: str


@pytest.fixture(scope="module")
def scene(vendors_process: Vendors, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    home = tmp_path_factory.mktemp("leaked") / "home"
    with serving(home, config=managed(vendors_process), env=environment(vendors_process)) as gateway:
        victim, other = subscriber(gateway, "victim"), subscriber(gateway, "other")
        leaked, theirs = (mint(gateway, name) for name in ("victim", "other"))
        with httpx2.Client(base_url=gateway.url, headers={"authorization": f"Bearer {theirs}"}) as client:
            answer = client.post("/v1/chat/completions", json={"model": "gpt-4o", "messages": MESSAGES})
        with httpx2.Client(base_url=gateway.url, headers={"authorization": f"Bearer {leaked}"}) as client:
            yield Scene(gateway, client, victim, other, answer.headers["x-request-id"])


def told(answer: httpx2.Response) -> Any:
    """An error without what is different each time."""
    return {**answer.json()["error"], "request_id": None}


def test_every_route_beyond_calls_is_closed_to_it(scene: Scene, tmp_path: Path) -> None:
    app = Gateway.assemble(config_file.load(None, Home(tmp_path)), Home(tmp_path)).app
    assert isinstance(app, App)
    closed = [route for route in app.routes if route.gate not in OPEN_TO_IT]
    assert len(closed) > 20
    for route in closed:
        answers = []
        for name in ("other", "no-such-thing"):
            path = re.sub(r"\{\w+(:path)?\}", name, route.path)
            answer = scene.client.request(route.method, path, json={} if route.method != "GET" else None)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "insufficient_scope"), route
            answers.append(told(answer))
        # What exists and what does not is refused in the same words.
        assert answers[0] == answers[1]


def test_no_key_is_made_changed_or_listed(scene: Scene) -> None:
    keys = json.loads(scene.gateway.spl("keys", "list", "--account", "victim", "-o", "json"))
    for method, path in (
        ("GET", "/v1/keys"),
        ("POST", "/v1/keys"),
        *(("DELETE", f"/v1/keys/{key['id']}") for key in keys),
        *(("POST", f"/v1/keys/{key['id']}/rotate") for key in keys),
    ):
        answer = scene.client.request(method, path, json={"name": "mine", "scopes": ["owner"]})
        assert answer.status_code == 403
        assert not any(key["hint"] in answer.text for key in keys)
    after = json.loads(scene.gateway.spl("keys", "list", "--account", "victim", "-o", "json"))
    assert [(key["id"], key["revoked_at"]) for key in after] == [(key["id"], key["revoked_at"]) for key in keys]


def test_another_accounts_call_is_as_if_it_were_not(scene: Scene) -> None:
    theirs = scene.client.get(f"/v1/requests/{scene.other_request}")
    nobodys = scene.client.get(f"/v1/requests/req_{'0' * 26}")
    assert theirs.status_code == nobodys.status_code == 404
    assert told(theirs) == told(nobodys)
    for account in (scene.other, scene.victim):
        answer = scene.client.get("/v1/threads/th_audit_api_usage/records", params={"account": account})
        assert answer.status_code == 403


def test_it_calls_models_up_to_its_cap(scene: Scene, openai_upstream: UpstreamHandle) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 16, "total_tokens": 26}
    openai_upstream.script("gpt-4o", usage=usage)
    capped = mint(scene.gateway, "victim", "--cap-usd", "0.001")
    statuses = []
    while len(statuses) < 50 and (not statuses or statuses[-1] == 200):
        answer = httpx2.post(
            f"{scene.gateway.base_url}/chat/completions",
            headers={"authorization": f"Bearer {capped}"},
            json={"model": "gpt-4o", "messages": MESSAGES, "max_tokens": 16},
        )
        statuses.append(answer.status_code)
    assert statuses[-1] == 402
    assert answer.json()["error"]["code"] == "quota_exceeded"
    # 10 × $3.25 + 16 × $13 per 1M is $0.0002405 a call, and what it holds is more.
    assert 1 <= statuses.count(200) == len(openai_upstream.log()) <= 4
