"""Price arithmetic: pure, exact, and the same at the hold, at settlement and after a restart."""

from datetime import UTC, datetime

from gateway_core.config import LongPriceConfig, PriceConfig
from gateway_core.money import Units, unit_price
from gateway_core.types import Cost, Rates, TokenRates, Usage

_FREE = Units(0)
FREE = Rates("free", "1", *[_FREE] * 8)
"""What a model costs whose price is said to be free."""
BILLED_UPSTREAM = Rates("upstream", "1", *[_FREE] * 8)
"""The rates of a call that another gateway bills: here it costs nothing, and that gateway sends its record."""


def rates_at(input_tokens: int, rates: Rates) -> TokenRates:
    """What a call with a prompt of that length costs."""
    return rates if rates.long is None or input_tokens <= rates.long_above else rates.long


def cost(usage: Usage, rates: Rates) -> Cost:
    """What a usage costs. The prompt's classes partition it; a report that says more cached than there was input is
    taken as all cached, so no class is ever counted twice or below nothing."""
    if rates.long is None and usage.input >= 0 <= usage.output and not usage.cached and not usage.cache_write:
        # Most calls. The sums are Units: to say so by calling it costs as much as both of them.
        charge: Units = usage.input * rates.input + usage.output * rates.output  # type: ignore[assignment]  # as said
        owed: Units = usage.input * rates.provider_input + usage.output * rates.provider_output  # type: ignore[assignment]  # as said
        return Cost(charge, owed, rates)
    total = max(usage.input, 0)
    each = rates_at(total, rates)
    cached = min(max(usage.cached, 0), total)
    written = min(max(usage.cache_write, 0), total - cached)
    plain = total - cached - written
    output = max(usage.output, 0)
    return Cost(
        Units(plain * each.input + cached * each.cached_input + written * each.cache_write + output * each.output),
        Units(
            plain * each.provider_input
            + cached * each.provider_cached_input
            + written * each.provider_cache_write
            + output * each.provider_output
        ),
        rates,
    )


def worst_input(rates: TokenRates) -> Units:
    """The most that one token of input can cost."""
    most = rates.input
    if rates.cached_input > most:
        most = rates.cached_input
    if rates.cache_write > most:
        most = rates.cache_write
    return most


def worst_case(input_tokens: int, output_tokens: int, rates: Rates) -> Units:
    """The most that a call with at most these tokens can be charged: what is held."""
    if rates.long is None or input_tokens <= rates.long_above:
        return Units(input_tokens * worst_input(rates) + output_tokens * rates.output)
    # A shorter prompt than the bound says is possible, too: nobody promises that it costs less.
    short = rates.long_above * worst_input(rates) + output_tokens * rates.output
    return Units(max(short, input_tokens * worst_input(rates.long) + output_tokens * rates.long.output))


def rates_of(name: str, price: PriceConfig, markup: str) -> Rates:
    """Rates from a list price. Raises ValueError where a customer price is not a whole number of units a token.

    The price id reads like "gpt-4o@2026-01-01×1.30": what was priced, from when, and at what markup.
    """
    day = "" if price.valid_from is None else f"@{price.valid_from}"
    if price.long is None:
        return Rates(f"{name}{day}×{markup}", markup, *_classes(price, markup))
    above = price.long.above
    long = TokenRates(f"{name}{day}>{above}×{markup}", markup, *_classes(price.long, markup))
    return Rates(f"{name}{day}×{markup}", markup, *_classes(price, markup), long_above=above, long=long)


def _classes(price: PriceConfig | LongPriceConfig, markup: str) -> tuple[Units, ...]:
    """What each class of token costs the customer, then the house."""
    cached = price.input if price.cached_input is None else price.cached_input
    written = price.input if price.cache_write is None else price.cache_write
    classes = (price.input, cached, written, price.output)
    return (*(unit_price(each, markup) for each in classes), *(unit_price(each) for each in classes))


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
