"""`spl capabilities`: models with their prices, limits and features."""

import click

from gateway_core.cli.options import connected, output_option
from gateway_core.cli.output import Column, print_rows
from gateway_core.cli.target import Target

_COLUMNS = (Column("model", "MODEL"),)


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
