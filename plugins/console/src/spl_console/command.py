"""`spl console`: a way in for whoever has the command line and no key at hand."""

import sys
from typing import Any

import click

_PATH = "/v1/console/links"


@click.group(short_help="Sign in to the console.")
def console() -> None:
    """The console in a browser."""


@console.command(short_help="Print a link that signs in once.")
@click.pass_obj
def login(target: Any) -> None:
    """Print a link to the console that signs in once, within five minutes.

    It signs in as the bearer that the command has: the operator of the home, or with --url the key in
    SYNCROPEL_API_KEY, which needs the scope `owner`.

    \b
    Example:
      spl console login
    """
    made = target.run(_link, server_for="a link to the console")
    click.echo(made["url"])
    if sys.stdout.isatty():
        click.echo("Open it in a browser within five minutes; it works once.", err=True)


async def _link(api: Any) -> Any:
    return await api.post(_PATH, {})
