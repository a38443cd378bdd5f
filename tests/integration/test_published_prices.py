"""The five published prices, exactly: in the capabilities, an answer, its record, the usage and the invoice."""

import json
from collections.abc import Iterator
from decimal import Decimal

import httpx2
import pytest

from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.server import ServedGateway, serving

pytestmark = pytest.mark.usefixtures("within_a_day")

PUBLISHED = {
    "claude-haiku-4-5": ("1.3", "6.5", "1.30", "6.50"),
    "claude-sonnet-4-6": ("3.9", "19.5", "3.90", "19.50"),
    "gpt-4o": ("3.25", "13", "3.25", "13.00"),
    "gemini-flash-1.5": ("0.0975", "0.39", "0.10", "0.39"),
    "gemini-pro": ("1.625", "6.5", "1.63", "6.50"),
}
"""Customer price in and out per 1M tokens: exact, and as published."""

TOKENS_IN, TOKENS_OUT = 997, 13
CONFIG = """
include = ["shipped:prices.toml"]

[pricing]
markup = "1.30"

[providers.strict]
plugin = "provider-openai"
base_url = "{base_url}"
api_key = "env:STRICT_KEY"
""" + "\n".join(
    f'[models."{model}"]\nroutes = [{{{{ provider = "strict", model = "{model}" }}}}]' for model in PUBLISHED
)


@pytest.fixture(scope="module")
def served(
    openai_upstream_process: UpstreamHandle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedGateway]:
    """A gateway with the published markup; the strict upstream stands in for every vendor."""
    config = CONFIG.format(base_url=openai_upstream_process.base_url)
    home = tmp_path_factory.mktemp("prices") / "home"
    with serving(home, config=config, env={"STRICT_KEY": openai_upstream_process.key}) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def client(served: ServedGateway) -> Iterator[httpx2.Client]:
    """An owner's client."""
    minted = json.loads(served.spl("keys", "mint", "--name", "owner", "--scope", "owner", "-o", "json"))
    headers = {"authorization": f"Bearer {minted['secret']}"}
    with httpx2.Client(base_url=served.base_url, headers=headers) as made:
        yield made


def test_the_capabilities_have_them_exactly_and_as_published(client: httpx2.Client) -> None:
    listed = {row["model"]: row["price"] for row in client.get("/capabilities").json()["data"]}
    assert {
        model: (price["exact"]["input"], price["exact"]["output"], price["input"], price["output"])
        for model, price in listed.items()
    } == PUBLISHED


def test_a_call_costs_them_exactly_all_the_way_to_the_invoice(
    served: ServedGateway, client: httpx2.Client, openai_upstream: UpstreamHandle
) -> None:
    expected = {}
    usage = {"prompt_tokens": TOKENS_IN, "completion_tokens": TOKENS_OUT, "total_tokens": TOKENS_IN + TOKENS_OUT}
    for model, (price_in, price_out, _, _) in PUBLISHED.items():
        openai_upstream.script(model, words=TOKENS_OUT, usage=usage)
        body = {"model": model, "messages": [{"role": "user", "content": "word " * TOKENS_IN}]}
        answer = client.post("/chat/completions", json=body)
        price = (TOKENS_IN * Decimal(price_in) + TOKENS_OUT * Decimal(price_out)) / 1_000_000
        assert Decimal(answer.headers["x-syncropic-cost-cents"]) == price * 100
        assert Decimal(answer.json()["usage"]["cost_cents"]) == price * 100
        record = client.get(f"/requests/{answer.headers['x-request-id']}").json()
        assert Decimal(record["cost_usd"]) == price
        expected[model] = price

    (month,) = {row["day"][:7] for row in client.get("/usage").json()["data"]}
    by_model = client.get("/usage", params={"group_by": "model", "month": month}).json()
    assert {row["model"]: Decimal(row["cost_usd"]) for row in by_model["data"]} == expected
    invoice = client.get(f"/invoices/{month}").json()
    assert {line["model"]: Decimal(line["amount_usd"]) for line in invoice["inference_lines"]} == expected
    assert Decimal(invoice["total_usd"]) == sum(expected.values())
    printed = json.loads(served.spl("invoice", month, "-o", "json"))
    assert printed == invoice
    assert served.spl("reconcile", "-o", "json").strip() == "[]"
