"""`spl adjust`: refunds, credit notes and their reversals."""

import click

from gateway_core.cli.options import MONTH, USD, connected, output_option
from gateway_core.cli.output import Column, print_object, when
from gateway_core.cli.target import Target

KINDS = ("refund", "credit_note", "reversal")

COLUMNS = (
    Column("id", "ID", whole=True),
    Column("month", "MONTH"),
    Column("kind", "KIND"),
    Column("amount_usd", "AMOUNT USD", number=True),
    Column("refers_to", "FOR", whole=True),
    Column("why", "WHY"),
    Column("who", "BY"),
    Column("at", "AT (UTC)", show=when, whole=True),
)


@click.command(short_help="Correct an account's bill: refund, credit, or take that back.")
@click.argument("account")
@click.option("--kind", required=True, type=click.Choice(KINDS), help="A reversal takes one of the others back.")
@click.option("--usd", required=True, type=USD, help="How much, above 0: the kind says which way it goes.")
@click.option("--why", required=True, help="The reason, for the account's owner and the operators' log.")
@click.option("--request", metavar="REQUEST_ID", help="The call that it is for: no more is given back than it cost.")
@click.option("--adjustment", metavar="ADJUSTMENT_ID", help="The adjustment that a reversal takes back.")
@click.option(
    "--month", type=MONTH, help="Refuse unless this is the UTC month that goes on: only that has an open bill."
)
@output_option
@connected
@click.pass_obj
def adjust(
    target: Target,
    account: str,
    kind: str,
    usd: str,
    why: str,
    request: str | None,
    adjustment: str | None,
    month: str | None,
    form: str | None,
) -> None:
    """Correct the bill of ACCOUNT. Nothing that was settled changes: the correction is a line of its own on the invoice
    of the month that goes on, and a record in the thread `th_audit_adjustments`. Needs the operator's key.

    \b
    Example:
      spl adjust acme --kind refund --usd 1.25 --why "answered in the wrong language" --request req_01JD…
      spl adjust acme --kind reversal --usd 1.25 --why "refunded twice" --adjustment adj_01JD…
    """
    body = {
        "account": account,
        "kind": kind,
        "amount_usd": usd,
        "why": why,
        "request_id": request,
        "adjustment_id": adjustment,
        "month": month,
    }
    print_object(form, COLUMNS, target.run(lambda api: api.post("/v1/admin/adjustments", body)))
