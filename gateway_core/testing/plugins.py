"""Plugins in tests: classes become a checked, ordered set without being installed."""

from collections.abc import Callable, Mapping
from typing import Any

from gateway_core.config_file import LoadedConfig, from_tables
from gateway_core.hookspecs import API
from gateway_core.plugins import TIERS, Candidate, PluginSet, load


class SilentTier:
    """Provides the tier that local keys are on, and admits nobody: for tests that need no tier."""

    API = API
    SECTION = f"{TIERS}self-host"


def load_plugins(
    plugins: Mapping[str, type], tables: Mapping[str, Any] | None = None, *, version: str = "1.0"
) -> PluginSet:
    """What the gateway makes of these classes, by the names of their entry points, and of a configuration.

    Raises what a start would raise. Order is as in the gateway: `[plugins] enabled`, else by name.
    """
    return load(configuration(tables), candidates(plugins, version=version))


def configuration(tables: Mapping[str, Any] | None = None) -> LoadedConfig:
    """A checked configuration from tables in memory."""
    return from_tables(tables or {}, name="test.toml")


def candidates(plugins: Mapping[str, type], *, version: str = "1.0") -> list[Candidate]:
    """Classes as if they were installed, each by a distribution of its own; with a silent tier where none is given."""
    found = [Candidate(name, _given(made), f"spl-{name}", version) for name, made in plugins.items()]
    if not any(str(getattr(made, "SECTION", "")) == SilentTier.SECTION for made in plugins.values()):
        found.append(Candidate("tier-silent", _given(SilentTier), "spl-gateway", version))
    return found


def _given(made: type) -> Callable[[], type]:
    return lambda: made
