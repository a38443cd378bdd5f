"""conf/prices.toml: the facts of every model in it, held to a schema, and its prices to what prices are."""

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from gateway_core.config import LongPriceConfig, ModelConfig, PriceConfig
from gateway_core.config_file import load, shipped_folder
from gateway_core.pricing import dated_rates, rates_at

BOOK = load(shipped_folder() / "prices.toml").config.catalogue
MODELS = pytest.mark.parametrize("name", sorted(BOOK))
NAMES = {
    "anthropic": re.compile(r"claude-(fable|opus|sonnet|haiku)-\d+(-\d+)?"),
    "gemini": re.compile(r"gemini-(\d(\.\d)?-(pro|flash|flash-lite)(-preview)?|flash-1\.5|pro)"),
    "openai": re.compile(r"gpt-\d(\.\d)?o?(-(mini|nano|sol|terra|luna|astra))?|o\d(-mini)?"),
}
FEATURES = {"stream", "tools", "vision", "json_schema", "reasoning"}
FIRST_DAY, CHECKED = datetime(2022, 11, 30, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC)
A_PUBLISHED_PRICE = {"gemini-flash-1.5", "gemini-pro"}
"""Two names of the managed page, at its prices, whatever a provider calls them."""


def prices(name: str) -> tuple[PriceConfig, ...]:
    price = BOOK[name].price
    assert price is not None
    assert price != "free"
    return price if isinstance(price, tuple) else (price,)


def by_class(price: PriceConfig | LongPriceConfig) -> dict[str, Decimal]:
    listed = {name: getattr(price, name) for name in ("input", "cached_input", "cache_write", "output")}
    return {name: Decimal(text) for name, text in listed.items() if text is not None}


def test_the_three_families_are_there_with_the_models_of_today() -> None:
    assert {model.family for model in BOOK.values()} == set(NAMES)
    today = {
        "claude-opus-5-5",
        "claude-sonnet-5-5",
        "claude-haiku-5-5",
        "gemini-3.8-flash",
        "gpt-6.2-sol",
        "gpt-6-luna",
    }
    assert today <= set(BOOK)


@MODELS
def test_a_model_is_named_as_its_family_s_are(name: str) -> None:
    assert NAMES[BOOK[name].family or ""].fullmatch(name)


@MODELS
def test_limits_and_features(name: str) -> None:
    model: ModelConfig = BOOK[name]
    assert model.context_tokens is not None
    assert model.max_output_tokens is not None
    assert model.max_output_tokens < model.context_tokens <= 2_000_000
    assert model.features is not None
    assert {"stream", "tools"} <= set(model.features) <= FEATURES
    assert len(set(model.features)) == len(model.features)
    assert model.routes == ()
    assert model.tiers is None


@MODELS
def test_only_openai_publishes_vocabularies(name: str) -> None:
    assert BOOK[name].tokenizer is None or BOOK[name].family == "openai"


@MODELS
def test_the_day_that_it_came_out(name: str) -> None:
    created = BOOK[name].created
    if name in A_PUBLISHED_PRICE:
        assert created is None
        return
    assert created is not None
    day = datetime.fromtimestamp(created, UTC)
    assert FIRST_DAY <= day <= CHECKED
    assert (day.hour, day.minute, day.second) == (0, 0, 0)
    for price in prices(name):
        assert price.valid_from is None or datetime.fromisoformat(price.valid_from).replace(tzinfo=UTC) >= day


@MODELS
def test_its_prices_are_a_history_in_order(name: str) -> None:
    days = [price.valid_from or "" for price in prices(name)]
    assert days == sorted(set(days))
    rates = dated_rates(name, prices(name), "1")
    assert rates[0][0] <= CHECKED.timestamp() * 1000, "it has no price today"


@MODELS
def test_what_is_cached_costs_less_and_what_is_written_or_made_costs_more(name: str) -> None:
    for price in prices(name):
        for listed in (price, price.long or price):
            cost = by_class(listed)
            assert 0 < cost["input"] < cost["output"] <= 15 * cost["input"]
            assert cost["input"] / 40 <= cost.get("cached_input", cost["input"]) <= cost["input"]
            assert cost.get("cache_write", cost["input"]) in (cost["input"], cost["input"] * Decimal("1.25"))


@MODELS
def test_long_prompts_cost_more_in_every_class(name: str) -> None:
    for price in prices(name):
        if price.long is not None:
            assert price.long.above < (BOOK[name].context_tokens or 0)
            short, long = by_class(price), by_class(price.long)
            assert short.keys() == long.keys()
            assert all(short[each] < long[each] for each in short)


@MODELS
@pytest.mark.parametrize("markup", ["1", "1.30", "1.05"])
def test_it_is_exact_with_a_markup(name: str, markup: str) -> None:
    for _, rates in dated_rates(name, prices(name), markup):
        assert rates.input >= rates.provider_input > 0
        assert rates_at(10**9, rates).output >= rates.output


def test_what_is_announced_for_a_later_day_is_there() -> None:
    """Google's introductory prices end with the year."""
    rates = dict(dated_rates("gemini-3.8-flash", prices("gemini-3.8-flash"), "1"))
    new_year = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp() * 1000)
    assert rates[new_year].provider_input == 2 * rates[min(rates)].provider_input
