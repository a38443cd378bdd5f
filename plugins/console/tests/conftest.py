"""A gateway in this process, with a console whose pages are asked for as a browser does."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from spl_console.console import Console

from gateway_core import config_file
from gateway_core.gateway import Gateway
from gateway_core.home import Home
from gateway_core.testing.clock import ManualClock

CONFIG = """
include = ["shipped:self-host.toml"]
[models."gpt-4o"]
routes = [{ provider = "demo", model = "demo" }]
price = { input = "2.50", cached_input = "1.25", output = "10.00" }
tokenizer = "o200k_base"
[models."long-prompts"]
routes = [{ provider = "demo", model = "demo" }]
price = { input = "1.25", output = "10.00", long = { above = 5, input = "2.50", output = "15.00" } }
tokenizer = "o200k_base"
[plans.pro]
fee_usd = "20"
credit_usd = "10"
cap_usd = "200"
"""

_TOKEN = re.compile(r'name="csrf" content="([^"]+)"')


class Visitor:
    """One browser: a jar of cookies, and what it does with forms."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http
        self.csrf = ""

    async def get(self, path: str, **more: Any) -> httpx2.Response:
        """A page, its token being kept."""
        answer = await self.http.get(f"/console{path}", **more)
        if found := _TOKEN.search(answer.text):
            self.csrf = found[1]
        return answer

    async def post(self, path: str, headers: dict[str, str] | None = None, **fields: Any) -> httpx2.Response:
        """A form, with the token of the last page."""
        return await self.http.post(f"/console{path}", data={"csrf": self.csrf, **fields}, headers=headers or {})

    async def script(self, method: str, path: str, body: Any = None) -> httpx2.Response:
        """What a page's script asks for."""
        return await self.http.request(method, f"/console{path}", json=body, headers={"x-csrf-token": self.csrf})

    async def sign_in(self, key: str) -> httpx2.Response:
        """With a key; then opens the first page."""
        answer = await self.post("/sign-in", key=key)
        if answer.status_code == 303:
            await self.get("")
        return answer


@dataclass
class Bench:
    """The gateway, and keys of two accounts."""

    gateway: Gateway
    clock: ManualClock
    console: Console
    keys: dict[str, str]

    def visitor(self, address: str = "192.0.2.1", url: str = "http://gateway.test") -> Visitor:
        """A browser that has never been here."""
        transport = httpx2.ASGITransport(self.gateway.app, client=(address, 4000))
        return Visitor(httpx2.AsyncClient(transport=transport, base_url=url))

    async def signed_in(self, who: str) -> Visitor:
        """One that has signed in with the key of a role."""
        made = self.visitor()
        assert (await made.sign_in(self.keys[who])).status_code == 303
        return made

    async def operate(self, method: str, path: str, body: Any = None) -> Any:
        """A request to the API by the operator."""
        transport = httpx2.ASGITransport(self.gateway.app)
        headers = {"authorization": f"Bearer {self.gateway.services.keyring.operator_key}"}
        async with httpx2.AsyncClient(transport=transport, base_url="http://gateway.test", headers=headers) as http:
            answer = await http.request(method, path, json=body)
        assert answer.is_success, answer.text
        return answer.json()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """Started, with an account `acme` (an owner's, an application's and a writer's key) and another, `other`."""
    home = Home(tmp_path / "home")
    home.ensure()
    file = tmp_path / "console.toml"
    file.write_text(CONFIG)
    clock = ManualClock()
    gateway = Gateway.assemble(config_file.load(file, home), home, clock=clock)
    await gateway.start()
    (hook,) = [each for each in gateway.plugins.implementations("register_routes") if each.plugin_name == "console"]
    plugin: Any = hook.plugin
    made = Bench(gateway, clock, plugin.console, {"operator": gateway.services.keyring.operator_key})
    try:
        for account in ("acme", "other"):
            await made.operate("POST", "/v1/admin/accounts", {"name": account})
        for who, scope, account in (
            ("application", "inference", "acme"),
            ("owner", "owner", "acme"),
            ("writer", "records:write", "acme"),
            ("other", "owner", "other"),
        ):
            body = {"name": who, "account": account, "scopes": [scope]}
            made.keys[who] = (await made.operate("POST", "/v1/keys", body))["secret"]
        yield made
    finally:
        await gateway.stop()
