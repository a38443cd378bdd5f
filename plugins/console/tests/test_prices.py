"""Prices as the pages show them: what the API says, rounded as it is published, exact on hover."""

from typing import Any

import pytest
from spl_console.render import money, plural, price, thousandths, time


@pytest.mark.parametrize(
    ("amount", "shown", "exact"),
    [
        (0, "$0.00", "0"),
        (10**10, "$0.01", "0.01"),
        (61_100_000, "$0.0000611", "0.0000611"),
        ("12.345", "$12.35", "12.345"),
        ("-0.5", "−$0.50", "-0.5"),
        ("1000000", "$1,000,000.00", "1000000"),
    ],
)
def test_amounts(amount: int | str, shown: str, exact: str) -> None:
    assert money(amount) == f'<data class="num" value="{exact}" title="{exact} USD">{shown}</data>'


def test_prices_counts_and_times() -> None:
    assert ">$0.10<" in price("0.0975")
    assert 'title="0.0975 USD"' in price("0.0975")
    assert "free" in price("0")
    assert money(None) == price(None) == "–"
    assert (plural(1, "call"), plural(2000, "call"), plural(2, "entry", "entries")) == (
        "1 call",
        "2,000 calls",
        "2 entries",
    )
    assert [thousandths(part, 3) for part in (-1, 0, 1, 3, 9)] == [0, 0, 333, 1000, 1000]
    assert thousandths(1, 0) == 0
    shown = time("2026-11-22T05:06:07.000Z")
    assert shown == (
        '<time datetime="2026-11-22T05:06:07.000Z" title="2026-11-22 05:06:07 UTC">22 Nov 2026, 05:06 UTC</time>'
    )
    assert ">never<" in time(None)


async def test_models_show_every_class_that_costs_otherwise(bench: Any) -> None:
    page = (await (await bench.signed_in("owner")).get("/models")).text
    assert "cached" in page
    assert 'title="1.25 USD">$1.25' in page
    assert "$15.00</data> above 5" in page


async def test_a_long_text_costs_what_a_long_prompt_costs(bench: Any) -> None:
    visitor = await bench.signed_in("owner")
    await visitor.get("/tokenizer")
    for text, tokens, cost in (("one two three", 3, "0.00000375"), ("one two three four five six", 6, "0.000015")):
        answer = await visitor.script("POST", "/tokenizer/tokens", {"model": "long-prompts", "text": text})
        (row,) = [row for row in answer.json()["models"] if row["model"] == "long-prompts"]
        assert (row["tokens"], row["cost_usd"], row["approximate"]) == (tokens, cost, False)


async def test_a_text_that_is_none_is_refused(bench: Any) -> None:
    visitor = await bench.signed_in("owner")
    await visitor.get("/tokenizer")
    for body in ({"model": "gpt-4o"}, {"model": "gpt-4o", "text": 1}, [], {"model": "gpt-4o", "text": "x" * 1_100_000}):
        assert (await visitor.script("POST", "/tokenizer/tokens", body)).status_code == 400
    assert (await visitor.script("POST", "/tokenizer/tokens", {"model": "none", "text": "x"})).status_code == 404
    huge = await visitor.script("POST", "/tokenizer/tokens", {"model": "gpt-4o", "text": "x" * 3_000_000})
    assert huge.status_code == 413
