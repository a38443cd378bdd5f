"""`spl restore`: a home from a backup."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway_core.cli.failure import FAILED, UNAVAILABLE, Failure
from gateway_core.cli.options import home_option
from gateway_core.cli.progress import Progress
from gateway_core.cli.target import Target

if TYPE_CHECKING:
    from gateway_core.home import Home


@click.command(short_help="Make a home from a backup.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace a store that is there; it is kept aside in the home.")
@home_option
@click.pass_obj
def restore(target: Target, file: Path, force: bool) -> None:
    """Restore the backup FILE into the home: store, secrets and config.toml. No server may run on it.

    A home that has a store already is refused without --force; with it, what was there is moved to a directory
    `replaced-…` in the home.

    \b
    Example:
      spl restore ~/spl-2026-11-22.tar --home ~/.spl
    """
    from gateway_core.cli import archive
    from gateway_core.home import Home

    if target.url is not None:
        raise click.UsageError("a restore is made on the machine that has the home: use --home, not --url.")
    home = Home(target.home)
    with home.lock(), Progress("restoring"):
        if home.store_path.exists() and not force:
            raise Failure(
                f"{home.path} has a store already: name an empty home with --home, or give --force to replace it "
                "(what is there is kept aside)",
                UNAVAILABLE,
            )
        with archive.unpacked(file, home.path) as folder:
            _check_store(folder / archive.STORE, file)
            aside = _swap(home, folder, [path.name for path in folder.iterdir()])
    kept = f"; what was there is in {aside}" if aside else ""
    click.echo(f"restored {home.path} from {file}{kept}", err=True)


def _check_store(store: Path, source: Path) -> None:
    from gateway_core.errors import StoreError
    from gateway_core.store.backup import verify

    try:
        verify(store)
    except StoreError as error:
        raise Failure(str(error).replace(str(store), str(source)), FAILED) from None


def _swap(home: "Home", folder: Path, names: list[str]) -> Path | None:
    """Moves what the backup replaces aside, then the backup in; a crash in between loses neither."""
    from gateway_core.cli import archive
    from gateway_core.files import sync_directory

    # A write-ahead log belongs to its store: left behind, it would be replayed into the restored one.
    old = [home.path / name for name in (*names, f"{archive.STORE}-wal", f"{archive.STORE}-shm")]
    old = [path for path in old if path.exists()]
    aside = None
    if old:
        aside = home.path / f"replaced-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        aside.mkdir(mode=0o700)
        for path in old:
            path.replace(aside / path.name)
        sync_directory(aside)
    for name in names:
        (folder / name).replace(home.path / name)
    sync_directory(home.path)
    return aside
