"""`spl reconcile`: whether every balance, rollup and chain is what the ledger's rows say."""

import sys

import click

from gateway_core.cli.failure import Failure
from gateway_core.cli.options import connected, output_option
from gateway_core.cli.output import Column, chosen, print_rows
from gateway_core.cli.progress import Progress
from gateway_core.cli.target import Target

_COLUMNS = (
    Column("where", "WHERE"),
    Column("what", "WHAT"),
    Column("expected", "EXPECTED", number=True),
    Column("found", "FOUND", number=True),
)


@click.command(short_help="Check every balance and chain against the ledger.")
@output_option
@connected
@click.pass_obj
def reconcile(target: Target, form: str | None) -> None:
    """Recompute every balance, rollup and chain from the ledger's rows. Exits with 1 where anything differs.

    \b
    Example:
      spl reconcile && spl backup ~/spl-backup.tar
    """
    with Progress("reconciling"):
        findings = target.run(lambda api: api.post("/v1/admin/reconcile", {}))["data"]
    if findings or chosen(form, sys.stdout) != "table":
        print_rows(form, _COLUMNS, findings)
    else:
        click.echo("agrees")
    if findings:
        raise Failure(
            f"{len(findings)} of the ledger's sums differ from what is stored; keep the store as it is and report this"
        )
