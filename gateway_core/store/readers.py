"""Reads, off the loop: short ones in one thread with its own connection, long ones in another."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from gateway_core.errors import StoreCorrupt, StoreError
from gateway_core.store import connections

P = ParamSpec("P")
T = TypeVar("T")

_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Readers:
    """Two read-only connections. What a committed future promised is visible to a read that starts afterwards."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._short = ThreadPoolExecutor(1, "store-reader")
        self._long = ThreadPoolExecutor(1, "store-long-reader")
        # Open as long as the store is: the writer's connection is then never the last one to close, which would
        # make SQLite replay or remove the log under a retry.
        self._db = connections.reading(path)

    async def run(self, read: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A read of a few rows. Raises StoreError."""

        def work() -> T:
            return read(self._db, *args, **kwargs)

        return await self._in(self._short, work)

    async def run_long(
        self, read: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """A read that may take minutes, on one snapshot; it holds up no short one. Raises StoreError."""

        def work() -> T:
            db = connections.reading(self._path)
            try:
                return read(db, *args, **kwargs)
            finally:
                db.close()

        return await self._in(self._long, work)

    async def _in(self, executor: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, work)
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in _CORRUPT:
                raise StoreCorrupt(
                    f"The store is damaged (SQLite: {error}). Stop the server and restore a backup: spl restore FILE"
                ) from error
            raise StoreError(f"The store could not be read (SQLite: {error}).") from error

    async def close(self) -> None:
        """Waits for reads that run, and closes."""
        await asyncio.to_thread(self._short.shutdown)
        await asyncio.to_thread(self._long.shutdown)
        self._db.close()
