"""Plugins: discover → check → build → register → report.

Found by entry points only. What cannot be used is reported; start-up fails, by name, where the configuration names it.
"""

import difflib
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, entry_points, version
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click
import msgspec
import pluggy
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

import gateway_core
from gateway_core import hookspecs
from gateway_core.config_checks import check_names
from gateway_core.config_decode import KeyPath, Problems, nearest
from gateway_core.config_file import LoadedConfig
from gateway_core.errors import ConfigError, PluginError
from gateway_core.hookspecs import API, GROUP, HOOKS
from gateway_core.ports import Clock, Endpoint, Limiter, LimiterKind, ProviderKind
from gateway_core.store_ports import Store, StoreKind

if TYPE_CHECKING:
    from gateway_core.home import Home

log = logging.getLogger(__name__)

T = TypeVar("T")
CORE = "spl-gateway"
"""The distribution whose plugins are always on."""

TIERS = "tiers."
"""A plugin whose SECTION begins with this provides the tier that follows."""


class PluginInfo(msgspec.Struct, frozen=True):
    """One line of `spl plugins`. `reason` says why it is off or failed."""

    name: str
    version: str
    distribution: str
    state: Literal["on", "off", "failed"]
    hooks: tuple[str, ...] = ()
    reason: str = ""


class Plugin(msgspec.Struct, frozen=True):
    """A plugin that is on."""

    name: str
    instance: Any
    section: str
    info: PluginInfo


class Candidate(msgspec.Struct, frozen=True):
    """A plugin that was found and is not loaded yet."""

    name: str
    #: Imports it and gives its class.
    load: Callable[[], Any]
    distribution: str
    version: str
    requires: tuple[str, ...] = ()

    @property
    def core(self) -> bool:
        """Whether it is the core's own."""
        return canonicalize_name(self.distribution) == CORE


class Rejected(Exception):  # what the checks below say among themselves: this plugin cannot be used
    """Why a plugin cannot be used; becomes its line in the report."""


class PluginSet:
    """The plugins that are on, in order, and a report on all that were found."""

    def __init__(self, manager: pluggy.PluginManager, plugins: Sequence[Plugin], report: Sequence[PluginInfo]) -> None:
        self.manager = manager
        self.plugins = tuple(plugins)
        self.report = tuple(report)
        self.tiers = frozenset(
            plugin.section.removeprefix(TIERS) for plugin in plugins if plugin.section.startswith(TIERS)
        )

    def implementations(self, hook: str) -> list[pluggy.HookImpl]:
        """A hook's implementations, in the order in which they are asked."""
        return list(reversed(getattr(self.manager.hook, hook).get_hookimpls()))

    def provider_kinds(self) -> dict[str, ProviderKind]:
        """Kinds of provider by the name that `[providers.NAME] plugin` gives."""
        return self._by_name("register_providers", ProviderKind, lambda kind: kind.name)

    def store_kinds(self) -> dict[str, StoreKind]:
        """Stores by the scheme of `[store] url`."""
        return self._by_name("register_stores", StoreKind, lambda kind: kind.scheme)

    def limiter_kinds(self) -> dict[str, LimiterKind]:
        """Limiters by the scheme of `[limits] url`."""
        return self._by_name("register_limiters", LimiterKind, lambda kind: kind.scheme)

    def store(self, config: LoadedConfig, home: "Home", clock: Clock) -> Store:
        """The store that `[store] url` names; it is not open yet."""
        url = config.config.store.url
        store: Store = _chosen(self.store_kinds(), config, "store", url).build(config.config.store, home, clock)
        return store

    def limiter(self, config: LoadedConfig, store: Store, clock: Clock) -> Limiter:
        """The limiter that `[limits] url` names."""
        url = config.config.limits.url
        limiter: Limiter = _chosen(self.limiter_kinds(), config, "limits", url).build(url, store, clock)
        return limiter

    def endpoints(self, services: Any) -> list[Endpoint]:
        """Endpoints of all plugins; two for one method and path are refused."""
        found = self._by_name("register_routes", Endpoint, lambda each: (each.method, each.path), services=services)
        return list(found.values())

    def commands(self) -> dict[str, click.Command]:
        """Commands that plugins add to `spl`, by name."""
        return self._by_name("register_commands", click.Command, lambda command: command.name)

    def _by_name(self, hook: str, kind: type[T], name_of: Any, **arguments: Any) -> dict[Any, T]:
        found: dict[Any, T] = {}
        owners: dict[Any, str] = {}
        for implementation in self.implementations(hook):
            plugin = implementation.plugin_name
            for each in _ask(implementation, hook, arguments):
                if not isinstance(each, kind):
                    raise PluginError(plugin, f"{hook} gave a {type(each).__name__}, not a {kind.__name__}")
                name = name_of(each)
                if name in found:
                    shown = " ".join(name) if isinstance(name, tuple) else name
                    raise PluginError(plugin, f"{hook}: {shown} is registered by plugin {owners[name]} already")
                found[name], owners[name] = each, plugin
        return found


def _chosen(kinds: Mapping[str, T], config: LoadedConfig, section: str, url: str) -> T:
    scheme = url.partition(":")[0]
    if scheme not in kinds:
        raise config.error(f"{section}.url", f'no plugin that is on serves "{scheme}"{nearest(scheme, kinds)}')
    return kinds[scheme]


def _ask(implementation: pluggy.HookImpl, hook: str, arguments: Mapping[str, Any]) -> Iterable[Any]:
    plugin = implementation.plugin_name
    try:
        given = implementation.function(*(arguments[name] for name in implementation.argnames))
    except Exception as error:
        raise PluginError(plugin, f"{hook} failed: {type(error).__name__}: {error}") from error
    if given is None:
        return ()
    if not isinstance(given, (list, tuple)):
        raise PluginError(plugin, f"{hook} gave a {type(given).__name__}, not a list")
    return given


# ---------------------------------------------------------------- discover


def discover() -> list[Candidate]:
    """Every plugin that is installed, sorted by name; a name that two distributions use is refused."""
    found: dict[str, Candidate] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda each: each.name):
        candidate = _candidate(entry)
        other = found.setdefault(entry.name, candidate)
        if other is not candidate:
            raise PluginError(
                entry.name,
                f"two distributions provide it, {other.distribution} and {candidate.distribution}: uninstall one",
            )
    return list(found.values())


def _candidate(entry: EntryPoint) -> Candidate:
    distribution: Distribution | None = entry.dist
    if distribution is None:  # an entry point that was made by hand, e.g. in a test
        return Candidate(entry.name, entry.load, "(none)", "")
    return Candidate(
        entry.name, entry.load, distribution.name, distribution.version, tuple(distribution.requires or ())
    )


# ---------------------------------------------------------------- load


def load(config: LoadedConfig, candidates: Sequence[Candidate] | None = None) -> PluginSet:
    """Builds the plugins that are on, in order. `candidates` is for tests; default: what is installed.

    Raises PluginError where a configured plugin is missing or bad, ConfigError where its settings are.
    """
    found = discover() if candidates is None else sorted(candidates, key=lambda each: each.name)
    enabled = config.config.plugins.get("enabled")
    configured = _configured(config, found)
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    built: list[Plugin] = []
    report: dict[str, PluginInfo] = {}
    for candidate in _ordered(found, enabled):
        plugin = _load_one(candidate, config, configured, enabled)
        if isinstance(plugin, Plugin):
            built.append(plugin)
            report[candidate.name] = plugin.info
        else:
            report[candidate.name] = plugin
    for plugin in reversed(built):  # pluggy asks the last registered first
        manager.register(plugin.instance, name=plugin.name)
    manager.check_pending()
    plugins = PluginSet(manager, built, sorted(report.values(), key=lambda info: info.name))
    _check_kinds(config, plugins)
    _check_claims(config, plugins)
    return plugins


def _configured(config: LoadedConfig, found: Sequence[Candidate]) -> dict[str, KeyPath]:
    """Plugins that the configuration names → the key that names them. A missing one is refused here, but for the
    providers' (`_check_kinds`)."""
    installed = {candidate.name for candidate in found}
    names: dict[str, KeyPath] = {}
    for provider, table in config.config.providers.items():
        if table["plugin"] in installed:
            names.setdefault(table["plugin"], ("providers", provider, "plugin"))
    for name in config.config.plugins.get("enabled", ()):
        names.setdefault(name, ("plugins", "enabled"))
    for name in config.config.plugins:
        if name != "enabled":
            names.setdefault(name, ("plugins", name))
    for name, key in names.items():
        if name not in installed:
            raise _missing(config, name, key, installed)
    return names


def _missing(config: LoadedConfig, name: str, key: KeyPath, known: Iterable[str], more: str = "") -> PluginError:
    return PluginError(name, f"not installed, and {config.sources.where(key)} names it{nearest(name, known)}{more}")


def _ordered(found: Sequence[Candidate], enabled: Sequence[str] | None) -> list[Candidate]:
    """In the order of `[plugins] enabled`, else by name; the core's own come last unless they are named."""
    places = {name: place for place, name in enumerate(enabled or ())}
    return sorted(found, key=lambda each: (places.get(each.name, len(places)), each.core, each.name))


def _load_one(
    candidate: Candidate, config: LoadedConfig, configured: Mapping[str, KeyPath], enabled: Sequence[str] | None
) -> Plugin | PluginInfo:
    name = candidate.name
    info = PluginInfo(name, candidate.version, candidate.distribution, "off")
    if enabled is not None and name not in enabled and not candidate.core:
        key = configured.get(name, ())
        if key[:1] == ("providers",):
            where = config.sources.where(key)
            raise PluginError(name, f"used by {where}, and [plugins] enabled does not name it: add it there")
        return msgspec.structs.replace(info, reason="not named in [plugins] enabled")
    try:
        return _build(candidate, config, info)
    except Rejected as error:
        if candidate.core or name in configured:
            raise PluginError(name, str(error)) from error
        log.warning("plugin %s is not used: %s", name, error)
        return msgspec.structs.replace(info, state="failed", reason=str(error))


def _build(candidate: Candidate, config: LoadedConfig, info: PluginInfo) -> Plugin:
    if not candidate.core:
        _check_requirements(candidate)
    try:
        made = candidate.load()
    except Exception as error:  # a plugin's import may fail in any way
        raise Rejected(f"cannot be imported: {type(error).__name__}: {error}") from error
    if not isinstance(made, type):
        raise Rejected(f"the entry point names a {type(made).__name__}, not a class")
    written = getattr(made, "API", None)
    if written is None:
        raise Rejected(f"does not say which contract it was written for: API = {API}")
    if written != API:
        raise Rejected(f"written for contract number {written}, this gateway has {API}: install a matching version")
    section = getattr(made, "SECTION", f"plugins.{candidate.name}")
    instance = _instantiate(made, section, config)
    hooks = check_hooks(instance)
    return Plugin(candidate.name, instance, section, msgspec.structs.replace(info, state="on", hooks=hooks))


def _instantiate(made: type, section: str, config: LoadedConfig) -> Any:
    settings_type = getattr(made, "Settings", None)
    arguments: tuple[Any, ...] = ()
    if settings_type is not None:
        if not (isinstance(settings_type, type) and issubclass(settings_type, msgspec.Struct)):
            raise Rejected("its Settings is not a msgspec.Struct")
        arguments = (config.section(section, settings_type),)
    elif config.table(section):
        raise config.error(section, "this plugin has no settings: remove the table")
    try:
        return made(*arguments)
    except ConfigError:
        raise
    except Exception as error:  # a plugin's constructor may fail in any way
        raise Rejected(f"cannot be built: {type(error).__name__}: {error}") from error


# ---------------------------------------------------------------- check


def _check_requirements(candidate: Candidate) -> None:
    for text in candidate.requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise Rejected(f"its distribution has a requirement that cannot be read: {error}") from None
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = canonicalize_name(requirement.name)
        try:
            installed = gateway_core.__version__ if name == CORE else version(name)
        except PackageNotFoundError:
            raise Rejected(f"needs {requirement}, which is not installed") from None
        if not requirement.specifier.contains(installed, prereleases=True):
            raise Rejected(f"needs {requirement}, and {installed} is installed")


def check_hooks(instance: Any) -> tuple[str, ...]:
    """The hooks that a plugin implements, sorted. Raises Rejected for one that could not be called as specified."""
    hooks = []
    for name in dir(instance):
        if isinstance(getattr(type(instance), name, None), property):
            continue
        method = getattr(instance, name, None)
        if not inspect.isroutine(method):
            continue
        options = getattr(method, f"{GROUP}_impl", None)
        if options is not None:
            hooks.append(_check_hook(name, method, options))
        elif name in HOOKS:
            raise Rejected(f"its method {name} is named like a hook and lacks @hookimpl")
    return tuple(hooks)


def _check_hook(name: str, method: Any, options: Mapping[str, Any]) -> str:
    hook = options.get("specname") or name
    if hook not in HOOKS:
        close = difflib.get_close_matches(hook, HOOKS, n=1, cutoff=0.0)
        raise Rejected(f'there is no hook "{hook}"; the nearest is "{close[0]}"')
    for option in ("wrapper", "hookwrapper", "tryfirst", "trylast"):
        if options.get(option):
            raise Rejected(f"{hook}: @hookimpl({option}=True) is not supported; order comes from [plugins] enabled")
    wants, has = inspect.iscoroutinefunction(HOOKS[hook]), inspect.iscoroutinefunction(method)
    if wants != has:
        raise Rejected(f"{hook} must be {'async def' if wants else 'a plain def'}")
    specified = inspect.signature(HOOKS[hook]).parameters
    for argument, parameter in inspect.signature(method).parameters.items():
        if argument not in specified and parameter.default is parameter.empty:
            raise Rejected(f'{hook} has no argument "{argument}"; it has: {", ".join(specified) or "none"}')
    return hook


def _check_kinds(config: LoadedConfig, plugins: PluginSet) -> None:
    """Every provider must be of a kind that there is: a kind need not have its plugin's name."""
    installed = {info.name for info in plugins.report}
    tables = config.config.providers.items()
    wanted = {table["plugin"]: provider for provider, table in tables if table["plugin"] not in installed}
    kinds = plugins.provider_kinds() if wanted else {}
    for kind, provider in wanted.items():
        if kind not in kinds:
            key = ("providers", provider, "plugin")
            raise _missing(config, kind, key, installed.union(kinds), _failed(plugins))


def _failed(plugins: PluginSet) -> str:
    failed = [f"plugin {info.name} failed: {info.reason}" for info in plugins.report if info.state == "failed"]
    return f" ({'; '.join(failed)})" if failed else ""


def _check_claims(config: LoadedConfig, plugins: PluginSet) -> None:
    """Every table must have a reader, every named tier a plugin."""
    problems = Problems(config.sources)
    read = {plugin.section for plugin in plugins.plugins}
    for tier in config.config.tiers:
        if tier not in plugins.tiers:
            problems.add(("tiers", tier), f"no plugin that is on provides this tier{nearest(tier, plugins.tiers)}")
    if config.config.pricing and "pricing" not in read:
        problems.add(("pricing",), "no plugin that is on reads this table: price-book does")
    for plugin in plugins.plugins:
        if plugin.name in config.config.plugins and plugin.section != f"plugins.{plugin.name}":
            problems.add(("plugins", plugin.name), f"this plugin's settings stand in [{plugin.section}]")
    check_names(config.config, plugins.tiers, problems)
    failed = _failed(plugins)
    if failed:
        problems.found = [ConfigError(f"{error}{failed}") for error in problems.found]
    problems.check()
