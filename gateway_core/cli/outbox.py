"""`spl outbox`: what waits to be told to each sink."""

from urllib.parse import quote

import click

from gateway_core.cli.options import connected, output_option
from gateway_core.cli.output import Column, print_pages, print_rows, when
from gateway_core.cli.target import Target

_PATH = "/v1/admin/outbox"
_BEHIND = (
    Column("records_behind", "RECORDS BEHIND", number=True),
    Column("oldest_at", "OLDEST (UTC)", show=when),
    Column("oldest_seconds", "oldest_seconds", detail=True),
    Column("attempts", "FAILURES", number=True),
    Column("last_error", "LAST ERROR"),
    Column("next_attempt_at", "NEXT ATTEMPT (UTC)", show=when),
)
_SINKS = (
    Column("sink", "SINK"),
    Column("accounts_behind", "ACCOUNTS BEHIND", number=True),
    Column("accounts_failing", "accounts_failing", detail=True),
    *_BEHIND,
)
_ACCOUNTS = (Column("account", "ACCOUNT"), *_BEHIND)


@click.command(short_help="How far each sink of records is behind.")
@click.argument("action", metavar="[retry]", type=click.Choice(["retry"]), required=False)
@click.option("--sink", metavar="NAME", help="Only this sink; without `retry`, the accounts that it is behind on.")
@output_option
@connected
@click.pass_obj
def outbox(target: Target, action: str | None, sink: str | None, form: str | None) -> None:
    """Show how far each sink of records is behind; `retry` asks again at once what is waiting for its next attempt.
    Records wait in the store, in order, for as long as it takes. Needs the operator's key.

    \b
    Example:
      spl outbox
      spl outbox --sink audit-thread
      spl outbox retry --sink audit-thread
    """
    if action == "retry":
        sinks = target.run(lambda api: api.post(f"{_PATH}/retry", {"sink": sink}))["data"]
        print_rows(form, _SINKS, [row for row in sinks if sink in (None, row["sink"])], empty="no sinks")
    elif sink is not None:
        path = f"{_PATH}/{quote(sink, safe='')}"
        target.run(lambda api: print_pages(form, _ACCOUNTS, api.pages(path), empty="not behind"))
    else:
        print_rows(form, _SINKS, target.run(lambda api: api.get(_PATH))["data"], empty="no sinks")
