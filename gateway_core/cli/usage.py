"""`spl usage`: what was called and what it cost."""

import sys
from typing import Any

import click

from gateway_core.cli.options import MONTH, connected, output_option
from gateway_core.cli.output import Column, chosen, print_rows
from gateway_core.cli.target import Target

_GROUPS = (
    Column("day", "DAY", whole=True),
    Column("account", "ACCOUNT", whole=True),
    Column("model", "MODEL"),
    Column("key", "KEY", whole=True),
    Column("tier", "TIER"),
)
_TOKENS = (
    Column("calls", "CALLS", number=True),
    Column("tokens_input", "INPUT", number=True),
    Column("tokens_cached", "CACHED", number=True),
    Column("tokens_cache_write", "CACHE WRITE", number=True, detail=True),
    Column("tokens_output", "OUTPUT", number=True),
    Column("tokens_reasoning", "REASONING", number=True, detail=True),
)
_COST = (
    Column("cost_usd", "COST USD", number=True),
    Column("credit_used_usd", "CREDIT USD", number=True),
    Column("overage_usd", "OVERAGE USD", number=True),
)
_HOUSE = (
    Column("charged_usd", "CHARGED USD", number=True),
    Column("credit_used_usd", "CREDIT USD", number=True, detail=True),
    Column("overage_usd", "OVERAGE USD", number=True, detail=True),
    Column("owed_usd", "OWED USD", number=True),
    Column("lost_usd", "LOST USD", number=True),
)


@click.command(short_help="Show what was called and what it cost.")
@click.option(
    "--from", "since", metavar="DAY", help="The first UTC day, e.g. 2026-11-01.  [default: this month's first]"
)
@click.option("--to", "until", metavar="DAY", help="The last UTC day.  [default: this month's last]")
@click.option("--month", type=MONTH, help="One UTC month, e.g. 2026-11.")
@click.option("--by", metavar="FIELDS", help="Any of day, model, key, tier, with --house also account: day,model,…")
@click.option("--account", metavar="NAME", help="Whose.  [default: the account of the key that asks; --house: all]")
@click.option("--house", is_flag=True, help="The house's view: charged, owed to providers, lost. For operators.")
@output_option
@connected
@click.pass_obj
def usage(
    target: Target,
    since: str | None,
    until: str | None,
    month: str | None,
    by: str | None,
    account: str | None,
    house: bool,
    form: str | None,
) -> None:
    """Show calls, tokens and costs of UTC days (default: the month that goes on), by day, model and key. A table ends
    with the sum.

    \b
    Example:
      spl usage --month 2026-11 --by model
      spl usage --house --from 2026-11-01 --to 2026-11-07 --by day,account
    """
    path = "/v1/admin/usage" if house else "/v1/usage"
    query = {"from": since, "to": until, "month": month, "group_by": by, "account": account}
    found: Any = target.run(lambda api: api.get(path, **query))
    grouped = [column for column in _GROUPS if column.path in found["group_by"]]
    rows = list(found["data"])
    if rows and grouped and chosen(form, sys.stdout) == "table":
        rows.append({grouped[0].path: "sum", **found["total"]})
    print_rows(form, (*grouped, *_TOKENS, *(_HOUSE if house else _COST)), rows, empty="no calls")
