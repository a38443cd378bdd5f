"""Fault 24: a forged X-Forwarded-For, and a thousand addresses in one IPv6 /64: one bucket each."""

from pathlib import Path

import httpx2
import pytest

from gateway_core.testing.profiles import MESSAGES
from gateway_core.testing.server import serving

CONFIG = """
[server]
trusted_proxies = [{trusted}]
[providers.demo]
plugin = "provider-demo"
[models.open]
routes = [{{ provider = "demo", model = "demo" }}]
price = "free"
tiers = ["anonymous"]
[tiers.anonymous]
"""
LIMIT = 5


def admitted(client: httpx2.Client, forwarded: list[str]) -> int:
    """How many anonymous calls are served, each with its X-Forwarded-For; the others are told to wait."""
    body = {"model": "open", "messages": MESSAGES}
    statuses = [
        client.post("/chat/completions", json=body, headers={"x-forwarded-for": entry}).status_code
        for entry in forwarded
    ]
    assert set(statuses) <= {200, 429}
    return statuses.count(200)


def test_what_a_client_says_of_itself_makes_no_bucket(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "home", config=CONFIG.format(trusted="")) as gateway,
        httpx2.Client(base_url=gateway.base_url) as client,
    ):
        forged = [f"198.51.100.{host}" for host in range(50)]
        forged += ["2001:db8::1", "127.0.0.1", "unknown", "", ", ,", "x" * 4000, ",".join(["203.0.113.1"] * 500)]
        assert admitted(client, forged) == LIMIT


@pytest.fixture(scope="module")
def behind_a_proxy(tmp_path_factory: pytest.TempPathFactory) -> object:
    with (
        serving(tmp_path_factory.mktemp("proxy") / "home", config=CONFIG.format(trusted='"127.0.0.1"')) as gateway,
        httpx2.Client(base_url=gateway.base_url) as client,
    ):
        yield client


def test_a_thousand_addresses_of_one_64_are_one_client(behind_a_proxy: httpx2.Client) -> None:
    addresses = [f"2001:db8:0:7:{host:x}::{host:x}" for host in range(1000)]
    assert admitted(behind_a_proxy, addresses) == LIMIT
    assert admitted(behind_a_proxy, ["2001:db8:0:8::1"]) == 1


def test_behind_a_trusted_proxy_the_entry_that_it_added_counts(behind_a_proxy: httpx2.Client) -> None:
    # Whatever stands left of the proxy's own entry was there before: the client wrote it.
    invented = [f"198.51.100.{host}, 192.0.2.9" for host in range(50)]
    assert admitted(behind_a_proxy, invented) == LIMIT
    assert admitted(behind_a_proxy, [f"192.0.2.{host}" for host in range(10, 60)]) == 50
    assert admitted(behind_a_proxy, ["::ffff:192.0.2.9", "192.0.2.9:5555", "[::ffff:192.0.2.9]:1"]) == 0
