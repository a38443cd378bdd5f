"""Fault 22, the side of identity: a bearer that is revoked while it streams ends its stream, settled, in 5 seconds."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.server import PATIENCE, ServedGateway, serving

CONFIG = """
[bearers]
allow_private_addresses = true

[providers.upstream]
plugin = "provider-openai"
base_url = "__URL__"
api_key = "env:UPSTREAM_KEY"

[models.slow]
routes = [{ provider = "upstream", model = "slow" }]
price = { input = "1.00", output = "2.00" }
"""

OFFICE = """
[providers.demo]
plugin = "provider-demo"

[models.demo]
routes = [{ provider = "demo", model = "demo" }]
price = "free"
"""


@pytest.fixture
def gateway(tmp_path: Path, openai_upstream: UpstreamHandle) -> Iterator[ServedGateway]:
    openai_upstream.script("slow", words=2000, gap_ms=50)
    config = CONFIG.replace("__URL__", openai_upstream.base_url)
    with serving(tmp_path / "managed", config=config, env={"UPSTREAM_KEY": openai_upstream.key}) as served:
        served.spl("account", "create", "acme")
        yield served


def _user_key(gateway: ServedGateway, _folder: Path) -> tuple[str, Callable[[], Any]]:
    made = json.loads(gateway.spl("keys", "mint", "--account", "acme", "--name", "laptop", "-o", "json"))
    return made["secret"], lambda: gateway.spl("keys", "revoke", made["id"])


def _instance(gateway: ServedGateway, folder: Path) -> tuple[str, str]:
    with serving(folder / "office", config=OFFICE) as office:
        file = folder / "office.jwks.json"
        file.write_text(office.spl("instance", "self", "--key"))
        bearer = office.spl("token", "mint", "--aud", gateway.url, "-o", "json")
    made = gateway.spl("instance", "register", "office", "--account", "acme", "--key", str(file))
    return bearer, json.loads(made)["id"]


def _its_instance(gateway: ServedGateway, folder: Path) -> tuple[str, Callable[[], Any]]:
    bearer, registered = _instance(gateway, folder)
    return json.loads(bearer)["token"], lambda: gateway.spl("instance", "revoke", registered)


def _one_jwt(gateway: ServedGateway, folder: Path) -> tuple[str, Callable[[], Any]]:
    bearer, registered = _instance(gateway, folder)
    minted = json.loads(bearer)
    return minted["token"], lambda: gateway.spl("token", "revoke", registered, minted["jti"])


def _its_account(gateway: ServedGateway, folder: Path) -> tuple[str, Callable[[], Any]]:
    bearer, _ = _instance(gateway, folder)
    return json.loads(bearer)["token"], lambda: gateway.spl("account", "suspend", "acme")


@pytest.mark.parametrize("kind", [_user_key, _its_instance, _one_jwt, _its_account], ids=lambda kind: kind.__name__)
def test_a_revoked_bearer_s_stream_ends_and_is_settled(
    kind: Callable[[ServedGateway, Path], tuple[str, Callable[[], Any]]],
    gateway: ServedGateway,
    openai_upstream: UpstreamHandle,
    tmp_path: Path,
) -> None:
    bearer, revoke = kind(gateway, tmp_path)
    headers = {"authorization": f"Bearer {bearer}"}
    body = {"model": "slow", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    url = f"{gateway.base_url}/chat/completions"
    with httpx2.stream("POST", url, json=body, headers=headers, timeout=PATIENCE) as stream:
        assert stream.status_code == 200, stream.read()
        lines = stream.iter_lines()
        assert next(lines).startswith("data:")
        revoke()
        revoked_at = time.monotonic()
        # A new call is refused from the moment on that the revocation is acknowledged.
        assert httpx2.post(url, json=body, headers=headers).status_code in {401, 403}
        rest = list(lines)
        # The upstream alone would go on for 100 seconds: a bound, not a measurement.
        assert time.monotonic() - revoked_at < 5 + PATIENCE
        assert "data: [DONE]" not in rest
    openai_upstream.wait_for(lambda log: [each["state"] for each in log] == ["client_gone"])
    listed = json.loads(gateway.spl("thread", "records", "th_audit_api_usage", "--account", "acme"))
    assert [row["body"]["stream_state"] for row in listed] == ["key_revoked"]
    assert listed[0]["body"]["tokens_output"] > 0
    gateway.spl("reconcile")
