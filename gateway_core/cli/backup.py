"""`spl backup`: one file with everything that a restored instance needs."""

import tempfile
from pathlib import Path

import click

from gateway_core.cli.failure import UNAVAILABLE, Failure
from gateway_core.cli.options import config_option, home_option
from gateway_core.cli.progress import Progress
from gateway_core.cli.target import Target


@click.command(short_help="Write the store and the home's secrets to one file.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE where it is there already.")
@home_option
@config_option
@click.pass_obj
def backup(target: Target, file: Path, force: bool) -> None:
    """Write a backup to FILE while calls go on: the store, consistent, and the home's config.toml.

    FILE also holds the home's secrets (pepper, signing key, operator's key), because without them no key would
    work after a restore. Its mode is 0600: keep it like a password.

    \b
    Example:
      spl backup ~/spl-2026-11-22.tar
    """
    if target.url is not None:
        raise click.UsageError("a backup is made on the machine that has the home: use --home, not --url.")
    file = file.expanduser().absolute()
    if file.exists() and not force:
        raise Failure(f"{file} is there already: name another file, or give --force to replace it", UNAVAILABLE)
    if not file.parent.is_dir():
        raise Failure(f"there is no directory {file.parent}: make it first", UNAVAILABLE)
    with Progress("backing up"):
        _write(target, file)
    click.echo(f"{file}: {file.stat().st_size} bytes; it holds secrets, keep it safe", err=True)


def _write(target: Target, file: Path) -> None:
    from gateway_core import __version__, clock
    from gateway_core.cli import archive
    from gateway_core.home import Home

    home = Home(target.home)
    if not home.store_path.exists():
        raise Failure(f"there is no instance at {home.path}: name its home with --home", UNAVAILABLE)
    # Beside the file, so that it needs no second copy's room elsewhere; only its owner can look in.
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".spl-backup-") as folder:
        copy = Path(folder) / archive.STORE
        target.run(lambda api: api.post("/v1/admin/backup", {"path": str(copy)}))
        files = {name: home.path / name for name in archive.NEEDED}
        files |= {name: home.path / name for name in archive.OPTIONAL if (home.path / name).is_file()}
        files[archive.STORE] = copy
        facts = {"made_at": clock.iso(clock.SystemClock().now_ms()), "version": __version__}
        archive.write(file, files, facts)
