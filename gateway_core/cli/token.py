"""`spl token`: bearers that this instance signs for another gateway, and their revocation there."""

from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from gateway_core.cli.failure import FAILED, Failure
from gateway_core.cli.options import DURATION, connected, output_option, seconds_in
from gateway_core.cli.output import Column, print_object, when
from gateway_core.cli.target import Target

if TYPE_CHECKING:
    from gateway_core.cli.client import Api

_PATH = "/v1/admin/tokens"
_SIGNING = "/v1/admin/signing-keys"

_MINTED = (
    Column("token", "TOKEN"),
    Column("audience", "AUDIENCE"),
    Column("scope", "SCOPE"),
    Column("jti", "JTI"),
    Column("expires_at", "EXPIRES (UTC)", show=when),
)
_REVOKED = (Column("instance", "INSTANCE"), Column("jti", "JTI"))


@click.group(short_help="Bearers of this instance for another gateway.")
def token() -> None:
    """Bearers that this instance signs for a gateway where it is registered. Needs the operator's key."""


@token.command(short_help="Sign a bearer for another gateway.")
@click.option("--aud", "audience", metavar="URL", help="The gateway.  [default: the only one that is configured]")
@click.option("--ttl", type=DURATION, help="How long it is valid, an hour at most.  [default: 10m]")
@click.option(
    "--for",
    "purpose",
    type=click.Choice(("inference", "records")),
    default="inference",
    help="inference: calls to models; records: fetching audit records.  [default: inference]",
)
@output_option
@connected
@click.pass_obj
def mint(target: Target, audience: str | None, ttl: str | None, purpose: str, form: str | None) -> None:
    """Sign a bearer for the gateway at --aud. Without -o the bearer alone is printed.

    \b
    Example:
      export OPENAI_API_KEY=$(spl token mint --aud https://gateway.example.com --ttl 1h)
    """

    async def minted(api: "Api") -> dict[str, str]:
        where = audience
        if where is None:
            gateways = set((await api.get(_SIGNING))["gateways"])
            if len(gateways) != 1:
                raise Failure("say which gateway it is for: --aud URL", FAILED)
            where = str(gateways.pop())
        body = {"audience": where, "purpose": purpose, "ttl_seconds": None if ttl is None else seconds_in(ttl)}
        signed: dict[str, str] = await api.post(_PATH, body)
        return signed

    made = target.run(minted)
    if form is None:
        click.echo(made["token"])
    else:
        print_object(form, _MINTED, made)


@token.command(short_help="Revoke one bearer of a registered instance.")
@click.argument("instance_id", metavar="INSTANCE_ID")
@click.argument("jti", metavar="JTI")
@output_option
@connected
@click.pass_obj
def revoke(target: Target, instance_id: str, jti: str, form: str | None) -> None:
    """Revoke the bearer JTI of the instance INSTANCE_ID, at the gateway that accepts it; its other bearers stay good.

    \b
    Example:
      spl token revoke inst_Tmyb7deKiDoAPHdK0mZZ55BYEZ1FE6HxyUdCRwsjaxg jti_01JDABCDEF
    """
    path = f"/v1/admin/instances/{quote(instance_id, safe='')}/revoked-tokens"
    print_object(form, _REVOKED, target.run(lambda api: api.post(path, {"jti": jti})))
