"""`spl capabilities`: models with their prices, limits and features."""

from typing import Any

import click

from gateway_core.cli.options import connected, output_option
from gateway_core.cli.output import Column, print_rows
from gateway_core.cli.target import Target


def _left(value: Any) -> str:
    """A limit as "left/limit"."""
    return f"{value['remaining']}/{value['limit']}" if value else ""


_COLUMNS = (
    Column("model", "MODEL"),
    Column("family", "FAMILY", detail=True),
    Column("price.input", "IN $/1M", number=True),
    Column("price.output", "OUT $/1M", number=True),
    Column("context_tokens", "CONTEXT", number=True),
    Column("max_output_tokens", "OUTPUT", number=True, detail=True),
    Column("features", "FEATURES"),
    Column("tiers", "TIERS", detail=True),
    Column("available", "YOURS"),
    Column("requests_per_minute", "RPM LEFT", number=True, show=_left),
    Column("tokens_per_minute", "TPM LEFT", number=True, show=_left),
)


@click.command(short_help="List models with prices, limits and features.")
@output_option
@connected
@click.pass_obj
def capabilities(target: Target, form: str | None) -> None:
    """List each model with its price in and out per 1M tokens, its context, its features and what is left of the
    caller's limits. JSON has all of it, the exact prices too.

    \b
    Example:
      spl capabilities
    """
    print_rows(form, _COLUMNS, target.run(lambda api: api.get("/v1/capabilities"))["data"], empty="no models")
