"""The price book: own price before the book's, by date, exact, and never a gift."""

from typing import Any, cast

import msgspec
import pytest
from spl_price_book import Plugin

from gateway_core.config import Config
from gateway_core.dispatch import Dispatch
from gateway_core.errors import ConfigError
from gateway_core.money import per_million, usd, usd_to_cent
from gateway_core.pricing import worst_case
from gateway_core.testing import samples
from gateway_core.testing.plugins import configuration, load_plugins
from gateway_core.types import Cost, Usage

ONE_MILLION = Usage(input=1_000_000)
DAY = 86_400_000


class Running(msgspec.Struct):
    config: Config
    models: dict[str, None]


async def pricing(models: dict[str, Any], *, markup: str = "1", catalogue: dict[str, Any] | None = None) -> Dispatch:
    """The plugin, started in a gateway that serves these models."""
    tables: dict[str, Any] = {"pricing": {"markup": markup}}
    dispatch = Dispatch(load_plugins({"price-book": Plugin}, tables))
    route = {"routes": [{"provider": "p", "model": "x"}]}
    served = {name: {**route, **fields} for name, fields in models.items()}
    providers = {"p": {"plugin": "kind"}}
    config = configuration({"providers": providers, "models": served, "catalogue": catalogue or {}}).config
    for _, startup in dispatch.startup:
        await startup(cast("Any", Running(config, dict.fromkeys(models))))
    return dispatch


def price(dispatch: Dispatch, model: str, usage: Usage = ONE_MILLION, **call: Any) -> Cost:
    cost = dispatch.price(samples.call(model, **call), usage)
    assert cost is not None
    return cost


async def test_the_book_s_price_times_the_markup_and_the_list_price_is_owed() -> None:
    known = {"gpt-4o": {"price": {"input": "2.50", "cached_input": "1.25", "output": "10.00"}}}
    dispatch = await pricing({"gpt-4o": {}}, markup="1.30", catalogue=known)
    cost = price(dispatch, "gpt-4o", Usage(input=1_000_000, output=1_000_000, cached=400_000))
    assert (usd(cost.charge), usd(cost.owed)) == ("15.6", "12")
    assert (cost.rates.price_id, cost.rates.markup) == ("gpt-4o×1.30", "1.30")
    assert usd_to_cent(per_million(cost.rates.input)) == "3.25"


async def test_a_model_s_own_price_overrides_the_book_whole() -> None:
    known = {"m": {"price": {"input": "9", "cached_input": "0.01", "output": "9"}}}
    dispatch = await pricing({"m": {"price": {"input": "2", "output": "3"}}}, catalogue=known)
    assert usd(price(dispatch, "m", Usage(input=1_000_000, cached=1_000_000)).charge) == "2"


async def test_a_call_is_priced_by_the_moment_it_began() -> None:
    prices = [
        {"input": "2", "output": "1", "valid_from": "2026-11-22"},
        {"input": "1", "output": "1", "valid_from": "2026-11-20"},
    ]
    dispatch = await pricing({"m": {"price": prices}})
    start = samples.STARTED_AT
    assert usd(price(dispatch, "m", started_at=start).charge) == "2"
    assert price(dispatch, "m", started_at=start).rates.price_id == "m@2026-11-22×1"
    assert usd(price(dispatch, "m", started_at=start - 1).charge) == "1"
    assert dispatch.price(samples.call("m", started_at=start - 2 * DAY - 1), ONE_MILLION) is None


async def test_free_is_said_explicitly_and_costs_nothing() -> None:
    dispatch = await pricing({"m": {"price": "free"}}, markup="1.30")
    cost = price(dispatch, "m")
    assert (cost.charge, cost.owed, cost.rates.price_id) == (0, 0, "free")


async def test_no_price_is_none_and_a_line_says_so(caplog: pytest.LogCaptureFixture) -> None:
    dispatch = await pricing({"m": {}})
    assert dispatch.price(samples.call("m"), ONE_MILLION) is None
    assert dispatch.price(samples.call("unheard-of"), ONE_MILLION) is None
    assert "model m has no price here" in caplog.text


async def test_a_customer_price_that_is_not_exact_stops_the_start() -> None:
    with pytest.raises(ConfigError, match=r'models\."m"\.price: 0\.075 USD .* is not a whole number .*pricing\.markup'):
        await pricing({"m": {"price": {"input": "0.075", "output": "1"}}}, markup="1.333333")


@pytest.mark.parametrize("markup", ["30%", "-1", "1e1", "", "NaN"])
def test_a_markup_that_is_no_number_is_refused(markup: str) -> None:
    with pytest.raises(ConfigError, match=r'test\.toml: pricing: markup is a factor written as text, such as "1\.30"'):
        load_plugins({"price-book": Plugin}, {"pricing": {"markup": markup}})


async def test_a_long_prompt_costs_what_long_ones_do_and_its_hold_is_enough() -> None:
    listed = {"input": "0.10", "output": "0.50", "long": {"above": 100_000, "input": "0.50", "output": "2.50"}}
    dispatch = await pricing({"m": {"price": listed}}, markup="1.30")
    short = price(dispatch, "m", Usage(input=100_000, output=10_000))
    long = price(dispatch, "m", Usage(input=100_001, output=10_000))
    assert (usd(short.charge), usd(short.owed)) == ("0.0195", "0.015")
    assert (usd(long.charge), usd(long.owed)) == ("0.09750065", "0.0750005")
    assert short.rates == long.rates
    assert worst_case(100_001, 10_000, short.rates) == long.charge
