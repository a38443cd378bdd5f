"""`spl account`: who is billed and limited."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from gateway_core.cli.options import USD, connected, output_option
from gateway_core.cli.output import Column, print_object, print_pages, when
from gateway_core.cli.target import Target

PATH = "/v1/admin/accounts"


def limits_text(value: Any) -> str:
    """Limits by model as a person reads them: "gpt-4o 60 rpm 100000 tpm"."""
    return ", ".join(
        " ".join([model, *(f"{number} {unit}" for unit, number in limits.items() if number is not None)])
        for model, limits in (value or {}).items()
    )


COLUMNS = (
    Column("id", "ID", whole=True),
    Column("name", "NAME"),
    Column("credit_usd", "CREDIT USD", number=True),
    Column("cap_usd", "CAP USD", number=True),
    Column("suspended", "SUSPENDED"),
    Column("plan", "PLAN"),
    Column("subscription", "SUBSCRIPTION", detail=True),
    Column("limits", "LIMITS", show=limits_text),
    Column("created_at", "CREATED (UTC)", show=when, whole=True, detail=True),
)


def path_of(name: str) -> str:
    """The address of an account, by name or id."""
    return f"{PATH}/{quote(name, safe='')}"


@click.group(short_help="Accounts: who is billed and limited.")
def account() -> None:
    """Accounts: who is billed and limited. Needs the operator's key."""


@account.command(short_help="Create an account.")
@click.argument("name")
@click.option("--credit-usd", type=USD, help="Credit granted to each UTC month, used before overage.  [default: 0]")
@click.option("--cap-usd", type=USD, help="The most it may spend in a UTC month, credit included.  [default: no cap]")
@output_option
@connected
@click.pass_obj
def create(target: Target, name: str, credit_usd: str | None, cap_usd: str | None, form: str | None) -> None:
    """Create the account NAME. Mint a key for it with `spl keys mint --account NAME`.

    \b
    Example:
      spl account create acme --credit-usd 20 --cap-usd 100
    """
    body = {"name": name, "credit_usd": credit_usd, "cap_usd": cap_usd}
    print_object(form, COLUMNS, target.run(lambda api: api.post(PATH, body)))


@account.command("list", short_help="List all accounts.")
@output_option
@connected
@click.pass_obj
def list_(target: Target, form: str | None) -> None:
    """List all accounts.

    \b
    Example:
      spl account list -o csv
    """
    target.run(lambda api: print_pages(form, COLUMNS, api.pages(PATH), empty="no accounts"))


@account.command(short_help="Show one account.")
@click.argument("name")
@output_option
@connected
@click.pass_obj
def show(target: Target, name: str, form: str | None) -> None:
    """Show the account NAME (or its id).

    \b
    Example:
      spl account show acme
    """
    print_object(form, COLUMNS, target.run(lambda api: api.get(path_of(name))))


@account.command(short_help="Refuse an account's calls, or take them again.")
@click.argument("name")
@click.option("--resume", is_flag=True, help="Take its calls again.")
@output_option
@connected
@click.pass_obj
def suspend(target: Target, name: str, resume: bool, form: str | None) -> None:
    """Refuse all calls of the account NAME from now on; its keys, records and balance stay.

    \b
    Example:
      spl account suspend acme
      spl account suspend acme --resume
    """
    print_object(form, COLUMNS, target.run(lambda api: api.patch(path_of(name), {"suspended": not resume})))


@account.command(short_help="Set an account's cap, credit and limits.")
@click.argument("name")
@click.option("--cap-usd", type=USD, help="The most it may spend in a UTC month, credit included.")
@click.option("--no-cap", is_flag=True, help="Take the cap away.")
@click.option("--credit-usd", type=USD, help="Credit granted to each UTC month that has not begun to use it.")
@click.option("--model", metavar="MODEL", help="The model that the options below are about.")
@click.option("--rpm", type=click.IntRange(min=1), help="Requests a minute on the model.")
@click.option("--no-rpm", is_flag=True, help="Take that limit away: the tier's or the plan's holds.")
@click.option("--tpm", type=click.IntRange(min=1), help="Tokens a minute on the model.")
@click.option("--no-tpm", is_flag=True, help="Take that limit away: the tier's or the plan's holds.")
@click.option("--clear", is_flag=True, help="Take both of the model's own limits away.")
@output_option
@connected
@click.pass_obj
def limits(
    target: Target,
    name: str,
    cap_usd: str | None,
    no_cap: bool,
    credit_usd: str | None,
    model: str | None,
    rpm: int | None,
    no_rpm: bool,
    tpm: int | None,
    no_tpm: bool,
    clear: bool,
    form: str | None,
) -> None:
    """Set what the account NAME may spend and how fast it may call; what is not named stays as it is.

    \b
    Example:
      spl account limits acme --cap-usd 500
      spl account limits acme --model gpt-4o --rpm 120 --tpm 200000
      spl account limits acme --model gpt-4o --rpm 240
      spl account limits acme --model gpt-4o --clear
    """
    for option, number, no in (("cap-usd", cap_usd, no_cap), ("rpm", rpm, no_rpm), ("tpm", tpm, no_tpm)):
        if number is not None and no:
            raise click.UsageError(f"give either --{option} or --no-{option.removesuffix('-usd')}.")
    per_model = {
        unit: number for unit, number, no in (("rpm", rpm, no_rpm), ("tpm", tpm, no_tpm)) if number is not None or no
    }
    _check_model(model, per_model, clear)
    change: dict[str, Any] = {}
    if cap_usd is not None or no_cap:
        change["cap_usd"] = cap_usd
    if credit_usd is not None:
        change["credit_usd"] = credit_usd
    if model is not None:
        change["limits"] = {model: None if clear else per_model}
    if not change:
        raise click.UsageError("say what to set: --cap-usd, --no-cap, --credit-usd, or --model with --rpm or --tpm.")
    print_object(form, COLUMNS, target.run(lambda api: api.patch(path_of(name), change)))


def _check_model(model: str | None, per_model: Mapping[str, int | None], clear: bool) -> None:
    if model is None and (per_model or clear):
        raise click.UsageError("--rpm, --tpm and what takes them away are about one model: name it with --model.")
    if model is not None and bool(per_model) == clear:
        raise click.UsageError("with --model give --rpm, --tpm, --no-rpm or --no-tpm, or else --clear.")
