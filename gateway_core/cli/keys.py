"""`spl keys`: minting, listing, rotating and revoking the keys that applications call with."""

from typing import Any
from urllib.parse import quote

import click

from gateway_core.cli.options import DURATION, USD, connected, output_option, seconds_in
from gateway_core.cli.output import Column, day, print_object, print_pages, when
from gateway_core.cli.target import Target

PATH = "/v1/keys"
SCOPES = ("inference", "owner", "operator", "records:write")

COLUMNS = (
    Column("id", "ID", whole=True),
    Column("name", "NAME"),
    Column("hint", "KEY", detail=True),
    Column("account", "ACCOUNT", detail=True),
    Column("scopes", "SCOPES"),
    Column("models", "MODELS", detail=True),
    Column("cap_usd", "CAP USD", number=True),
    Column("created_at", "CREATED (UTC)", show=when, detail=True),
    Column("expires_at", "EXPIRES", show=day, whole=True),
    Column("revoked_at", "REVOKED", show=day, whole=True),
    Column("last_used_at", "LAST USED", show=day, whole=True),
)
_MINTED = (Column("secret", "SECRET (shown this once)"), *COLUMNS)


@click.group(short_help="Keys that applications call with.")
def keys() -> None:
    """Keys that applications call with. Only a keyed hash of each is stored: its secret is shown once."""


@keys.command(short_help="Mint a key; its secret is shown this once.")
@click.option("--account", metavar="NAME", help="Whose key.  [default: the account of the key that asks]")
@click.option("--name", required=True, help="What a person knows it by, e.g. where it is used.")
@click.option("--cap-usd", type=USD, help="The most it may spend in a UTC month.  [default: the account's cap]")
@click.option("--expires", type=DURATION, help="How long it is valid, e.g. 30d.  [default: until it is revoked]")
@click.option(
    "--scope", "scopes", type=click.Choice(SCOPES), multiple=True, help="What it may do.  [default: inference]"
)
@click.option("--model", "models", metavar="MODEL", multiple=True, help="A model it may call; repeat.  [default: all]")
@output_option
@connected
@click.pass_obj
def mint(
    target: Target,
    account: str | None,
    name: str,
    cap_usd: str | None,
    expires: str | None,
    scopes: tuple[str, ...],
    models: tuple[str, ...],
    form: str | None,
) -> None:
    """Mint a key. Its `secret` is printed this once and cannot be had again.

    \b
    Example:
      spl keys mint --account acme --name laptop --cap-usd 5 --expires 30d
      export OPENAI_API_KEY=$(spl keys mint --name laptop -o json | jq -r .secret)
    """
    body: dict[str, Any] = {
        "account": account,
        "name": name,
        "cap_usd": cap_usd,
        "expires": expires,
        "scopes": scopes or None,
        "models": models or None,
    }
    print_object(form, _MINTED, target.run(lambda api: api.post(PATH, body)))


@keys.command("list", short_help="List keys, never their secrets.")
@click.option("--account", metavar="NAME", help="Whose keys.  [default: the account of the key that asks]")
@output_option
@connected
@click.pass_obj
def list_(target: Target, account: str | None, form: str | None) -> None:
    """List an account's keys, revoked ones too; never their secrets.

    \b
    Example:
      spl keys list --account acme
    """
    target.run(lambda api: print_pages(form, COLUMNS, api.pages(PATH, account=account), empty="no keys"))


@keys.command(short_help="Replace a key; old and new overlap.")
@click.argument("key", metavar="KEY_ID")
@click.option("--overlap", type=DURATION, help="How long the old key still works.  [default: 1d]")
@output_option
@connected
@click.pass_obj
def rotate(target: Target, key: str, overlap: str | None, form: str | None) -> None:
    """Mint a key like KEY_ID and let the old one run out. The new `secret` is printed this once.

    \b
    Example:
      spl keys rotate key_7Qm2xKd90aVb --overlap 1h
    """
    body = {"overlap_seconds": None if overlap is None else seconds_in(overlap)}
    print_object(form, _MINTED, target.run(lambda api: api.post(f"{PATH}/{quote(key, safe='')}/rotate", body)))


@keys.command(short_help="Revoke a key; it takes effect at once.")
@click.argument("key", metavar="KEY_ID")
@output_option
@connected
@click.pass_obj
def revoke(target: Target, key: str, form: str | None) -> None:
    """Revoke the key KEY_ID: it is refused from now on, and streams that it opened end.

    \b
    Example:
      spl keys revoke key_7Qm2xKd90aVb
    """
    print_object(form, COLUMNS, target.run(lambda api: api.delete(f"{PATH}/{quote(key, safe='')}")))
