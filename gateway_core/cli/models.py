"""`spl models`: what the caller may call."""

import click

from gateway_core.cli.options import connected, output_option
from gateway_core.cli.output import Column, print_rows
from gateway_core.cli.target import Target

_COLUMNS = (Column("id", "MODEL"), Column("owned_by", "PROVIDER"))


@click.command(short_help="List the models that can be called.")
@output_option
@connected
@click.pass_obj
def models(target: Target, form: str | None) -> None:
    """List the models that this key's tier may call. Prices and limits: `spl capabilities`.

    \b
    Example:
      spl models
    """
    print_rows(form, _COLUMNS, target.run(lambda api: api.get("/v1/models"))["data"], empty="no models")
