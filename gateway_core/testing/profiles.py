"""The shipped profiles in tests: the same tables, with an upstream of the test's behind every provider."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from gateway_core.testing.anthropic_fixture import AnthropicHandle
from gateway_core.testing.gemini_fixture import GeminiHandle
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.server import PATIENCE, ServedGateway

KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY")
"""What the managed profile takes its providers' keys from."""

MESSAGES: list[Any] = [{"role": "user", "content": "Say hello in one sentence."}]


@dataclass(frozen=True)
class Vendors:
    """Who plays the managed profile's three providers, each in its own language."""

    openai: UpstreamHandle
    anthropic: AnthropicHandle
    gemini: GeminiHandle

    def log(self) -> list[dict[str, Any]]:
        """All that they were asked."""
        return [*self.openai.log(), *self.anthropic.log(), *self.gemini.log()]

    def reset(self) -> None:
        """Forgets scripts and logs."""
        for each in (self.openai, self.anthropic, self.gemini):
            each.reset()


@pytest.fixture(scope="session")
def vendors_process(
    openai_upstream_process: UpstreamHandle,
    anthropic_upstream_process: AnthropicHandle,
    gemini_upstream_process: GeminiHandle,
) -> Vendors:
    """Three processes for the whole session."""
    return Vendors(openai_upstream_process, anthropic_upstream_process, gemini_upstream_process)


@pytest.fixture
def vendors(vendors_process: Vendors) -> Vendors:
    """The strict upstreams of the three wires, their scripts and logs empty."""
    vendors_process.reset()
    return vendors_process


def managed(vendors: Vendors, more: str = "") -> str:
    """syncropic.toml with its providers at the upstreams. `more` is TOML that wins over it."""
    providers = "".join(
        f'[providers.{name}]\nbase_url = "{getattr(vendors, name).base_url}"\n'
        for name in ("openai", "anthropic", "gemini")
    )
    return f'include = ["shipped:syncropic.toml"]\n[upstream]\nretries = 0\nbreaker_failures = 0\n{providers}\n{more}'


def environment(vendors: Vendors) -> dict[str, str]:
    """The providers' keys."""
    return dict(zip(KEYS, (vendors.openai.key, vendors.anthropic.key, vendors.gemini.key), strict=True))


def subscriber(served: ServedGateway, name: str, plan: str | None = "pro") -> str:
    """A new account on a plan; its id."""
    account = json.loads(served.spl("account", "create", name, "-o", "json"))
    if plan is not None:
        served.spl("subscription", "start", name, "--plan", plan)
    return str(account["id"])


def mint(served: ServedGateway, account: str, *options: str) -> str:
    """A new key of an account."""
    printed = served.spl("keys", "mint", "--account", account, "--name", "test", *options, "-o", "json")
    return str(json.loads(printed)["secret"])


@dataclass(frozen=True)
class Curled:
    """What curl printed: status, headers by lower-case name, and the body."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def error(self) -> dict[str, Any]:
        """What stands under `error`."""
        found: dict[str, Any] = json.loads(self.text)["error"]
        return found


def curl(url: str, *options: str, bearer: str | None = None, body: Any = None) -> Curled:
    """One request by the command that the published page shows."""
    command = ["curl", "--silent", "--show-error", "--include", "--max-time", str(int(PATIENCE)), *options]
    if bearer is not None:
        command += ["-H", f"Authorization: Bearer {bearer}"]
    if body is not None:
        command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    done = subprocess.run([*command, url], capture_output=True, check=True)
    head, _, text = done.stdout.decode().partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Curled(int(status.split()[1]), headers, text)
