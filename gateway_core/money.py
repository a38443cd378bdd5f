"""Exact money: integers in units of 1e-12 USD, and how they print.

A price of $2.50 per 1M tokens is 2,500,000 units a token, so a charge is a sum of products of integers and
nothing is ever rounded but an invoice's total, once. Money in JSON is text.
"""

import re
from decimal import Decimal
from functools import lru_cache
from typing import NewType

Units = NewType("Units", int)
"""An amount of money in 1e-12 USD."""

UNITS_PER_USD = 10**12
UNITS_PER_CENT = 10**10
TOKENS_PER_PRICE = 10**6
MAX_AMOUNT = 1_000_000 * UNITS_PER_USD
"""No cap, fee or hold is above this, so a row fits 64 bits."""

_AMOUNT = re.compile(r"\d{1,9}(\.\d{1,12})?", re.ASCII)


def parse_usd(text: str) -> Units:
    """Reads a non-negative amount of USD written as plain decimal text, e.g. "12.50".

    Raises ValueError for anything else: a sign, an exponent, NaN, more than 12 decimals, more than $1,000,000.
    """
    if not _AMOUNT.fullmatch(text):
        raise ValueError(f'{text!r} is not an amount of USD such as "12.50": digits, with at most 12 decimals')
    whole, _, fraction = text.partition(".")
    units = int(whole) * UNITS_PER_USD + int(fraction.ljust(12, "0"))
    if units > MAX_AMOUNT:
        raise ValueError(f"{text} is more than the largest amount, 1000000")
    return Units(units)


def _plain(units: int, decimals: int) -> str:
    if not units:
        return "0"
    if units < 0:
        return "-" + _plain(-units, decimals)
    digits = str(units)
    if len(digits) <= decimals:  # as nearly every call's
        return "0." + digits.zfill(decimals).rstrip("0")
    fraction = digits[-decimals:].rstrip("0")
    return f"{digits[:-decimals]}.{fraction}" if fraction else digits[:-decimals]


def usd(units: int) -> str:
    """The exact amount in USD: never an exponent, no trailing zeros."""
    return _plain(units, 12)


@lru_cache(maxsize=16)  # a pure function: an answer says its cost in its body and in its head
def cents(units: int) -> str:
    """The exact amount in US cents, e.g. "0.00611"."""
    return _plain(units, 10)


def round_cents(units: int) -> int:
    """Whole cents, half rounded up (away from zero for a credit)."""
    if units < 0:
        return -round_cents(-units)
    return (units + UNITS_PER_CENT // 2) // UNITS_PER_CENT


def usd_to_cent(units: int) -> str:
    """The amount in USD rounded half up to the cent, always with two decimals: how a price is published."""
    whole, rest = divmod(abs(round_cents(units)), 100)
    return f"{'-' if units < 0 else ''}{whole}.{rest:02d}"


def unit_price(usd_per_million: str, markup: str = "1") -> Units:
    """Units a token for a list price in USD per 1M tokens and a markup, both decimal text.

    Raises ValueError where the result is not a whole number of units, or the text is not a number.
    """
    if not _AMOUNT.fullmatch(usd_per_million):
        raise ValueError(f'{usd_per_million!r} is not a price such as "2.50"')
    if not _AMOUNT.fullmatch(markup):
        raise ValueError(f'{markup!r} is not a markup such as "1.30"')
    exact = Decimal(usd_per_million) * Decimal(markup) * (UNITS_PER_USD // TOKENS_PER_PRICE)
    if exact != exact.to_integral_value():
        raise ValueError(f"{usd_per_million} USD per 1M tokens × {markup} is not a whole number of 1e-12 USD a token")
    return Units(int(exact))


def per_million(units_per_token: int) -> Units:
    """The price of 1M tokens, from the price of one."""
    return Units(units_per_token * TOKENS_PER_PRICE)
