"""`spl thread verify` and `spl thread head`: whether an account's chain of records is whole, and where it ends."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from gateway_core.cli.failure import FAILED, Failure
from gateway_core.cli.options import connected, output_option
from gateway_core.cli.output import Column, print_object
from gateway_core.cli.progress import Progress
from gateway_core.cli.target import Target

if TYPE_CHECKING:
    from gateway_core.chain import Fault
    from gateway_core.cli.client import Api
    from gateway_core.heads import SignedHead

_HEAD = (
    Column("account", "ACCOUNT"),
    Column("sequence", "LAST RECORD"),
    Column("hash", "HASH"),
    Column("pruned_sequence", "REMOVED BY RETENTION UP TO"),
    Column("signed", "SIGNED", detail=True),
)
_VERIFIED = (
    Column("account", "ACCOUNT"),
    Column("thread", "THREAD"),
    Column("records", "RECORDS CHECKED"),
    Column("of_thread", "OF THIS THREAD"),
    Column("first", "FROM"),
    Column("last", "TO"),
    Column("hash", "HASH"),
    Column("against", "AGREES WITH THE HEAD AT"),
)
_account = click.option(
    "--account", metavar="NAME", help="Whose records; another's needs the operator's key.  [default: the key's own]"
)


class _Verified(NamedTuple):
    """What was checked: how many records in all, and of the thread that was named."""

    records: int
    of_thread: int


@click.command("head", short_help="Print where an account's chain of records ends, signed.")
@_account
@output_option
@connected
@click.pass_obj
def head(target: Target, account: str | None, form: str | None) -> None:
    """Print the last record's number and hash of an account's chain, signed by the instance that keeps it. Keep it:
    `spl thread verify --against FILE` later proves that nothing before it has changed.

    \b
    Example:
      spl thread head --account acme -o json > acme-head.json
    """
    print_object(form, _HEAD, target.run(lambda api: api.get("/v1/audit/head", account=account)))


@click.command("verify", short_help="Check that no record was changed, is missing or was moved.")
@click.argument("name", metavar="[THREAD]", required=False)
@_account
@click.option(
    "--against",
    metavar="FILE|URL",
    help="A head that was kept (`spl thread head -o json`), or another gateway that has the same chain; "
    "that one is asked with the key in SYNCROPEL_API_KEY.",
)
@output_option
@connected
@click.pass_obj
def verify(target: Target, name: str | None, account: str | None, against: str | None, form: str | None) -> None:
    """Compute an account's chain of records again from the stored bytes: every hash, from the first record to the
    signed head. A chain is an account's, over all of its threads; THREAD only says whose records are counted.
    Exits with 1 and names the first record that was changed, is missing or was moved.

    \b
    Example:
      spl thread verify th_audit_api_usage
      spl thread verify --account acme --against acme-head.json
    """
    kept = None if against is None or _is_url(against) else Path(against).read_text(errors="replace")
    with Progress("verifying"):
        shown = target.run(lambda api: _verify(api, name, account, against, kept))
    print_object(form, _VERIFIED, shown)


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


async def _verify(
    api: "Api", thread: str | None, account: str | None, against: str | None, kept: str | None
) -> dict[str, Any]:
    from gateway_core.chain import ChainCheck

    here = await api.get("/v1/audit/head", account=account)
    await _signed_head(api, here)
    if against is None:
        other = None
    elif kept is None:
        other = await _head_at(against, account)
    else:
        other = await _kept_head(api, against, kept)
    if other is not None and other.account != here["account"]:
        raise Failure(f"the head to compare with is of the account {other.account}, this one is {here['account']}")
    check = ChainCheck(here["account"], here["pruned_sequence"], here["pruned_hash"])
    seen = await _walk(api, account, here, check, thread, other)
    fault = check.end(here["sequence"], here["hash"])
    if fault is not None:
        raise _broken(fault)
    shown: dict[str, Any] = {"object": "verification", "account": here["account"], "result": "agrees"}
    if thread is not None:
        shown |= {"thread": thread, "of_thread": seen.of_thread}
    shown |= {"records": seen.records, "first": here["pruned_sequence"] + 1 if seen.records else None}
    shown |= {"last": here["sequence"], "hash": here["hash"]}
    if other is not None:
        shown["against"] = other.sequence
    return shown


async def _walk(
    api: "Api", account: str | None, here: dict[str, Any], check: Any, thread: str | None, other: "SignedHead | None"
) -> _Verified:
    """Every record up to the head. Raises Failure at the first that is not as it was."""
    import base64

    records = of_thread = 0
    if other is not None:
        _comparable(other, here)
        _compare(other, check)
    async for row in api.pages("/v1/audit/chain", account=account, after=check.sequence):
        if check.sequence >= here["sequence"]:
            break  # it came after the head was signed
        fault = check.take(row["sequence"], row["id"], base64.b64decode(row["body"]), row["hash"])
        if fault is not None:
            raise _broken(fault)
        records += 1
        of_thread += row["thread"] == thread
        if other is not None:
            _compare(other, check)
    return _Verified(records, of_thread)


def _comparable(other: "SignedHead", here: dict[str, Any]) -> None:
    if other.sequence < here["pruned_sequence"]:
        raise Failure(
            f"the head to compare with is at record {other.sequence}, and retention has removed all up to "
            f"{here['pruned_sequence']}: compare with a later head"
        )
    if other.sequence > here["sequence"]:
        raise Failure(
            f"record {here['sequence'] + 1}: it is missing: the head to compare with is at {other.sequence}, this "
            f"chain ends at {here['sequence']}"
        )


def _compare(other: "SignedHead", check: Any) -> None:
    if check.sequence == other.sequence and check.hash.hex() != other.hash:
        raise Failure(
            f"record {other.sequence}: its hash is another one than in the head to compare with: this record or an "
            "earlier one was changed, and the chain computed anew"
        )


def _broken(fault: "Fault") -> Failure:
    return Failure(f"record {fault.sequence}: {fault.what}")


# ---------------------------------------------------------------- heads


async def _signed_head(api: "Api", here: dict[str, Any]) -> "SignedHead":
    """What the gateway has signed of its own head. Raises Failure where it says otherwise than it signed."""
    from gateway_core import heads, jwt

    keys = jwt.read_key_set(json.dumps(await api.get("/.well-known/jwks.json")))
    try:
        signed = heads.verify(here["signed"], keys)
    except ValueError as error:
        raise Failure(f"the gateway's head is not signed by it: {error}") from None
    if (signed.account, signed.sequence, signed.hash) != (here["account"], here["sequence"], here["hash"]):
        raise Failure("the gateway has signed another head than it shows")
    return signed


async def _head_at(url: str, account: str | None) -> "SignedHead":
    target = Target()
    target.url = url.rstrip("/").removesuffix("/v1")
    async with target.connect() as api:
        return await _signed_head(api, await api.get("/v1/audit/head", account=account))


async def _kept_head(api: "Api", file: str, text: str) -> "SignedHead":
    """The head in a file, if this gateway has signed it. A key that has been rotated out is taken from the file."""
    from gateway_core import heads, jwt

    try:
        kept = json.loads(text)
        token = kept["signed"]
        kid = heads.key_id(token)
    except (ValueError, KeyError, TypeError):
        raise Failure(f"{file} is no head: it is what `spl thread head -o json` prints", FAILED) from None
    published = await api.get("/.well-known/jwks.json")
    keys = jwt.read_key_set(json.dumps(published))
    try:
        if kid not in keys:
            keys = jwt.read_key_set(json.dumps(kept.get("key")))
            click.echo(
                f"{file} is signed with a key that is published no longer; the one in the file verifies it",
                err=True,
            )
        signed = heads.verify(token, keys)
    except ValueError as error:
        raise Failure(f"{file}: {error}", FAILED) from None
    if signed.issuer != published["issuer"]:
        raise Failure(f"{file} was signed by the instance {signed.issuer}, this one is {published['issuer']}")
    return signed
