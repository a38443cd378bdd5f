"""`spl subscription`: which plan an account is on."""

import sys
from typing import Any
from urllib.parse import quote

import click

from gateway_core.cli.options import connected, output_option
from gateway_core.cli.output import Column, chosen, print_object, print_rows, when
from gateway_core.cli.plan import TERMS
from gateway_core.cli.target import Target

PATH = "/v1/admin/subscriptions"

COLUMNS = (
    Column("id", "ID", whole=True),
    Column("account", "ACCOUNT"),
    Column("plan", "PLAN"),
    Column("status", "STATUS"),
    *TERMS,
    Column("started_at", "STARTED (UTC)", show=when, whole=True),
    Column("ends_at", "ENDED (UTC)", show=when, whole=True),
)
_HISTORY = (
    Column("at", "AT (UTC)", show=when, whole=True),
    Column("subscription", "SUBSCRIPTION", whole=True),
    Column("status", "STATUS"),
    Column("actor", "BY"),
)


@click.group(short_help="Subscriptions: which plan an account is on.")
def subscription() -> None:
    """Subscriptions: which plan an account is on. It renews with each UTC month by itself. Needs the operator's key."""


@subscription.command(short_help="Put an account on a plan.")
@click.argument("account")
@click.option("--plan", required=True, metavar="NAME", help="One of `spl plan list`.")
@output_option
@connected
@click.pass_obj
def start(target: Target, account: str, plan: str, form: str | None) -> None:
    """Put ACCOUNT on a plan, with the plan's terms as they are now. This month's credit is granted at once, unless the
    month has some already.

    \b
    Example:
      spl subscription start acme --plan pro
    """
    print_object(form, COLUMNS, target.run(lambda api: api.post(PATH, {"account": account, "plan": plan})))


@subscription.command(short_help="End a subscription now.")
@click.argument("account")
@output_option
@connected
@click.pass_obj
def cancel(target: Target, account: str, form: str | None) -> None:
    """End the subscription of ACCOUNT now. This month's fee and credit stay.

    \b
    Example:
      spl subscription cancel acme
    """
    _change(target, account, "cancel", form)


@subscription.command(short_help="Begin a cancelled plan again.")
@click.argument("account")
@output_option
@connected
@click.pass_obj
def reactivate(target: Target, account: str, form: str | None) -> None:
    """Put ACCOUNT on the plan again that it cancelled. A month has its credit and its fee once, however often.

    \b
    Example:
      spl subscription reactivate acme
    """
    _change(target, account, "reactivate", form)


@subscription.command(short_help="Refuse what a subscription pays for, until it is resumed.")
@click.argument("account")
@output_option
@connected
@click.pass_obj
def suspend(target: Target, account: str, form: str | None) -> None:
    """Refuse the calls that need the subscription of ACCOUNT, from now on. Its fee goes on.

    \b
    Example:
      spl subscription suspend acme
    """
    _change(target, account, "suspend", form)


@subscription.command(short_help="Take a suspension back.")
@click.argument("account")
@output_option
@connected
@click.pass_obj
def resume(target: Target, account: str, form: str | None) -> None:
    """Take the suspension of the subscription of ACCOUNT back.

    \b
    Example:
      spl subscription resume acme
    """
    _change(target, account, "resume", form)


@subscription.command(short_help="Show an account's subscription and its history.")
@click.argument("account")
@output_option
@connected
@click.pass_obj
def show(target: Target, account: str, form: str | None) -> None:
    """Show the subscription of ACCOUNT, and who changed what of it and of those before it.

    \b
    Example:
      spl subscription show acme
    """
    found = target.run(lambda api: api.get(_path(account)))
    print_object(form, COLUMNS, found)
    if chosen(form, sys.stdout) == "table":
        click.echo()
        print_rows("table", _HISTORY, found["history"])


def _path(account: str) -> str:
    return f"{PATH}/{quote(account, safe='')}"


def _change(target: Target, account: str, action: str, form: str | None) -> None:
    changed: Any = target.run(lambda api: api.post(f"{_path(account)}/{action}", {}))
    print_object(form, COLUMNS, changed)
