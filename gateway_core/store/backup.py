"""A copy of the store that can be trusted: taken under load, and checked. `spl restore` puts it back."""

import os
import sqlite3
from pathlib import Path

from gateway_core.errors import StoreCorrupt, StoreError
from gateway_core.store import connections, migrations


def copy(db: sqlite3.Connection, target: Path) -> None:
    """Writes one consistent snapshot to `target`, which must not exist. Calls go on meanwhile. Raises StoreError."""
    if target.exists():
        raise StoreError(f"{target} exists already: name a file that does not.")
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        connections.create(partial)
        # Written anew instead of page by page: as small as what is in it, and without remnants of what was removed.
        # One read transaction, so writers neither wait nor make it begin again. The store itself is open read-only.
        db.execute("PRAGMA query_only = OFF").close()
        db.execute("VACUUM INTO ?", (str(partial.absolute()),)).close()
        _sync(partial)
        partial.rename(target)
        _sync(target.parent)
    except (OSError, sqlite3.Error) as error:
        partial.unlink(missing_ok=True)
        raise StoreError(
            f"The backup to {target} failed ({error}). Nothing is left there; the store is untouched."
        ) from error


def verify(source: Path) -> None:
    """Reads a whole backup. Raises StoreError, StoreCorrupt or StoreTooNew, each saying what to do."""
    if not source.is_file():
        raise StoreError(f"There is no backup {source}.")
    try:
        # Immutable: a backup on a read-only medium can be checked, and no file appears beside it.
        db = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
        try:
            findings = [row[0] for row in db.execute("PRAGMA integrity_check(5)")]
            if findings != ["ok"]:
                raise StoreCorrupt(f"The backup {source} is damaged ({findings[0]}). Use another one.")
            if not migrations.check(db, migrations.shipped()):
                raise StoreError(f"{source} is a database, but no backup of a store. Use a file that spl backup wrote.")
        finally:
            db.close()
    except sqlite3.Error as error:
        raise StoreCorrupt(f"The backup {source} is damaged ({error}). Use another one.") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
