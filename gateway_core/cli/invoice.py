"""`spl invoice`: what an account owes for a month."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click

from gateway_core.cli.options import FORMATS, MONTH, connected
from gateway_core.cli.output import Column, chosen, print_object, print_pages, print_rows
from gateway_core.cli.target import Target

PATH = "/v1/invoices"

_LINES = (
    Column("line", "LINE"),
    Column("item", "FOR"),
    Column("calls", "CALLS", number=True),
    Column("tokens_input", "INPUT", number=True),
    Column("tokens_cached", "CACHED", number=True),
    Column("tokens_cache_write", "CACHE WRITE", number=True, detail=True),
    Column("tokens_output", "OUTPUT", number=True),
    Column("tokens_reasoning", "REASONING", number=True, detail=True),
    Column("amount_usd", "USD", number=True),
)
_SUMS = (
    Column("account", "ACCOUNT"),
    Column("month", "MONTH"),
    Column("status", "STATUS"),
    Column("fixed_usd", "FIXED USD"),
    Column("inference_usd", "INFERENCE USD"),
    Column("credit_granted_usd", "CREDIT GRANTED USD"),
    Column("credit_used_usd", "CREDIT USED USD"),
    Column("overage_usd", "OVERAGE USD"),
    Column("adjustments_usd", "ADJUSTMENTS USD"),
    Column("total_usd", "TOTAL USD"),
    Column("amount_due_usd", "AMOUNT DUE USD"),
)
_MONTHS = (
    Column("month", "MONTH"),
    Column("status", "STATUS"),
    Column("fixed_usd", "FIXED USD", number=True),
    Column("inference_usd", "INFERENCE USD", number=True),
    Column("credit_used_usd", "CREDIT USED USD", number=True),
    Column("overage_usd", "OVERAGE USD", number=True),
    Column("adjustments_usd", "ADJUSTMENTS USD", number=True),
    Column("total_usd", "TOTAL USD", number=True),
    Column("amount_due_usd", "DUE USD", number=True),
)


@click.command(short_help="Print a month's invoice.")
@click.argument("month", type=MONTH, required=False)
@click.option("--account", metavar="NAME", help="Whose.  [default: the account of the key that asks]")
@click.option("--list", "months", is_flag=True, help="All months and what is due for each.")
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice((*FORMATS, "html")),
    help="How to print; html is a page that prints well.  [default: table on a terminal, json elsewhere]",
)
@connected
@click.pass_obj
def invoice(target: Target, month: str | None, account: str | None, months: bool, form: str | None) -> None:
    """Print the invoice of MONTH (default: the UTC month that goes on): fees, each model's calls, credit, adjustments,
    the exact total and what is due, rounded once. In CSV and JSON lines the lines add up to the exact total.

    \b
    Example:
      spl invoice 2026-11 --account acme
      spl invoice 2026-11 --account acme -o html > acme-2026-11.html
      spl invoice --list
    """
    if months:
        if month is not None or form == "html":
            raise click.UsageError("--list is all months, as a listing: give neither MONTH nor -o html.")
        target.run(lambda api: print_pages(form, _MONTHS, api.pages(PATH, account=account), empty="no months"))
        return
    found = target.run(lambda api: api.get(f"{PATH}/{month or _this_month()}", account=account))
    _print(form, found)


def _print(form: str | None, found: Mapping[str, Any]) -> None:
    if form == "html":
        from gateway_core.invoice_page import page

        sys.stdout.write(page(found))
        return
    form = chosen(form, sys.stdout)
    if form == "json":
        print_object(form, (), found)
        return
    print_rows(form, _LINES, lines(found), empty="no lines")
    if form == "table":
        click.echo()
        print_object(form, _SUMS, found)


def lines(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """An invoice's lines, each with its amount as a part of the total."""
    for line in found["fixed_lines"]:
        yield {"line": line["kind"], "item": line["subject"], "amount_usd": line["amount_usd"]}
    for line in found["inference_lines"]:
        yield {"line": "inference", "item": line["model"], **line}
    if found["credit_used_usd"] != "0":
        yield {"line": "credit", "item": "credit used", "amount_usd": f"-{found['credit_used_usd']}"}
    for line in found["adjustments"]:
        yield {"line": line["kind"], "item": line["refers_to"] or line["why"], "amount_usd": line["amount_usd"]}


def _this_month() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).strftime("%Y-%m")
