"""`spl providers`: how each route to a provider stands."""

import click

from gateway_core.cli.options import connected, output_option
from gateway_core.cli.output import Column, print_rows, when
from gateway_core.cli.target import Target

_COLUMNS = (
    Column("provider", "PROVIDER"),
    Column("model", "MODEL THERE"),
    Column("serves", "serves", detail=True),
    Column("state", "STATE"),
    Column("retry_in_seconds", "RETRY IN (S)", number=True),
    Column("attempts", "ATTEMPTS", number=True),
    Column("failures", "FAILURES", number=True),
    Column("failures_in_a_row", "failures_in_a_row", number=True, detail=True),
    Column("last_failure", "LAST FAILURE"),
    Column("last_failure_at", "AT (UTC)", show=when),
    Column("first_event_p50_ms", "FIRST EVENT p50 (ms)", number=True),
    Column("first_event_p95_ms", "p95", number=True),
    Column("answer_p50_ms", "ANSWER p50 (ms)", number=True),
    Column("answer_p95_ms", "p95", number=True),
)


@click.command(short_help="How each route to a provider stands: state, failures, latency.")
@output_option
@connected
@click.pass_obj
def providers(target: Target, form: str | None) -> None:
    """Show how each route to a provider stands by the calls that it served since the start: whether it is asked or left
    alone for now, its failures, and how long it takes. Needs the operator's key.

    \b
    Example:
      spl providers
    """
    print_rows(form, _COLUMNS, target.run(lambda api: api.get("/v1/admin/providers"))["data"], empty="no routes")
