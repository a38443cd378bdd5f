"""Which providers are on: their settings checked, their keys fetched, and a line for each that is off."""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from gateway_core.config import TIMEOUTS
from gateway_core.config_checks import OWN_BEARERS, is_http_url
from gateway_core.config_decode import nearest
from gateway_core.config_file import LoadedConfig
from gateway_core.errors import ConfigError, PluginError
from gateway_core.plugins import PluginSet
from gateway_core.ports import KeySource, Provider, ProviderKind, ProviderParts

log = logging.getLogger(__name__)

CORE_KEYS = frozenset({"plugin", "api_key", "audience", *TIMEOUTS})
"""Keys of `[providers.NAME]` that are the core's; the others are the plugin's."""


class _Absent(Exception):  # not an error: the provider is off, and this says what would turn it on
    pass


def build_providers(
    loaded: LoadedConfig,
    plugins: PluginSet,
    parts: Callable[[str, str | KeySource | None], ProviderParts],
    environ: Mapping[str, str] | None = None,
    *,
    bearers: Callable[[str], KeySource],
) -> dict[str, Provider]:
    """Builds every configured provider whose key is there, by name; a line says why another is off.

    `parts(name, api_key)` gives what one is built from; `bearers(audience)` this instance's own bearers, for a
    provider with `api_key = "bearer:instance"`.
    Raises ConfigError for bad settings, naming file and key.
    """
    kinds = plugins.provider_kinds()
    live: dict[str, Provider] = {}
    for name, table in loaded.config.providers.items():
        kind = kinds.get(table["plugin"])
        if kind is None:
            message = f"this plugin builds no provider{nearest(table['plugin'], kinds)}"
            raise ConfigError(message, where=loaded.sources.where(("providers", name, "plugin")))
        settings = loaded.section(f"providers.{name}", kind.settings, without=CORE_KEYS)
        key: str | KeySource | None  # a source for a gateway that knows this instance
        if table.get("api_key") == OWN_BEARERS:
            live[name] = _build(kind, settings, parts(name, bearers(_audience(name, kind, loaded))))
            continue
        try:
            key = _api_key(name, table.get("api_key"), kind, loaded, os.environ if environ is None else environ)
        except _Absent as absent:
            log.info("provider %s is off: %s", name, absent)
            continue
        live[name] = _build(kind, settings, parts(name, key))
    return live


def _audience(name: str, kind: ProviderKind, loaded: LoadedConfig) -> str:
    """The address that a gateway knows itself by: configured, else where it is called."""
    table = loaded.config.providers[name]
    if not kind.fresh_keys:
        where = loaded.sources.where(("providers", name, "api_key"))
        raise ConfigError(f"{kind.name} cannot call a gateway by this instance's own bearers", where=where)
    key = "audience" if "audience" in table else "base_url"
    audience = table.get(key)
    if not isinstance(audience, str) or not is_http_url(audience):
        where = loaded.sources.where(("providers", name, key))
        raise ConfigError('must be the gateway\'s address, such as "https://gateway.example.com/v1"', where=where)
    return audience.rstrip("/").removesuffix("/v1")


def _build(kind: ProviderKind, settings: msgspec.Struct, parts: ProviderParts) -> Provider:
    try:
        provider: Provider = kind.build(settings, parts)
    except ConfigError:
        raise
    except Exception as error:  # a plugin's constructor may fail in any way; its text may hold the key
        raise PluginError(kind.name, f"provider {parts.name} cannot be built: {type(error).__name__}") from error
    return provider


def _api_key(
    name: str, reference: str | None, kind: ProviderKind, loaded: LoadedConfig, environ: Mapping[str, str]
) -> str | None:
    if reference is None:
        if kind.needs_key:
            raise _Absent(f'give it a key: [providers.{name}] api_key = "env:NAME"')
        return None
    source, _, rest = reference.partition(":")
    if source == "env":
        value = environ.get(rest, "").strip()
        if not value:
            raise _Absent(f"set the environment variable {rest} to turn it on")
        return value
    return _from_file(name, loaded.folder / Path(rest).expanduser(), loaded)


def _from_file(name: str, path: Path, loaded: LoadedConfig) -> str:
    try:
        value = path.read_text().strip()
    except FileNotFoundError:
        raise _Absent(f"put its key into the file {path} to turn it on") from None
    except (OSError, UnicodeDecodeError):
        where = loaded.sources.where(("providers", name, "api_key"))
        raise ConfigError(f"the file {path} cannot be read", where=where) from None
    if not value:
        raise _Absent(f"the file {path} is empty: put its key into it to turn it on")
    return value
