"""`spl plugins`: what was found, what is on, and why not."""

import click

from gateway_core.cli.options import connected, output_option
from gateway_core.cli.output import Column, print_rows
from gateway_core.cli.target import Target

_COLUMNS = (
    Column("name", "PLUGIN"),
    Column("version", "VERSION"),
    Column("state", "STATE"),
    Column("hooks", "HOOKS"),
    Column("reason", "WHY NOT"),
)


@click.command(short_help="List plugins: version, hooks, state and why not.")
@output_option
@connected
@click.pass_obj
def plugins(target: Target, form: str | None) -> None:
    """List every plugin that is installed: its version, its hooks, whether it is on, and if not, why.

    \b
    Example:
      spl plugins
    """
    print_rows(form, _COLUMNS, target.run(lambda api: api.get("/v1/admin/plugins"))["data"], empty="no plugins")
