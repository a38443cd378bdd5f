"""`spl thread`: the records of what was served and what it cost."""

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import click

from gateway_core.cli.options import INSTANT, MONTH, connected, output_option
from gateway_core.cli.output import Column, chosen, listing, when
from gateway_core.cli.target import Target
from gateway_core.cli.thread_chain import head, verify
from gateway_core.clock import month_bounds

if TYPE_CHECKING:
    from gateway_core.cli.client import Api

_POLL_SECONDS = 1.0

_COLUMNS = (
    Column("sequence", "NUMBER", detail=True),
    Column("id", "RECORD", detail=True),
    Column("body.served_at", "SERVED (UTC)", show=when, whole=True),
    Column("body.model", "MODEL"),
    Column("body.tier", "TIER", detail=True),
    Column("body.tokens_input", "IN", number=True),
    Column("body.tokens_output", "OUT", number=True),
    Column("body.cost_usd", "COST USD", number=True),
    Column("body.latency_ms", "MS", number=True),
    Column("body.outcome", "OUTCOME"),
    Column("body.request_id", "REQUEST"),
    *(
        Column(f"body.{field}", field, detail=True)
        for field in (
            "endpoint",
            "stream_state",
            "error_code",
            "ttft_ms",
            "provider",
            "upstream_model",
            "key_id",
            "tokens_cached",
            "tokens_cache_write",
            "tokens_reasoning",
            "tokens_generated",
            "estimated",
            "credit_used_usd",
            "overage_usd",
            "price_id",
            "billed_by",
        )
    ),
)


class _Query(NamedTuple):
    path: str
    parameters: Mapping[str, Any]
    limit: int | None


@click.group(short_help="Read threads of records, and check them.")
def thread() -> None:
    """Read threads of records, and check them: th_audit_api_usage has one for each call."""


thread.add_command(head)
thread.add_command(verify)


@thread.command(short_help="Print a thread's records, oldest first.")
@click.argument("name", metavar="THREAD")
@click.option(
    "--since", type=INSTANT, help="From this instant on: 2026-11-22, 2026-11-22T08:00Z, or 7d for 7 days ago."
)
@click.option("--until", type=INSTANT, help="Before this instant.")
@click.option("--month", type=MONTH, help="One UTC month, e.g. 2026-11.")
@click.option("--model", metavar="MODEL", help="Only calls of this model.")
@click.option(
    "--account",
    metavar="NAME",
    help="Whose thread; another's needs the operator's key.  [default: the account of the key that asks]",
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.  [default: all]")
@click.option("--follow", is_flag=True, help="Go on with what is recorded from now on; needs a running server.")
@output_option
@connected
@click.pass_obj
def records(
    target: Target,
    name: str,
    since: int | None,
    until: int | None,
    month: str | None,
    model: str | None,
    account: str | None,
    limit: int | None,
    follow: bool,
    form: str | None,
) -> None:
    """Print the records of THREAD, oldest first. JSON is one array of all of them, written as they come.

    A read that was cut short exits with 4, and its JSON has no end.

    \b
    Example:
      spl thread records th_audit_api_usage --month 2026-11
      spl thread records th_audit_api_usage -o json | jq '.[] | .body | {cost_usd, model}'
    """
    if month is not None:
        if since is not None or until is not None:
            raise click.UsageError("give either --month or --since and --until.")
        since, until = month_bounds(month)
    if follow and form == "json":
        raise click.UsageError("--follow never ends, so it cannot be one JSON array: use -o jsonl.")
    query = _Query(
        f"/v1/threads/{quote(name, safe='')}/records",
        {"since": since, "until": until, "model": model, "account": account},
        limit,
    )
    target.run(lambda api: _print(api, query, follow, form), server_for="--follow" if follow else None)


async def _print(api: "Api", query: _Query, follow: bool, form: str | None) -> None:
    import sys

    form = chosen(form, sys.stdout)
    if follow and form == "json":
        form = "jsonl"
    rows = api.pages(query.path, limit=query.limit, **query.parameters)
    with listing(form, _COLUMNS, empty="no records") as out:
        async for row in _followed(api, query, rows, out.flush) if follow else rows:
            out.row(row)


async def _followed(
    api: "Api", query: _Query, rows: AsyncIterator[Mapping[str, Any]], caught_up: Any
) -> AsyncIterator[Mapping[str, Any]]:
    """The rows that are there, then those that come, until `query.limit` is reached or the user has seen enough."""
    import asyncio

    after, left = 0, query.limit
    while True:
        async for row in rows:
            after = row["sequence"]
            left = None if left is None else left - 1
            yield row
        if left == 0:
            return
        caught_up()
        await asyncio.sleep(_POLL_SECONDS)
        rows = api.pages(query.path, limit=left, **query.parameters, after=after)
