"""The loader: what is found, refused, collected, ordered and reported. Distributions are real ones, on a real path."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from gateway_core.errors import ConfigError, ConfigProblems, PluginError
from gateway_core.plugins import Candidate, PluginInfo, PluginSet, discover, load
from gateway_core.testing.plugins import candidates, configuration, load_plugins

Install = Callable[..., None]

GOOD = """
from gateway_core.hookspecs import hookimpl
class Plugin:
    API = 1
    @hookimpl
    def admit(self, call): return None
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a distribution with one plugin on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def install(name: str, source: str = GOOD, *, distribution: str = "", requires: tuple[str, ...] = ()) -> None:
        package = f"probe_{len(made)}"
        made.append(package)
        (tmp_path / f"{package}.py").write_text(dedent(source))
        distribution = distribution or f"spl-{name}"
        info = tmp_path / f"{distribution.replace('-', '_')}-2.5.dist-info"
        info.mkdir()
        metadata = ["Metadata-Version: 2.1", f"Name: {distribution}", "Version: 2.5"]
        (info / "METADATA").write_text("\n".join([*metadata, *(f"Requires-Dist: {each}" for each in requires), ""]))
        (info / "entry_points.txt").write_text(f"[spl_gateway]\n{name} = {package}:Plugin\n")

    yield install
    for package in made:
        sys.modules.pop(package, None)


def found(*names: str) -> list[Candidate]:
    """The named ones of what is installed, and a tier so that the configuration is whole."""
    return [each for each in discover() if each.name in names] + candidates({})


def line(plugins: PluginSet, name: str) -> PluginInfo:
    return next(info for info in plugins.report if info.name == name)


# ---------------------------------------------------------------- discover


def test_the_core_brings_its_own_plugins_through_the_same_door() -> None:
    own = {each.name for each in discover() if each.core}
    assert own == {"store-sqlite", "limits-memory", "user-keys", "instance-bearers", "static-routes"}


def test_plugins_are_found_by_entry_point_and_sorted(install: Install) -> None:
    install("zeta")
    install("alpha")
    names = [each.name for each in discover()]
    assert names == sorted(names)
    assert {"alpha", "zeta"} <= set(names)


def test_a_name_that_two_distributions_use_is_refused_naming_both(install: Install) -> None:
    install("twin", distribution="spl-one")
    install("twin", distribution="spl-two")
    with pytest.raises(PluginError, match=r"plugin twin: .*spl-one and spl-two|plugin twin: .*spl-two and spl-one"):
        discover()


def test_the_report_says_name_version_distribution_hooks_and_state(install: Install) -> None:
    install("probe")
    plugins = load(configuration(), found("probe"))
    assert line(plugins, "probe") == PluginInfo("probe", "2.5", "spl-probe", "on", ("admit",), "")


# ---------------------------------------------------------------- check


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import surely_not_there", "cannot be imported: ModuleNotFoundError"),
        ("1 / 0", "cannot be imported: ZeroDivisionError"),
        ("Plugin = 3", "the entry point names a int, not a class"),
        ("class Plugin: pass", "does not say which contract"),
        ("class Plugin: API = 99", "written for contract number 99, this gateway has 1"),
        ("class Plugin:\n  API = 1\n  Settings = dict", "its Settings is not a msgspec.Struct"),
        ("class Plugin:\n  API = 1\n  def __init__(self): raise OSError('no')", "cannot be built: OSError: no"),
        (GOOD.replace("admit", "admitt"), 'no hook "admitt"; the nearest is "admit"'),
        (GOOD.replace("def admit", "async def admit"), "admit must be a plain def"),
        (GOOD.replace("def admit(self, call)", "def authenticate(self)"), "authenticate must be async def"),
        (GOOD.replace("self, call", "self, kall"), 'admit has no argument "kall"; it has: call'),
        (GOOD.replace("    @hookimpl\n", ""), "its method admit is named like a hook and lacks @hookimpl"),
        (GOOD.replace("@hookimpl", "@hookimpl(tryfirst=True)"), "@hookimpl(tryfirst=True) is not supported"),
    ],
)
def test_27_a_bad_plugin_that_nothing_names_is_reported_and_left_out(
    install: Install, source: str, reason: str
) -> None:
    install("bad", source)
    plugins = load(configuration(), found("bad"))
    assert line(plugins, "bad").state == "failed"
    assert reason in line(plugins, "bad").reason
    assert "bad" not in [plugin.name for plugin in plugins.plugins]


@pytest.mark.parametrize(
    ("tables", "where"),
    [
        ({"plugins": {"enabled": ["bad"]}}, "enabled"),
        ({"plugins": {"bad": {}}}, "its own table"),
        ({"providers": {"p": {"plugin": "bad"}}}, "a provider"),
    ],
)
def test_27_a_bad_plugin_that_the_configuration_names_stops_the_start(
    install: Install, tables: dict[str, object], where: str
) -> None:
    install("bad", "import surely_not_there")
    with pytest.raises(PluginError, match=r"^plugin bad: cannot be imported: .*surely_not_there"):
        load(configuration(tables), found("bad"))


@pytest.mark.parametrize(
    ("tables", "key"),
    [
        ({"plugins": {"enabled": ["probe", "prove"]}}, r"plugins\.enabled"),
        ({"plugins": {"prove": {}}}, r"plugins\.prove"),
        ({"providers": {"p": {"plugin": "prove"}}}, r"providers\.p\.plugin"),
    ],
)
def test_27_a_plugin_that_is_named_and_missing_stops_the_start_with_the_nearest(
    install: Install, tables: dict[str, object], key: str
) -> None:
    install("probe")
    with pytest.raises(PluginError, match=rf'plugin prove: not installed, and test\.toml: {key} .*mean "probe"'):
        load(configuration(tables), found("probe"))


KINDS = """
from gateway_core.hookspecs import hookimpl
from gateway_core.ports import ProviderKind
import msgspec
class Plugin:
    API = 1
    @hookimpl
    def register_providers(self):
        return [ProviderKind(name, msgspec.Struct, None) for name in ("echo", "reverb")]
"""


def test_a_provider_is_of_any_kind_that_a_plugin_registers_whatever_the_plugin_is_called(install: Install) -> None:
    install("sounds", KINDS)
    plugins = load(configuration({"providers": {"a": {"plugin": "echo"}, "b": {"plugin": "reverb"}}}), found("sounds"))
    assert set(plugins.provider_kinds()) == {"echo", "reverb"}
    with pytest.raises(PluginError, match=r'^plugin echoo: not installed, and .*providers\.a\.plugin .*mean "echo"\?$'):
        load(configuration({"providers": {"a": {"plugin": "echoo"}}}), found("sounds"))


def test_where_a_kind_is_missing_a_plugin_that_failed_is_told_of(install: Install) -> None:
    install("sounds", "import surely_not_there")
    with pytest.raises(PluginError, match=r"^plugin echo: not installed, .*plugin sounds failed: cannot be imported"):
        load(configuration({"providers": {"a": {"plugin": "echo"}}}), found("sounds"))


def test_a_provider_that_uses_a_plugin_that_is_not_enabled_stops_the_start(install: Install) -> None:
    install("probe")
    install("other")
    tables = {"plugins": {"enabled": ["other"]}, "providers": {"p": {"plugin": "probe"}}}
    with pytest.raises(PluginError, match=r"plugin probe: used by .*providers\.p\.plugin.*add it there"):
        load(configuration(tables), found("probe", "other"))


@pytest.mark.parametrize(
    ("requires", "reason"),
    [
        ("spl-gateway>=99", "needs spl-gateway>=99, and "),
        ("surely-not-there>=1", "needs surely-not-there>=1, which is not installed"),
        ("msgspec<0.1", "needs msgspec<0.1, and "),
        (">=1", "requirement that cannot be read"),
    ],
)
def test_requirements_are_checked(install: Install, requires: str, reason: str) -> None:
    install("probe", requires=(requires,))
    assert reason in line(load(configuration(), found("probe")), "probe").reason


def test_requirements_for_another_system_or_an_extra_do_not_count(install: Install) -> None:
    install("probe", requires=('nowhere>=1; sys_platform == "vms"', 'other>=1; extra == "more"', "msgspec>=0.1"))
    assert line(load(configuration(), found("probe")), "probe").state == "on"


# ---------------------------------------------------------------- settings

SETTINGS = """
import msgspec
class Settings(msgspec.Struct):
    colour: str = "red"
    size: int = 1
class Plugin:
    API = 1
    Settings = Settings
    def __init__(self, settings): self.settings = settings
"""


def test_settings_come_from_the_plugin_s_table(install: Install) -> None:
    install("probe", SETTINGS)
    plugins = load(configuration({"plugins": {"probe": {"size": 3}}}), found("probe"))
    (probe,) = [each for each in plugins.plugins if each.name == "probe"]
    assert (probe.instance.settings.colour, probe.instance.settings.size) == ("red", 3)


def test_a_section_of_its_own_is_read_instead(install: Install) -> None:
    install("probe", SETTINGS.replace("API = 1", "API = 1\n    SECTION = 'pricing'"))
    plugins = load(configuration({"pricing": {"colour": "blue"}}), found("probe"))
    assert plugins.plugins[0].instance.settings.colour == "blue"
    with pytest.raises(ConfigError, match=r"plugins\.probe: this plugin's settings stand in \[pricing\]"):
        load(configuration({"plugins": {"probe": {"colour": "blue"}}}), found("probe"))


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"color": "red"}, r'test\.toml: plugins\.probe\.color: unknown key; did you mean "colour"\?'),
        ({"size": "big"}, r"test\.toml: plugins\.probe\.size: expected a whole number, got text in quotes"),
    ],
)
def test_bad_settings_name_file_key_and_nearest(install: Install, table: dict[str, object], says: str) -> None:
    install("probe", SETTINGS)
    with pytest.raises(ConfigError, match=says):
        load(configuration({"plugins": {"probe": table}}), found("probe"))


def test_a_table_for_a_plugin_without_settings_is_refused(install: Install) -> None:
    install("probe")
    with pytest.raises(ConfigError, match=r"plugins\.probe: this plugin has no settings"):
        load(configuration({"plugins": {"probe": {"x": 1}}}), found("probe"))


# ---------------------------------------------------------------- order and claims


class Empty:
    API = 1


def test_order_is_by_name_unless_the_configuration_says_otherwise() -> None:
    classes = {"b": Empty, "a": Empty, "c": Empty}
    assert [each.name for each in load_plugins(classes).plugins] == ["a", "b", "c", "tier-silent"]
    chosen = load_plugins(classes, {"plugins": {"enabled": ["c", "a"]}})
    assert [each.name for each in chosen.plugins] == ["c", "a", "tier-silent"]
    assert line(chosen, "b") == PluginInfo("b", "1.0", "spl-b", "off", (), "not named in [plugins] enabled")


def test_the_core_s_own_come_last_unless_named() -> None:
    classes = {"zzz": Empty}
    assert [each.name for each in load_plugins(classes).plugins] == ["zzz", "tier-silent"]
    named = load_plugins(classes, {"plugins": {"enabled": ["tier-silent", "zzz"]}})
    assert [each.name for each in named.plugins] == ["tier-silent", "zzz"]


def test_tables_that_nothing_reads_are_refused() -> None:
    tables = {"tiers": {"self-hots": {}}, "pricing": {"markup": "1"}}
    with pytest.raises(ConfigProblems) as raised:
        load_plugins({}, tables)
    said = [str(each) for each in raised.value.problems]
    assert said == [
        'test.toml: tiers.self-hots: no plugin that is on provides this tier; did you mean "self-host"?',
        "test.toml: pricing: no plugin that is on reads this table: price-book does",
    ]


def test_a_tier_that_no_plugin_provides_is_refused_wherever_it_is_named() -> None:
    provider = {"providers": {"p": {"plugin": "kind"}}}
    model = {"models": {"m": {"routes": [{"provider": "p", "model": "m"}], "tiers": ["paid"]}}}
    with pytest.raises(ConfigProblems) as raised:
        load_plugins({"kind": Empty}, {"bearers": {"user_key": "self_host"}, **provider, **model})
    first, second = (str(each) for each in raised.value.problems)
    assert 'test.toml: bearers.user_key: no plugin that is on provides the tier "self_host"' in first
    assert 'test.toml: models.m.tiers: no plugin that is on provides the tier "paid"' in second


def test_a_missing_tier_says_which_plugin_failed(install: Install) -> None:
    install("tier-gold", "import surely_not_there")
    with pytest.raises(ConfigError, match=r"tier \"gold\".*plugin tier-gold failed: cannot be imported"):
        load(configuration({"bearers": {"user_key": "gold"}}), found("tier-gold"))
