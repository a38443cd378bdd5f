"""`spl instance`: gateways that are known here by their keys, and this one's own keys."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import click

from gateway_core.cli.failure import FAILED, Failure
from gateway_core.cli.options import DURATION, USD, connected, output_option, seconds_in
from gateway_core.cli.output import Column, print_object, print_pages, when
from gateway_core.cli.target import Target

PATH = "/v1/admin/instances"
PROVISIONED = "/v1/admin/provisioned-instances"
SIGNING = "/v1/admin/signing-keys"
KINDS = {"customer": "self_host", "gateway": "gateway"}


def _kids(value: Any) -> str:
    """Keys by the beginning of their ids."""
    return ", ".join(str(key["kid"])[:12] for key in value or ())


COLUMNS = (
    Column("id", "ID"),
    Column("name", "NAME"),
    Column("kind", "KIND"),
    Column("account", "ACCOUNT"),
    Column("keys", "KEYS", show=_kids),
    Column("jwks_url", "JWKS URL", detail=True),
    Column("push_url", "PUSH URL"),
    Column("cap_usd", "CAP USD", number=True),
    Column("created_at", "CREATED (UTC)", show=when, detail=True),
    Column("revoked_at", "REVOKED (UTC)", show=when),
)
_PROVISIONED = (*COLUMNS, Column("audience", "AUDIENCE"), Column("signing_key", "SIGNING KEY (shown this once)"))
_SELF = (Column("instance", "ID"), Column("keys", "KEYS", show=_kids), Column("gateways", "GATEWAYS"))


def _path_of(instance_id: str) -> str:
    return f"{PATH}/{quote(instance_id, safe='')}"


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except UnicodeDecodeError:
        raise Failure(f"{file} is not text: give a public key in PEM, a JWK or a JWK Set", FAILED) from None


_key_file = click.Path(exists=True, dir_okay=False, allow_dash=False, path_type=Path)


@click.group(short_help="Other gateways that are known here by their keys.")
def instance() -> None:
    """Instances: gateways like this one, known by their public keys. Needs the operator's key."""


@instance.command(short_help="Register an instance by its public key.")
@click.argument("name")
@click.option("--account", metavar="NAME", required=True, help="Who pays for its calls, or owns the records it sends.")
@click.option("--key", "key_file", type=_key_file, metavar="FILE", help="Its public key: PEM, JWK or JWK Set.")
@click.option("--jwks-url", metavar="URL", help="Where it publishes its keys, instead of --key.")
@click.option(
    "--as",
    "kind",
    type=click.Choice(tuple(KINDS)),
    default="customer",
    help="customer: it calls models here; gateway: it sends its audit records here.  [default: customer]",
)
@click.option("--id", "instance_id", metavar="ID", help="Which instance, where its keys do not tell: inst_….")
@click.option("--push-url", metavar="URL", help="Where its account's records are sent.  [default: it fetches them]")
@click.option("--cap-usd", type=USD, help="The most it may spend in a UTC month.  [default: the account's cap]")
@output_option
@connected
@click.pass_obj
def register(
    target: Target,
    name: str,
    account: str,
    key_file: Path | None,
    jwks_url: str | None,
    kind: str,
    instance_id: str | None,
    push_url: str | None,
    cap_usd: str | None,
    form: str | None,
) -> None:
    """Register the instance NAME: from now on its bearers are accepted, on the account that is named here.

    The other side prints its key with `spl instance self`.

    \b
    Example:
      spl instance register acme-office --account acme --key acme.jwks.json
      spl instance register acme-cloud --account acme --jwks-url https://acme.example/.well-known/jwks.json
      spl instance register upstream --as gateway --account local --jwks-url https://gw.example/.well-known/jwks.json
    """
    if (key_file is None) == (jwks_url is None):
        raise click.UsageError("give either --key or --jwks-url.")
    body = {
        "name": name,
        "account": account,
        "kind": KINDS[kind],
        "key": None if key_file is None else _text(key_file),
        "jwks_url": jwks_url,
        "id": instance_id,
        "push_url": push_url,
        "cap_usd": cap_usd,
    }
    print_object(form, COLUMNS, target.run(lambda api: api.post(PATH, body)))


@instance.command(short_help="Make a hosted instance's key, and register it.")
@click.argument("name")
@click.option("--account", metavar="NAME", required=True, help="Who pays for its calls.")
@click.option("--push-url", metavar="URL", help="Where its account's records are sent.  [default: it fetches them]")
@click.option("--cap-usd", type=USD, help="The most it may spend in a UTC month.  [default: the account's cap]")
@click.option(
    "--key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the signing key there, mode 0600, instead of printing it.",
)
@output_option
@connected
@click.pass_obj
def provision(
    target: Target,
    name: str,
    account: str,
    push_url: str | None,
    cap_usd: str | None,
    key_file: Path | None,
    form: str | None,
) -> None:
    """Make the signing key of the hosted instance NAME and register it. The key goes into that instance's home as
    `signing.key`; it is not kept here.

    \b
    Example:
      spl instance provision acme-hosted --account acme --key-file acme-home/signing.key
    """
    body = {"name": name, "account": account, "push_url": push_url, "cap_usd": cap_usd}
    if key_file is None:
        made = target.run(lambda api: api.post(PROVISIONED, body))
    else:
        with _reserved(key_file) as file:
            made = target.run(lambda api: api.post(PROVISIONED, body))
            file.write(made.pop("signing_key").encode())
            file.flush()
            os.fsync(file.fileno())
    print_object(form, _PROVISIONED, made)


@contextmanager
def _reserved(path: Path) -> Iterator[IO[bytes]]:
    """A new file, mode 0600, opened before there is anything to put into it: a key that finds no place is lost.
    Where the block fails, there is no file."""
    try:
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except FileExistsError:
        raise Failure(f"{path} is there already: name a file that is not", FAILED) from None
    try:
        with file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@instance.command("list", short_help="List registered instances.")
@click.option("--account", metavar="NAME", help="Only this account's.")
@output_option
@connected
@click.pass_obj
def list_(target: Target, account: str | None, form: str | None) -> None:
    """List registered instances, revoked ones too.

    \b
    Example:
      spl instance list --account acme
    """
    target.run(lambda api: print_pages(form, COLUMNS, api.pages(PATH, account=account), empty="no instances"))


@instance.command(short_help="Change an instance's push URL, cap or pinned keys.")
@click.argument("instance_id", metavar="ID")
@click.option("--push-url", metavar="URL", help="Where its account's records are sent.")
@click.option("--no-push", is_flag=True, help="Send no records: it fetches them.")
@click.option("--cap-usd", type=USD, help="The most it may spend in a UTC month.")
@click.option("--no-cap", is_flag=True, help="Take its own cap away.")
@click.option("--add-key", type=_key_file, metavar="FILE", help="Accept this key, too: before the instance rotates.")
@click.option("--remove-key", metavar="KID", help="Accept this key no longer.")
@output_option
@connected
@click.pass_obj
def update(
    target: Target,
    instance_id: str,
    push_url: str | None,
    no_push: bool,
    cap_usd: str | None,
    no_cap: bool,
    add_key: Path | None,
    remove_key: str | None,
    form: str | None,
) -> None:
    """Change the instance ID; what is not named stays as it is.

    \b
    Example:
      spl instance update inst_Tmyb7de… --push-url https://acme.example
      spl instance update inst_Tmyb7de… --add-key acme-new.jwk.json
    """
    if (push_url is not None and no_push) or (cap_usd is not None and no_cap):
        raise click.UsageError("give either the value, or the option that takes it away.")
    change: dict[str, Any] = {}
    if push_url is not None or no_push:
        change["push_url"] = push_url
    if cap_usd is not None or no_cap:
        change["cap_usd"] = cap_usd
    if add_key is not None:
        change["add_key"] = _text(add_key)
    if remove_key is not None:
        change["remove_key"] = remove_key
    if not change:
        raise click.UsageError("say what to change: see the options.")
    print_object(form, COLUMNS, target.run(lambda api: api.patch(_path_of(instance_id), change)))


@instance.command(short_help="Revoke an instance; it takes effect at once.")
@click.argument("instance_id", metavar="ID")
@output_option
@connected
@click.pass_obj
def revoke(target: Target, instance_id: str, form: str | None) -> None:
    """Revoke the instance ID: none of its bearers is accepted any more, its streams end, and no records go there.

    \b
    Example:
      spl instance revoke inst_Tmyb7deKiDoAPHdK0mZZ55BYEZ1FE6HxyUdCRwsjaxg
    """
    print_object(form, COLUMNS, target.run(lambda api: api.delete(_path_of(instance_id))))


@instance.command("self", short_help="Print this instance's id and public keys.")
@click.option(
    "--key", "as_key_set", is_flag=True, help="Only the public keys, as the file that `register --key` takes."
)
@output_option
@connected
@click.pass_obj
def self_(target: Target, as_key_set: bool, form: str | None) -> None:
    """Print this instance's id and the keys that it signs with: what another gateway registers.

    \b
    Example:
      spl instance self --key > office.jwks.json
    """
    if as_key_set:
        import json

        click.echo(json.dumps(target.run(lambda api: api.get("/.well-known/jwks.json")), indent=2))
        return
    print_object(form, _SELF, target.run(lambda api: api.get(SIGNING)))


@instance.command("rotate-key", short_help="Replace this instance's signing key.")
@click.option("--after", type=DURATION, help="How long the new key is published before it signs.  [default: 2m]")
@click.option("--now", is_flag=True, help="Let it sign at once: for a key that got into the wrong hands.")
@output_option
@connected
@click.pass_obj
def rotate_key(target: Target, after: str | None, now: bool, form: str | None) -> None:
    """Make a new signing key. It is published at once and signs after a while; the old one stays published for two
    hours more, so that no bearer is refused. Where this instance is registered by a pasted key, that gateway's
    operator needs the new one (`spl instance self --key`) before it signs: choose --after to suit.

    \b
    Example:
      spl instance rotate-key
      spl instance rotate-key --after 7d
    """
    if now and after is not None:
        raise click.UsageError("give either --after or --now.")
    seconds = 0 if now else None if after is None else seconds_in(after)
    print_object(form, _SELF, target.run(lambda api: api.post(SIGNING, {"after_seconds": seconds})))
