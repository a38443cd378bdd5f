"""Two gateways as two processes: a customer's own calls models at a managed one, and the records come home."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway_core.testing.server import PATIENCE, ServedGateway, serving

THREAD = "/v1/threads/th_audit_api_usage/records"

MANAGED = """
[bearers]
allow_private_addresses = true

[providers.demo]
plugin = "provider-demo"

[models.priced]
routes = [{ provider = "demo", model = "demo" }]
price = { input = "1.00", output = "2.00" }
"""

OFFICE = """
[bearers]
allow_private_addresses = true

[plugins.audit-thread]
__PULL__

[providers.managed]
plugin = "provider-openai"
base_url = "__URL__/v1"
api_key = "bearer:instance"

[models.priced]
routes = [{ provider = "managed", model = "priced" }]
"""

CALL = {"model": "priced", "messages": [{"role": "user", "content": "Hello there"}]}


def office_config(managed: ServedGateway, *, pull: bool) -> str:
    settings = f'pull_from = "{managed.url}"\npull_seconds = 0.05' if pull else ""
    return OFFICE.replace("__URL__", managed.url).replace("__PULL__", settings)


@pytest.fixture
def managed(tmp_path: Path) -> Iterator[ServedGateway]:
    with serving(tmp_path / "managed", config=MANAGED) as gateway:
        gateway.spl("account", "create", "acme")
        yield gateway


@pytest.fixture
def office(tmp_path: Path, managed: ServedGateway) -> Iterator[ServedGateway]:
    """A customer's own instance that nobody reaches from outside: it fetches its records."""
    with serving(tmp_path / "office", config=office_config(managed, pull=True)) as gateway:
        yield gateway


def register_by_url(managed: ServedGateway, office: ServedGateway, *arguments: str) -> str:
    url = f"{office.url}/.well-known/jwks.json"
    printed = managed.spl("instance", "register", "office", "--account", "acme", "--jwks-url", url, *arguments)
    return str(json.loads(printed)["id"])


def register_by_key(managed: ServedGateway, office: ServedGateway, folder: Path, *arguments: str) -> str:
    file = folder / "office.jwks.json"
    file.write_text(office.spl("instance", "self", "--key"))
    printed = managed.spl("instance", "register", "office", "--account", "acme", "--key", str(file), *arguments)
    return str(json.loads(printed)["id"])


def call(gateway: ServedGateway, bearer: str, **fields: Any) -> httpx2.Response:
    headers = {"authorization": f"Bearer {bearer}"}
    return httpx2.post(
        f"{gateway.base_url}/chat/completions", json={**CALL, **fields}, headers=headers, timeout=PATIENCE
    )


def records(gateway: ServedGateway, account: str) -> list[dict[str, Any]]:
    headers = {"authorization": f"Bearer {gateway.operator_key}"}
    answer = httpx2.get(gateway.url + THREAD, params={"account": account, "limit": 1000}, headers=headers)
    assert answer.status_code == 200, answer.text
    listed: list[dict[str, Any]] = answer.json()["data"]
    return listed


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("how", ["by its JWKS URL", "by its pasted key"])
def test_a_self_hosted_instance_calls_by_a_bearer_of_its_own(
    how: str, managed: ServedGateway, office: ServedGateway, tmp_path: Path
) -> None:
    known = office.spl("instance", "self")
    if how == "by its JWKS URL":
        registered = register_by_url(managed, office)
    else:
        registered = register_by_key(managed, office, tmp_path)
    assert registered == json.loads(known)["instance"]
    bearer = office.spl("token", "mint").strip()
    assert bearer == bearer.strip()
    answer = call(managed, bearer)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-syncropic-tier"] == "self-host"
    assert float(answer.headers["x-syncropic-cost-cents"]) > 0
    (record,) = records(managed, "acme")
    assert record["body"]["key_id"] == registered
    # Behind NAT: it fetched the record by itself, into its own thread, byte for byte.
    (fetched,) = wait_for(lambda: records(office, "local"))
    assert (fetched["id"], fetched["body"]) == (record["id"], record["body"])
    # Such a bearer calls models, and nothing else.
    headers = {"authorization": f"Bearer {bearer}"}
    for method, path in (("POST", "/v1/keys"), ("GET", "/v1/keys"), ("GET", THREAD), ("GET", "/v1/audit/records")):
        refused = httpx2.request(method, managed.url + path, headers=headers, json={} if method == "POST" else None)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "insufficient_scope")


def test_an_instance_that_calls_through_itself_counts_nothing_twice(
    managed: ServedGateway, office: ServedGateway
) -> None:
    register_by_url(managed, office)
    answers = [call(office, office.key), call(office, office.key, max_tokens=5)]
    with httpx2.stream(
        "POST",
        f"{office.base_url}/chat/completions",
        json={**CALL, "stream": True},
        headers={"authorization": f"Bearer {office.key}"},
    ) as stream:
        assert stream.status_code == 200
        assert b"[DONE]" in stream.read()
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-syncropic-cost-cents"] == "0"
    billed = records(managed, "acme")
    assert len(billed) == 3
    fetched = wait_for(lambda: (found := records(office, "local")) and len(found) >= 3 and found)
    assert [(each["id"], each["body"]) for each in fetched] == [(each["id"], each["body"]) for each in billed]
    own = httpx2.get(
        f"{office.base_url}/requests/{answers[0].headers['x-request-id']}",
        headers={"authorization": f"Bearer {office.operator_key}"},
    ).json()
    assert "upstream" in json.dumps(own)
    for gateway in (managed, office):
        gateway.spl("reconcile")  # exits with 1 where anything differs


def test_records_are_pushed_where_there_is_a_push_url(managed: ServedGateway, tmp_path: Path) -> None:
    with serving(tmp_path / "office", config=office_config(managed, pull=False)) as office:
        registered = register_by_key(managed, office, tmp_path, "--push-url", office.url)
        assert call(managed, office.spl("token", "mint").strip()).status_code == 200
        (record,) = records(managed, "acme")
        assert record["body"]["key_id"] == registered
        # The instance does not know the gateway yet: it takes nothing, and the gateway tries again.
        wait_for(lambda: "sink audit-thread" in managed.output())
        assert records(office, "local") == []
        url = f"{managed.url}/.well-known/jwks.json"
        office.spl("instance", "register", "gateway", "--as", "gateway", "--account", "local", "--jwks-url", url)
        (pushed,) = wait_for(lambda: records(office, "local"))
        assert (pushed["id"], pushed["body"]) == (record["id"], record["body"])
        office.spl("reconcile")


def test_a_revoked_instance_is_refused_at_once(managed: ServedGateway, office: ServedGateway) -> None:
    registered = register_by_url(managed, office)
    first, second = (office.spl("token", "mint").strip() for _ in range(2))
    assert [call(managed, bearer).status_code for bearer in (first, second)] == [200, 200]
    minted = json.loads(office.spl("token", "mint", "-o", "json"))
    assert call(managed, minted["token"]).status_code == 200
    managed.spl("token", "revoke", registered, minted["jti"])
    assert call(managed, minted["token"]).status_code == 401
    assert call(managed, first).status_code == 200
    managed.spl("instance", "revoke", registered)
    answer = call(managed, first)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_bearer")


def test_a_key_is_rotated_while_calls_run_and_none_is_refused(managed: ServedGateway, tmp_path: Path) -> None:
    with serving(tmp_path / "office", config=office_config(managed, pull=False)) as office:
        register_by_key(managed, office, tmp_path)
        statuses: list[int] = []
        stop = threading.Event()

        def calls() -> None:
            while not stop.is_set():
                statuses.append(call(managed, office.spl("token", "mint").strip()).status_code)

        caller = threading.Thread(target=calls)
        caller.start()
        try:
            wait_for(lambda: len(statuses) >= 2)
            before = json.loads(office.spl("instance", "self"))
            # The managed gateway is to know the new key before it signs: that takes two commands.
            rotated = json.loads(office.spl("instance", "rotate-key", "--after", "8s"))
            assert rotated["instance"] == before["instance"]
            file = tmp_path / "both.jwks.json"
            file.write_text(office.spl("instance", "self", "--key"))
            managed.spl("instance", "update", before["instance"], "--add-key", str(file))
            wait_for(lambda: json.loads(office.spl("instance", "self"))["keys"][-1]["signs"])
            seen = len(statuses)
            wait_for(lambda: len(statuses) >= seen + 3)
        finally:
            stop.set()
            caller.join()
        assert set(statuses) == {200}
        new = json.loads(office.spl("instance", "self"))["keys"][-1]["kid"]
        old = before["keys"][0]["kid"]
        managed.spl("instance", "update", before["instance"], "--remove-key", old)
        assert call(managed, office.spl("token", "mint").strip()).status_code == 200
        shown = json.loads(managed.spl("instance", "list"))
        assert [key["kid"] for key in shown[0]["keys"]] == [new]


def test_a_provisioned_instance_s_home_is_made_of_its_key(managed: ServedGateway, tmp_path: Path) -> None:
    home = tmp_path / "hosted"
    home.mkdir(mode=0o700)
    made = json.loads(
        managed.spl("instance", "provision", "hosted", "--account", "acme", "--key-file", str(home / "signing.key"))
    )
    assert made["kind"] == "instance"
    assert "signing_key" not in made
    listed = managed.spl("instance", "list")
    for file in (tmp_path / "none" / "signing.key", home / "signing.key", tmp_path):
        with pytest.raises(AssertionError, match=re.escape(str(file))):
            managed.spl("instance", "provision", "lost", "--account", "acme", "--key-file", str(file))
    with pytest.raises(AssertionError, match="no such account"):
        managed.spl("instance", "provision", "lost", "--account", "nobody", "--key-file", str(tmp_path / "new.key"))
    assert managed.spl("instance", "list") == listed
    assert not (tmp_path / "new.key").exists()
    with serving(home, config=office_config(managed, pull=True)) as hosted:
        assert json.loads(hosted.spl("instance", "self"))["instance"] == made["id"]
        answer = call(managed, hosted.spl("token", "mint").strip())
        # Its kind has a tier of its own, which this configuration may not have; that it is known is what counts here.
        assert answer.status_code in {200, 402}, answer.text
