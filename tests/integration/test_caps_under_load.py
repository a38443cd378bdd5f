"""1,000 calls at once against a cap that affords 100, over real sockets: exactly what fits is admitted, nothing more
is spent, and nothing stays held."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.server import ServedGateway, serving

pytestmark = pytest.mark.usefixtures("within_a_day")

CALLS, FIT = 1000, 100
WORDS = 20
CAP = "0.02"
"""100 calls of 20 output tokens at $10 per 1M; input is free, so that a hold is exactly what its call costs."""

CONFIG = """
[bearers]
user_key = "paid"

[tiers.paid]
requests_per_minute = 1000000

[providers.strict]
plugin = "provider-openai"
base_url = "{base_url}"
api_key = "env:STRICT_KEY"

[models.priced]
routes = [{{ provider = "strict", model = "upstream-name" }}]
price = {{ input = "0", output = "10.00" }}
tokenizer = "o200k_base"

[plans.open]
fee_usd = "1"

[plans.capped]
credit_usd = "0.005"
cap_usd = "0.02"
"""


@pytest.fixture(scope="module")
def served(
    openai_upstream_process: UpstreamHandle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedGateway]:
    """A managed gateway in front of the strict upstream."""
    config = CONFIG.format(base_url=openai_upstream_process.base_url)
    home = tmp_path_factory.mktemp("load") / "home"
    with serving(home, config=config, env={"STRICT_KEY": openai_upstream_process.key}) as gateway:
        yield gateway


def capped_by(served: ServedGateway, what: str) -> str:
    """A key of a new account, with the cap in one of the three places."""
    account = ["account", "create", what, *(["--cap-usd", CAP] if what == "account" else [])]
    served.spl(*account)
    served.spl("subscription", "start", what, "--plan", "capped" if what == "subscription" else "open")
    key = ["keys", "mint", "--account", what, "--name", "app", *(["--cap-usd", CAP] if what == "key" else [])]
    return str(json.loads(served.spl(*key, "-o", "json"))["secret"])


async def call_all(url: str, secret: str, stream: bool) -> list[tuple[int, str | None]]:
    """Status and error code of every call, all of them under way at once."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    headers = {"authorization": f"Bearer {secret}"}
    async with httpx2.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=120) as client:
        return await asyncio.gather(*(call(client, stream) for _ in range(CALLS)))


async def call(client: httpx2.AsyncClient, stream: bool) -> tuple[int, str | None]:
    body: dict[str, Any] = {
        "model": "priced",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": WORDS,
        "stream": stream,
    }
    answer = await client.post("/v1/chat/completions", json=body)
    if answer.status_code == 200:
        assert not stream or answer.text.endswith("data: [DONE]\n\n")
        return 200, None
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize(("cap", "stream"), [("subscription", False), ("key", True), ("account", False)])
async def test_exactly_what_fits_is_admitted(
    served: ServedGateway, openai_upstream: UpstreamHandle, cap: str, stream: bool
) -> None:
    openai_upstream.script("upstream-name", words=WORDS, finish_reason="length", delay_ms=20)
    secret = capped_by(served, cap)
    outcomes = Counter(await call_all(served.url, secret, stream))
    assert outcomes == {(200, None): FIT, (402, "quota_exceeded"): CALLS - FIT}
    assert len(openai_upstream.log()) == FIT, "a refused call reached the upstream"

    usage = json.loads(served.spl("usage", "--account", cap, "--by", "model", "-o", "json"))
    assert [(row["calls"], row["cost_usd"]) for row in usage] == [(FIT, CAP)]
    invoice = json.loads(served.spl("invoice", "--account", cap, "-o", "json"))
    assert invoice["inference_usd"] == CAP
    credit = "0.005" if cap == "subscription" else "0"
    assert (invoice["credit_used_usd"], invoice["credit_granted_usd"]) == (credit, credit)

    async with httpx2.AsyncClient(base_url=served.url, headers={"authorization": f"Bearer {secret}"}) as client:
        assert await call(client, stream) == (402, "quota_exceeded")
        if cap == "account":
            # A hold that was left behind would take the room of the one call that this affords.
            served.spl("account", "limits", cap, "--cap-usd", "0.0202")
            assert [await call(client, stream) for _ in range(2)] == [(200, None), (402, "quota_exceeded")]
    assert served.spl("reconcile", "-o", "json").strip() == "[]"


async def test_where_calls_cost_less_than_they_hold_the_cap_is_used_up_and_never_passed(
    served: ServedGateway, openai_upstream: UpstreamHandle
) -> None:
    """Each holds $0.0002 and costs $0.00005: what is given back admits more, until a call no longer fits."""
    openai_upstream.script("upstream-name", words=WORDS // 4)
    served.spl("account", "create", "loose", "--cap-usd", "0.0032")
    served.spl("subscription", "start", "loose", "--plan", "open")
    secret = json.loads(served.spl("keys", "mint", "--account", "loose", "--name", "app", "-o", "json"))["secret"]
    outcomes = Counter(await call_all(served.url, secret, stream=False))
    admitted = outcomes.pop((200, None))
    assert 16 <= admitted <= 61, "16 fit at once; the 61st leaves less room than a call holds"
    assert outcomes == {(402, "quota_exceeded"): CALLS - admitted}
    async with httpx2.AsyncClient(base_url=served.url, headers={"authorization": f"Bearer {secret}"}) as client:
        while (await call(client, stream=False))[0] == 200:
            admitted += 1
    assert admitted == 61
    assert len(openai_upstream.log()) == 61
    (row,) = json.loads(served.spl("usage", "--account", "loose", "--by", "model", "-o", "json"))
    assert (row["calls"], row["cost_usd"]) == (61, "0.00305")
