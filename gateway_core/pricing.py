"""Price arithmetic: pure, exact, and the same at the hold, at settlement and after a restart."""

from datetime import UTC, datetime

from gateway_core.config import PriceConfig
from gateway_core.money import Units, unit_price
from gateway_core.types import Cost, Rates, Usage

_FREE = Units(0)
FREE = Rates("free", "1", *[_FREE] * 8)
"""What a model costs whose price is said to be free."""


def cost(usage: Usage, rates: Rates) -> Cost:
    """What a usage costs. The prompt's classes partition it; a report that says more cached than there was input is
    taken as all cached, so no class is ever counted twice or below nothing."""
    total = max(usage.input, 0)
    cached = min(max(usage.cached, 0), total)
    written = min(max(usage.cache_write, 0), total - cached)
    plain = total - cached - written
    output = max(usage.output, 0)
    return Cost(
        Units(plain * rates.input + cached * rates.cached_input + written * rates.cache_write + output * rates.output),
        Units(
            plain * rates.provider_input
            + cached * rates.provider_cached_input
            + written * rates.provider_cache_write
            + output * rates.provider_output
        ),
        rates,
    )


def worst_input(rates: Rates) -> Units:
    """The most that one token of input can cost."""
    return max(rates.input, rates.cached_input, rates.cache_write)


def worst_case(input_tokens: int, output_tokens: int, rates: Rates) -> Units:
    """The most that a call with at most these tokens can be charged: what is held."""
    return Units(input_tokens * worst_input(rates) + output_tokens * rates.output)


def rates_of(name: str, price: PriceConfig, markup: str) -> Rates:
    """Rates from a list price. Raises ValueError where a customer price is not a whole number of units a token.

    The price id reads like "gpt-4o@2026-01-01×1.30": what was priced, from when, and at what markup.
    """
    cached = price.input if price.cached_input is None else price.cached_input
    written = price.input if price.cache_write is None else price.cache_write
    classes = (price.input, cached, written, price.output)
    day = "" if price.valid_from is None else f"@{price.valid_from}"
    return Rates(
        f"{name}{day}×{markup}",
        markup,
        *[unit_price(each, markup) for each in classes],
        *[unit_price(each) for each in classes],
    )


def dated_rates(name: str, price: PriceConfig | tuple[PriceConfig, ...], markup: str) -> tuple[tuple[int, Rates], ...]:
    """A model's rates with the first millisecond (UTC) that each is valid in, in that order; 0 for always."""
    prices = price if isinstance(price, tuple) else (price,)
    return tuple(
        sorted(((_valid_from(each), rates_of(name, each, markup)) for each in prices), key=lambda pair: pair[0])
    )


def _valid_from(price: PriceConfig) -> int:
    if price.valid_from is None:
        return 0
    return int(datetime.fromisoformat(price.valid_from).replace(tzinfo=UTC).timestamp() * 1000)
