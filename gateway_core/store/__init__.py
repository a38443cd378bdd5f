"""The embedded store: SQLite in the home. Importing this package loads no database."""

from typing import TYPE_CHECKING

from gateway_core.errors import ConfigError
from gateway_core.hookspecs import API as CONTRACT
from gateway_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from gateway_core.config import StoreConfig
    from gateway_core.home import Home
    from gateway_core.ports import Clock
    from gateway_core.store.sqlite import SqliteStore
    from gateway_core.store_ports import StoreKind


class SqlitePlugin:
    """Serves `[store] url = "sqlite"`."""

    API = CONTRACT

    @hookimpl
    def register_stores(self) -> "list[StoreKind]":
        """One kind: sqlite."""
        from gateway_core.store_ports import StoreKind  # ports are not needed to find the plugin

        return [StoreKind(scheme="sqlite", build=build)]


def build(config: "StoreConfig", home: "Home", clock: "Clock") -> "SqliteStore":
    """The store of a home. Raises ConfigError for a url that says more than its scheme."""
    from gateway_core.store.sqlite import SqliteStore  # loads sqlite3: only where it is used

    if config.url != "sqlite":
        raise ConfigError(
            f'{config.url!r} is not a store. The embedded one is "sqlite"; it is always in the home.',
            where="[store] url",
        )
    return SqliteStore(home.store_path, clock, config.group_window_ms)
