"""Mixed load on a gateway: plain calls, streams and streams that are left, on several accounts' keys.

Every caller remembers what it was told, so that the books can be held to it afterwards.
"""

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.server import ServedGateway
from scripts.trials.caller import Caller, Leaving, events_of

PROMPT_CANARY = "canary-prompt-7c1f"

CONFIG = """
[server]
grace_seconds = 5

[upstream]
retries = 1
breaker_failures = 0

[providers.strict]
plugin = "provider-openai"
base_url = "{base_url}"
api_key = "env:STRICT_KEY"

[models.quick]
routes = [{{ provider = "strict", model = "quick" }}]
price = {{ input = "1.00", output = "10.00" }}
max_output_tokens = 400
tokenizer = "o200k_base"

[models.slow]
routes = [{{ provider = "strict", model = "slow" }}]
price = {{ input = "1.00", output = "10.00" }}
max_output_tokens = 2000
tokenizer = "o200k_base"

[models.broken]
routes = [{{ provider = "strict", model = "broken" }}]
price = {{ input = "1.00", output = "10.00" }}
max_output_tokens = 400
"""

ACCOUNTS: dict[str, dict[str, str]] = {
    "open": {},
    "plenty": {"credit_usd": "0.01"},
    "capped": {"credit_usd": "0.002", "cap_usd": "0.4"},
    "frugal": {"cap_usd": "0.05"},
}
"""Accounts of a trial: the last soon spends its cap."""


@dataclass(frozen=True)
class Bearer:
    """A key of a trial's account."""

    account: str
    secret: str


@dataclass
class Told:
    """What callers were told of their calls, by request id."""

    sent: int = 0
    #: Acknowledged whole: the cost that was named, in cents.
    whole: dict[str, str] = field(default_factory=dict)
    #: Began to be answered, and was not received to its end: it is on the ledger all the same.
    begun: set[str] = field(default_factory=set)
    #: Refused before any provider was asked.
    refused: set[str] = field(default_factory=set)
    #: Failed, with an answer that says so: on the ledger at 0.
    failed: set[str] = field(default_factory=set)
    #: Sent, and nothing was heard of it: what became of these only the books know.
    unheard: int = 0


def script(upstream: UpstreamHandle) -> None:
    """What the strict upstream answers in a trial."""
    upstream.reset()
    upstream.script("quick", words=12)
    upstream.script("slow", words=180, gap_ms=8)
    upstream.script("broken", words=30, reset_at=1500)


def open_accounts(gateway: ServedGateway) -> list[Bearer]:
    """Makes the accounts of a trial with two keys each, one of them capped itself."""
    bearers = []
    for name, terms in ACCOUNTS.items():
        options = [part for key, value in terms.items() for part in (f"--{key.replace('_', '-')}", value)]
        gateway.spl("account", "create", name, *options, "-o", "json")
        for cap in ((), ("--cap-usd", "0.08")):
            minted = gateway.spl("keys", "mint", "--account", name, "--name", f"{name}{len(cap)}", *cap, "-o", "json")
            bearers.append(Bearer(name, json.loads(minted)["secret"]))
    return bearers


class Load:
    """Callers that go on until the gateway does not answer any more."""

    def __init__(self, url: str, bearers: Sequence[Bearer], told: Told, dice: random.Random) -> None:
        self._url = url
        self._bearers = bearers
        self._told = told
        self._dice = dice

    async def run(self, callers: int) -> None:
        """Returns when the gateway is gone."""
        await asyncio.gather(*(self._caller(random.Random(self._dice.random())) for _ in range(callers)))  # noqa: S311  # replayed by its seed

    async def _caller(self, dice: random.Random) -> None:
        while True:
            bearer = dice.choice(self._bearers)
            model = dice.choices(("quick", "slow", "broken"), (16, 3, 2))[0]
            stream = model != "quick" or dice.random() < 0.4
            leaves_after = dice.randrange(1, 60) if stream and dice.random() < 0.3 else None
            body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": PROMPT_CANARY}]}
            if stream:
                body |= {"stream": True, "stream_options": {"include_usage": True}}
            if dice.random() < 0.5:
                body["max_tokens"] = dice.randrange(50, 400)
            how: Leaving = dice.choice(("fin", "rst", "half_close"))
            try:
                caller = await Caller.send(self._url, bearer.secret, body)
            except OSError:
                return
            try:
                await self._one(caller, stream=stream, leaves_after=leaves_after, how=how)
            except (OSError, asyncio.IncompleteReadError):
                continue  # cut off: whether it is gone shows at the next connection
            finally:
                caller.writer.transport.abort()

    async def _one(self, caller: Caller, *, stream: bool, leaves_after: int | None, how: Leaving) -> None:
        told = self._told
        told.sent += 1
        try:
            await caller.head()
        except (OSError, asyncio.IncompleteReadError):
            told.unheard += 1
            raise
        if caller.status != 200:
            (told.failed if caller.status == 503 else told.refused).add(caller.request_id)
            await caller.whole()
        elif stream:
            await self._stream(caller, leaves_after, how)
        else:
            told.begun.add(caller.request_id)
            body = await caller.whole()
            self._whole(caller, json.loads(body))

    def _whole(self, caller: Caller, answer: dict[str, Any]) -> None:
        self._told.begun.discard(caller.request_id)
        self._told.whole[caller.request_id] = answer["usage"]["cost_cents"]

    async def _stream(self, caller: Caller, leaves_after: int | None, how: Leaving) -> None:
        self._told.begun.add(caller.request_id)
        body, pieces = b"", 0
        async for piece in caller.chunks():
            body += piece
            pieces += 1
            if pieces == leaves_after:
                caller.leave(how)
                return
        events = events_of(body)
        if events[-1] == b"[DONE]":
            self._whole(caller, json.loads(events[-2]))
