"""Price arithmetic: exact, a partition of the prompt, and never above what was held."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_core.config import LongPriceConfig, PriceConfig
from gateway_core.money import Units, cents, per_million, usd, usd_to_cent
from gateway_core.pricing import FREE, cost, dated_rates, rates_at, rates_of, worst_case, worst_input
from gateway_core.types import Rates, TokenRates, Usage

tokens = st.integers(0, 10**7)
units = st.integers(0, 10**9).map(Units)
flat = st.builds(Rates, st.just("r"), st.just("1"), *[units] * 8)
long_rates = st.builds(TokenRates, st.just("r>"), st.just("1"), *[units] * 8)
CLASSES = TokenRates.__struct_fields__[2:]


@st.composite
def tiered(draw: st.DrawFn) -> Rates:
    """Rates of a model whose long prompts cost more, class by class."""
    short = draw(flat)
    dearer = [Units(getattr(short, name) + draw(units)) for name in CLASSES]
    return msgspec.structs.replace(short, long_above=draw(tokens), long=TokenRates("r>", "1", *dearer))


rates = st.one_of(flat, tiered())


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Usages whose classes are parts of the prompt, as a sound report has them."""
    plain, cached, written = draw(tokens), draw(tokens), draw(tokens)
    return Usage(plain + cached + written, draw(tokens), cached, written)


#: list in, list out, customer in, customer out, published in, published out: contract section 7
PUBLISHED = {
    "claude-haiku-4-5": ("1.00", "5.00", "1.3", "6.5", "1.30", "6.50"),
    "claude-sonnet-4-6": ("3.00", "15.00", "3.9", "19.5", "3.90", "19.50"),
    "gpt-4o": ("2.50", "10.00", "3.25", "13", "3.25", "13.00"),
    "gemini-flash-1.5": ("0.075", "0.30", "0.0975", "0.39", "0.10", "0.39"),
    "gemini-pro": ("1.25", "5.00", "1.625", "6.5", "1.63", "6.50"),
}


@pytest.mark.parametrize("model", PUBLISHED)
def test_the_five_published_prices_exactly_and_to_the_cent(model: str) -> None:
    list_in, list_out, exact_in, exact_out, cent_in, cent_out = PUBLISHED[model]
    made = rates_of(model, PriceConfig(list_in, list_out), "1.30")
    assert (usd(per_million(made.input)), usd(per_million(made.output))) == (exact_in, exact_out)
    assert (usd_to_cent(per_million(made.input)), usd_to_cent(per_million(made.output))) == (cent_in, cent_out)
    assert made.provider_input * 10**6 == per_million(made.provider_input)


def test_one_call_by_hand() -> None:
    made = rates_of("gpt-4o", PriceConfig("2.50", "10.00", cached_input="1.25"), "1.30")
    # 1,000 of input, 400 of it cached, and 200 of output: (600×3.25 + 400×1.625 + 200×13.00) / 1M USD
    spent = cost(Usage(input=1000, output=200, cached=400), made)
    assert usd(spent.charge) == "0.0052"
    assert cents(spent.charge) == "0.52"
    assert usd(spent.owed) == "0.004"
    assert spent.rates is made


@given(usages(), flat)
def test_the_classes_partition_the_prompt(usage: Usage, made: Rates) -> None:
    plain = usage.input - usage.cached - usage.cache_write
    by_class = [
        cost(Usage(input=plain), made),
        cost(Usage(input=usage.cached, cached=usage.cached), made),
        cost(Usage(input=usage.cache_write, cache_write=usage.cache_write), made),
        cost(Usage(output=usage.output), made),
    ]
    whole = cost(usage, made)
    assert whole.charge == sum(each.charge for each in by_class)
    assert whole.owed == sum(each.owed for each in by_class)


@given(st.builds(Usage, *[st.integers(-(10**6), 10**7)] * 4), rates)
def test_an_absurd_report_counts_no_token_twice_and_none_below_nothing(usage: Usage, made: Rates) -> None:
    spent = cost(usage, made)
    assert 0 <= spent.charge <= worst_case(max(usage.input, 0), max(usage.output, 0), made)
    assert spent.owed >= 0


@given(usages(), rates, tokens, tokens)
def test_what_is_within_the_bound_never_costs_more_than_the_hold(
    usage: Usage, made: Rates, more_in: int, more_out: int
) -> None:
    assert cost(usage, made).charge <= worst_case(usage.input + more_in, usage.output + more_out, made)
    assert worst_input(made) == max(made.input, made.cached_input, made.cache_write)


@given(usages(), rates, st.sampled_from(["input", "output"]), tokens)
def test_more_tokens_never_cost_less(usage: Usage, made: Rates, what: str, more: int) -> None:
    larger = msgspec.structs.replace(usage, **{what: getattr(usage, what) + more})
    assert cost(larger, made).charge >= cost(usage, made).charge


@given(usages(), flat, long_rates, tokens, tokens, tokens)
def test_a_hold_is_enough_though_long_prompts_cost_less(
    usage: Usage, made: Rates, long: TokenRates, above: int, more_in: int, more_out: int
) -> None:
    made = msgspec.structs.replace(made, long_above=above, long=long)
    assert cost(usage, made).charge <= worst_case(usage.input + more_in, usage.output + more_out, made)


@given(usages(), tiered())
def test_a_long_prompt_makes_the_whole_call_cost_what_long_ones_do(usage: Usage, made: Rates) -> None:
    """All of it, and nothing of the other price; the threshold itself is still short."""
    assert made.long is not None
    at = rates_at(usage.input, made)
    assert at is (made.long if usage.input > made.long_above else made)
    bare = Rates(at.price_id, at.markup, *(getattr(at, name) for name in CLASSES))
    spent, expected = cost(usage, made), cost(usage, bare)
    assert (spent.charge, spent.owed, spent.rates) == (expected.charge, expected.owed, made)
    assert rates_at(made.long_above, made) is made
    assert rates_at(made.long_above + 1, made) is made.long


def test_a_long_prompt_by_hand() -> None:
    long = LongPriceConfig(100_000, "0.50", "2.50", cached_input="0.05", cache_write="0.625")
    listed = PriceConfig("0.10", "0.50", cached_input="0.01", cache_write="0.125", valid_from="2026-10-07", long=long)
    made = rates_of("h", listed, "1.30")
    assert made.long is not None
    assert (made.price_id, made.long.price_id) == ("h@2026-10-07×1.30", "h@2026-10-07>100000×1.30")
    assert usd(cost(Usage(input=100_000, output=1000, cached=50_000), made).owed) == "0.006"
    # 50,001 at 0.50, 50,000 cached at 0.05, 1,000 of output at 2.50: all at the long prompt's price
    assert usd(cost(Usage(input=100_001, output=1000, cached=50_000), made).owed) == "0.0300005"
    assert usd(cost(Usage(input=100_001, output=1000), made).owed) == "0.0525005"
    assert msgspec.json.decode(msgspec.json.encode(made), type=Rates) == made
    assert hash(made) == hash(msgspec.structs.replace(made))


def test_free_is_nothing() -> None:
    spent = cost(Usage(10**9, 10**9, 5, 5), FREE)
    assert (spent.charge, spent.owed, spent.rates.price_id) == (0, 0, "free")


def test_a_class_that_is_not_listed_costs_what_input_costs() -> None:
    made = rates_of("m", PriceConfig("1", "2"), "1.5")
    assert made.cached_input == made.cache_write == made.input == 1_500_000
    assert made.provider_cached_input == made.provider_cache_write == made.provider_input == 1_000_000


def test_a_price_that_is_not_whole_units_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.075 USD per 1M tokens × 1\.33333 is not a whole number"):
        rates_of("m", PriceConfig("0.075", "1"), "1.33333")


def test_dated_prices_are_in_order_with_readable_ids() -> None:
    later = PriceConfig("3", "3", valid_from="2026-03-01")
    sooner = PriceConfig("2", "2", valid_from="2026-01-01")
    dated = dated_rates("m", (later, PriceConfig("1", "1"), sooner), "1.30")
    assert [(start, made.price_id) for start, made in dated] == [
        (0, "m×1.30"),
        (1_767_225_600_000, "m@2026-01-01×1.30"),
        (1_772_323_200_000, "m@2026-03-01×1.30"),
    ]


@given(st.builds(lambda digits, zeros: digits * 10**zeros, st.integers(-(10**6), 10**6), st.integers(0, 13)))
def test_an_amount_is_written_exactly_and_plainly(amount: int) -> None:
    for text, decimals in ((usd(amount), 12), (cents(amount), 10)):
        exact = Decimal(amount).scaleb(-decimals)
        assert text == (f"{exact:f}".rstrip("0").rstrip(".") if exact % 1 else f"{exact:.0f}")
