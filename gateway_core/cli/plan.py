"""`spl plan`: what accounts can subscribe to."""

from typing import Any

import click

from gateway_core.cli.account import limits_text
from gateway_core.cli.options import connected, output_option
from gateway_core.cli.output import Column, print_rows
from gateway_core.cli.target import Target

TERMS = (
    Column("fee_usd", "FEE USD", number=True),
    Column("credit_usd", "CREDIT USD", number=True),
    Column("cap_usd", "CAP USD", number=True),
    Column("instance_fee_usd", "PER INSTANCE USD", number=True),
    Column("limits", "LIMITS", show=limits_text),
)


@click.group(short_help="Plans that accounts can subscribe to.")
def plan() -> None:
    """Plans that accounts can subscribe to. They stand in the configuration, in [plans.NAME]. Needs the operator's
    key."""


@plan.command("list", short_help="List the plans of the configuration.")
@output_option
@connected
@click.pass_obj
def list_(target: Target, form: str | None) -> None:
    """List the plans of the configuration: what each costs, includes and allows in a UTC month.

    \b
    Example:
      spl plan list
    """
    plans: list[Any] = target.run(lambda api: api.get("/v1/admin/plans"))["data"]
    print_rows(form, (Column("name", "PLAN"), *TERMS), plans, empty="no plans")
