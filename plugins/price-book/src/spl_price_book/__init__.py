"""Prices from the book: list prices with the day each is valid from, times a markup, exact to 1e-12 USD."""

import logging
from bisect import bisect_right

import msgspec

from gateway_core.errors import ConfigError
from gateway_core.hookspecs import API, hookimpl, lasting
from gateway_core.money import unit_price
from gateway_core.pricing import FREE, cost, dated_rates
from gateway_core.services import Services
from gateway_core.types import Call, Cost, Rates, Usage

log = logging.getLogger("spl_price_book")


class PricingSettings(msgspec.Struct, frozen=True):
    """`[pricing]`: what customers pay on top of the provider's list price, as decimal text; "1" adds nothing."""

    markup: str = "1"

    def __post_init__(self) -> None:
        """Refuses what is not a number before any price is computed with it."""
        try:
            unit_price("1", self.markup)
        except ValueError:
            raise ValueError('markup is a factor written as text, such as "1.30"') from None


class Dated(msgspec.Struct, frozen=True):
    """One model's rates in order of the first millisecond that each is valid in."""

    starts: tuple[int, ...]
    rates: tuple[Rates, ...]

    def at(self, at_ms: int) -> Rates | None:
        """The rates of an instant; None before the first price."""
        place = bisect_right(self.starts, at_ms)
        return self.rates[place - 1] if place else None


class Plugin:
    """Answers `price` for every model that is served and has a price: its own in `[models]`, else the book's."""

    API = API
    SECTION = "pricing"
    Settings = PricingSettings

    def __init__(self, settings: PricingSettings) -> None:
        self._markup = settings.markup
        self._book: dict[str, Dated] = {}

    @hookimpl
    async def startup(self, services: Services) -> None:
        """Compiles the prices of all models that are served. Raises ConfigError for one that is not exact."""
        config = services.config
        for name in services.models:
            known = config.catalogue.get(name)
            price = config.models[name].price or (known.price if known else None)
            if price is None:
                log.warning("model %s has no price here: unless another plugin knows one, its calls are refused", name)
                continue
            try:
                dated = ((0, FREE),) if price == "free" else dated_rates(name, price, self._markup)
            except ValueError as error:
                raise ConfigError(f"{error} (pricing.markup)", where=f'models."{name}".price') from None
            self._book[name] = Dated(tuple(start for start, _ in dated), tuple(rates for _, rates in dated))

    @hookimpl
    @lasting
    def price(self, call: Call, usage: Usage) -> Cost | None:
        """The cost at the prices of the moment that the call began in; None where the book has none."""
        dated = self._book.get(call.request.model)
        rates = None if dated is None else dated.at(call.started_at)
        return None if rates is None else cost(usage, rates)
