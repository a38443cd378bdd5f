"""A copy of the store that can be trusted: taken under load, checked, and put back."""

import os
import shutil
import sqlite3
import time
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
        copied = sqlite3.connect(partial, isolation_level=None)
        try:
            # All pages in one step: one read transaction, so writers neither wait nor make it begin again.
            db.backup(copied, pages=-1)
            copied.execute("PRAGMA journal_mode = DELETE").close()
        finally:
            copied.close()
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


def restore(source: Path, store_path: Path, *, replace: bool = False) -> Path | None:
    """Puts a backup in a store's place; nobody may have it open. Returns where the store it replaced is kept.

    Raises StoreError where there is a store and `replace` is not set, or where the backup is not good.
    """
    verify(source)
    if store_path.exists() and not replace:
        raise StoreError(f"There is a store at {store_path} already. To put the backup in its place, say so: --replace")
    partial = store_path.with_name(store_path.name + ".partial")
    try:
        connections.create(partial)
        shutil.copyfile(source, partial)
        _sync(partial)
        kept = _put_aside(store_path) if store_path.exists() else None
        for leftover in ("-wal", "-shm"):
            store_path.with_name(store_path.name + leftover).unlink(missing_ok=True)
        partial.rename(store_path)
        _sync(store_path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StoreError(f"The backup could not be put at {store_path} ({error}).") from error
    return kept


def _put_aside(store_path: Path) -> Path:
    """Renames a store with its log: together they can still be opened."""
    kept = store_path.with_name(f"{store_path.name}.before-restore-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    for part in ("-wal", ""):
        file = store_path.with_name(store_path.name + part)
        if file.exists():
            file.rename(kept.with_name(kept.name + part))
    return kept


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
