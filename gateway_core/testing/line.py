"""The whole line in tests: a client, `spl serve`, the strict upstream; and what the ledger says afterwards."""

import json
import socket
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from gateway_core.testing.server import PATIENCE, ServedGateway, serving
from gateway_core.testing.upstream_handle import ScriptedHandle

CONFIG = """
[server]
{server}

[upstream]
client = "{client}"
http2 = {http2}
retries = 0
breaker_failures = 0
{upstream}

[providers.strict]
plugin = "{plugin}"
base_url = "{base_url}"
api_key = "env:STRICT_KEY"

[models.priced]
routes = [{{ provider = "strict", model = "{model}" }}]
{priced}
"""
PRICED = """
price = { input = "1.00", output = "10.00" }
max_output_tokens = 1000
overhead_tokens = 0
tokenizer = "o200k_base"
"""
HELLO = [{"role": "user", "content": "Hello"}]


class Line:
    """A gateway in front of the strict upstream, and a client with its first key."""

    def __init__(self, gateway: ServedGateway, upstream: ScriptedHandle, http: httpx2.Client) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self.http = http

    def body(self, **fields: Any) -> dict[str, Any]:
        """A call of the model `priced`."""
        return {"model": "priced", "messages": HELLO, **fields}

    def call(self, bearer: str | None = None, **fields: Any) -> httpx2.Response:
        """Makes one."""
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        return self.http.post("/v1/chat/completions", json=self.body(**fields), headers=headers)

    def mint(self, **limits: str) -> str:
        """A new key of the account `local`."""
        options = [part for name, value in limits.items() for part in (f"--{name.replace('_', '-')}", value)]
        minted = self.gateway.spl("keys", "mint", "--account", "local", "--name", "more", *options, "-o", "json")
        secret: str = json.loads(minted)["secret"]
        return secret

    def ready(self) -> bool:
        """Whether it takes calls."""
        return self.http.get("/readyz").status_code == 200

    def wait_until_ready(self) -> None:
        """Fails where it never takes calls again."""
        deadline = time.monotonic() + PATIENCE
        while not self.ready():
            assert time.monotonic() < deadline, self.http.get("/readyz").text
            time.sleep(0.02)

    def rows(self) -> dict[str, dict[str, Any]]:
        """The ledger, by request id."""
        path = self.gateway.home / "store.sqlite3"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            return {row["id"]: dict(row) for row in db.execute("SELECT * FROM ledger")}

    def row(self, request_id: str) -> dict[str, Any]:
        """A call's row, once it is there."""
        deadline = time.monotonic() + PATIENCE
        while (row := self.rows().get(request_id)) is None:
            assert time.monotonic() < deadline, f"{request_id} is not on the ledger"
            time.sleep(0.02)
        return row

    def reconciles(self) -> bool:
        """Whether every sum and chain agrees."""
        return self.gateway.spl("reconcile", "-o", "json").strip() == "[]"

    def memory(self) -> int:
        """Bytes of its process that are in memory."""
        status = Path(f"/proc/{self.gateway.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


@contextmanager
def line(
    home: Path,
    upstream: ScriptedHandle,
    *,
    plugin: str = "provider-openai",
    model: str = "priced",
    priced: str = PRICED,
    more: str = "",
    client: str = "native",
    http2: bool = False,
    upstream_settings: str = "",
    server: str = "grace_seconds = 1",
    env: Mapping[str, str] | None = None,
    key: str | None = None,
) -> Iterator[Line]:
    """Serves `home` while the block lasts; `more` is TOML of the test's own, `key` one of an earlier start.

    `model` is its name at the upstream, `priced` what the gateway is told of it.
    """
    config = CONFIG.format(
        plugin=plugin,
        model=model,
        priced=priced,
        base_url=upstream.base_url,
        client=client,
        http2="true" if http2 else "false",
        upstream=upstream_settings,
        server=server,
    )
    with serving(home, config=config + more, env={"STRICT_KEY": upstream.key, **(env or {})}) as gateway:
        key = key or gateway.key
        with httpx2.Client(base_url=gateway.url, headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE) as http:
            yield Line(gateway, upstream, http)


def sent_call(url: str, bearer: str, body: Mapping[str, Any], *headers: str) -> socket.socket:
    """The connection to a gateway that a call was just sent on: of one who leaves before its answer comes."""
    data = json.dumps(body).encode()
    head = ("POST /v1/chat/completions HTTP/1.1", "Host: x", f"Authorization: Bearer {bearer}", *headers)
    parts = urlsplit(url)
    raw = socket.create_connection((str(parts.hostname), parts.port or 0), PATIENCE)
    raw.sendall("\r\n".join([*head, f"Content-Length: {len(data)}", "", ""]).encode() + data)
    return raw


def events(text: str) -> list[Any]:
    """The events of a stream: decoded, `[DONE]` as it is."""
    lines = [part.removeprefix("data: ") for part in text.split("\n\n") if part.startswith("data: ")]
    return [part if part == "[DONE]" else json.loads(part) for part in lines]


def text_of(found: list[Any]) -> str:
    """The text in a stream's events."""
    deltas = [choice["delta"] for event in found if event != "[DONE]" for choice in event.get("choices", ())]
    return "".join([delta.get("content") or "" for delta in deltas])
