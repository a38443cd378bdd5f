"""The embedded store: SQLite in the home. Importing this package loads no database."""

from typing import TYPE_CHECKING, Any

from gateway_core.errors import ConfigError
from gateway_core.hookspecs import API as CONTRACT
from gateway_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from gateway_core.ports import Clock, StoreKind
    from gateway_core.store.sqlite import SqliteStore


class SqlitePlugin:
    """Serves `[store] url = "sqlite"`."""

    API = CONTRACT

    @hookimpl
    def register_stores(self) -> "list[StoreKind]":
        """One kind: sqlite."""
        from gateway_core.ports import StoreKind  # ports are not needed to find the plugin

        return [StoreKind(scheme="sqlite", build=build)]


def build(url: str, home: Any, clock: "Clock", window_ms: float = 2.0) -> "SqliteStore":
    """The store of a home: a `Home`, or the directory's path. `window_ms` is `[store] group_window_ms`."""
    from pathlib import Path

    from gateway_core.store.sqlite import SqliteStore  # loads sqlite3: only where it is used

    if url != "sqlite":
        raise ConfigError(
            f'{url!r} is not a store. The embedded one is "sqlite"; it is always in the home.', where="[store] url"
        )
    path = getattr(home, "store_path", None) or Path(home) / "store.sqlite3"
    return SqliteStore(Path(path), clock, window_ms)
