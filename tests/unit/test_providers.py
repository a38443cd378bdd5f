"""Which providers are on: keys from the environment and files, settings checked, a line for what is off."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway_core.config_file import LoadedConfig, from_tables
from gateway_core.errors import ConfigError, PluginError
from gateway_core.hookspecs import hookimpl
from gateway_core.plugins import PluginSet
from gateway_core.ports import ProviderKind, ProviderParts
from gateway_core.providers import build_providers
from gateway_core.testing.plugins import load_plugins
from gateway_core.testing.provider_parts import parts


class KindSettings(msgspec.Struct, frozen=True):
    base_url: str = "https://default.example"


class Built(msgspec.Struct):
    name: str
    settings: KindSettings
    api_key: Any


def build(settings: KindSettings, given: ProviderParts) -> Built:
    if settings.base_url == "broken":
        raise OSError(f"with {given.api_key!r}")
    return Built(given.name, settings, given.api_key)


class Plugin:
    API = 1

    @hookimpl
    def register_providers(self) -> list[ProviderKind]:
        return [
            ProviderKind("kind", KindSettings, build),
            ProviderKind("keyless", KindSettings, build, needs_key=False),
            ProviderKind("gateway", KindSettings, build, fresh_keys=True),
        ]


def configured(folder: Path = Path(), **table: Any) -> LoadedConfig:
    return from_tables({"providers": {"p": table}}, name="f.toml", folder=folder)


def plugins() -> PluginSet:
    return load_plugins({"kind": Plugin})


def built(loaded: LoadedConfig, environ: Mapping[str, str] | None = None) -> Any:
    providers = build_providers(loaded, plugins(), parts, environ or {}, bearers=lambda audience: lambda: audience)
    return providers.get("p")


def test_a_key_from_the_environment() -> None:
    provider = built(configured(plugin="kind", api_key="env:K", base_url="https://x.example"), {"K": " sk-1\n"})
    assert provider == Built("p", KindSettings("https://x.example"), "sk-1")


def test_a_key_from_a_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-2\n")
    assert built(configured(tmp_path, plugin="kind", api_key="file:key")).api_key == "sk-2"
    assert built(configured(plugin="kind", api_key=f"file:{tmp_path / 'key'}")).api_key == "sk-2"


def test_no_key_where_none_is_needed() -> None:
    assert built(configured(plugin="keyless")).api_key is None


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"plugin": "kind", "api_key": "env:SOME_KEY"}, "set the environment variable SOME_KEY to turn it on"),
        ({"plugin": "keyless", "api_key": "env:SOME_KEY"}, "set the environment variable SOME_KEY to turn it on"),
        ({"plugin": "kind"}, 'give it a key: [providers.p] api_key = "env:NAME"'),
        ({"plugin": "kind", "api_key": "file:gone"}, "put its key into the file "),
        ({"plugin": "kind", "api_key": "file:empty"}, "is empty: put its key into it to turn it on"),
    ],
)
def test_a_provider_whose_key_is_absent_is_off_and_a_line_says_what_would_turn_it_on(
    table: dict[str, str], says: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "empty").write_text("\n")
    assert built(configured(tmp_path, **table), {"SOME_KEY": " "}) is None
    assert f"provider p is off: {says}" in caplog.text or says in caplog.text


def test_a_file_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^f\.toml: providers\.p\.api_key: the file .* cannot be read$"):
        built(configured(plugin="kind", api_key=f"file:{tmp_path}"))


def test_own_keys_are_checked_by_the_kind() -> None:
    with pytest.raises(
        ConfigError, match=r'^f\.toml: providers\.p\.base_urll: unknown key; did you mean "base_url"\?$'
    ):
        built(configured(plugin="keyless", base_urll="x"))


def test_a_plugin_that_builds_no_provider_is_named() -> None:
    loaded = configured(plugin="tier-silent")
    with pytest.raises(ConfigError, match=r"^f\.toml: providers\.p\.plugin: this plugin builds no provider"):
        built(loaded)


def test_a_provider_that_cannot_be_built_is_named_and_its_key_is_not() -> None:
    with pytest.raises(PluginError, match=r"^plugin kind: provider p cannot be built: OSError$"):
        built(configured(plugin="kind", api_key="env:K", base_url="broken"), {"K": "sk-hunter2"})


# ---------------------------------------------------------------- this instance's own bearers


@pytest.mark.parametrize(
    ("table", "audience"),
    [
        ({"base_url": "https://gateway.example/v1"}, "https://gateway.example"),
        ({"base_url": "https://gateway.example/v1/"}, "https://gateway.example"),
        ({"base_url": "http://10.0.0.7:8700/v1", "audience": "https://gateway.example"}, "https://gateway.example"),
    ],
)
def test_a_gateway_s_key_is_made_anew_for_its_address(table: dict[str, str], audience: str) -> None:
    provider = built(configured(plugin="gateway", api_key="bearer:instance", **table))
    assert provider.api_key() == audience


def test_only_a_kind_that_takes_fresh_keys_can_call_a_gateway_by_them() -> None:
    with pytest.raises(ConfigError, match=r"^f\.toml: providers\.p\.api_key: kind cannot call a gateway"):
        built(configured(plugin="kind", api_key="bearer:instance", base_url="https://gateway.example/v1"))


@pytest.mark.parametrize("table", [{}, {"base_url": "gateway"}, {"base_url": "https://g.example", "audience": "x"}])
def test_a_gateway_s_address_must_be_one(table: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"^f\.toml: providers\.p.* must be the gateway's address"):
        built(configured(plugin="gateway", api_key="bearer:instance", **table))
