"""Configuration files: read, merged, checked whole; every problem names file, key and what would be right."""

import tomllib
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_core.config import Config, ModelConfig
from gateway_core.config_file import default_config_path, from_tables, load, shipped_folder, show, to_toml
from gateway_core.errors import ConfigError, ConfigProblems
from gateway_core.home import Home
from gateway_core.tokens import VOCABULARIES

OPENAI = {"providers": {"openai": {"plugin": "provider-openai", "api_key": "env:OPENAI_API_KEY"}}}
ROUTES = [{"provider": "openai", "model": "m"}]


def problems(tables: dict[str, Any]) -> list[str]:
    """Everything that is wrong with these tables."""
    try:
        from_tables(tables, name="f.toml")
    except ConfigProblems as error:
        return [str(each) for each in error.problems]
    except ConfigError as error:
        return [str(error)]
    return []


def model(**fields: Any) -> dict[str, Any]:
    return {**OPENAI, "models": {"gpt-4.1": {"routes": ROUTES, **fields}}}


# ---------------------------------------------------------------- files


def test_nothing_configured_is_every_default(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("")
    assert load(tmp_path / "c.toml").config == Config()


def test_the_home_s_file_is_read_where_it_is_there(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert load(None, home).sources.file == str(default_config_path())
    home.config_path.write_text("[server]\nport = 1234\n")
    assert load(None, home).config.server.port == 1234


def test_overrides_win_and_are_named(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[server]\nport = 1\nhost = '::1'\n")
    loaded = load(tmp_path / "c.toml", overrides={"server": {"port": 2}})
    assert (loaded.config.server.port, loaded.config.server.host) == (2, "::1")
    with pytest.raises(ConfigError, match=r"^command line: server\.port: "):
        load(tmp_path / "c.toml", overrides={"server": {"port": "two"}})


def test_included_files_are_read_first_relative_to_their_includer(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "base.toml").write_text('include = ["more.toml"]\n[server]\nport = 1\n')
    (tmp_path / "deep" / "more.toml").write_text('[server]\nport = 9\nhost = "base"\n[limits]\nurl = "more"\n')
    (tmp_path / "c.toml").write_text('include = ["deep/base.toml"]\n[server]\nport = 2\n')
    config = load(tmp_path / "c.toml").config
    assert (config.server.port, config.server.host, config.limits.url) == (2, "base", "more")


def test_a_problem_names_the_file_that_it_stands_in(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text("[server]\nprot = 1\n")
    (tmp_path / "c.toml").write_text('include = ["base.toml"]\n[server]\nport = 2\n')
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "c.toml")
    assert str(caught.value) == f'{tmp_path / "base.toml"}: server.prot: unknown key; did you mean "port"?'


def test_files_that_include_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('include = ["b.toml"]')
    (tmp_path / "b.toml").write_text('include = ["a.toml"]')
    with pytest.raises(ConfigError, match=r"a\.toml: include: files include each other in a circle: .*a.*→.*b.*→.*a"):
        load(tmp_path / "a.toml")


def test_one_file_may_be_included_on_two_ways(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text("[server]\nport = 5\n")
    for name in "ab":
        (tmp_path / f"{name}.toml").write_text('include = ["base.toml"]')
    (tmp_path / "c.toml").write_text('include = ["a.toml", "b.toml"]')
    assert load(tmp_path / "c.toml").config.server.port == 5


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[server\n", r"c\.toml, line 1, column 8: not TOML: "),
        (b"[server]\nport = 1\nport = 2\n", r"c\.toml, line 3, column 9: not TOML: Cannot overwrite a value"),
        (b"a = '\xff'", r"c\.toml: not UTF-8 text \(byte 5\)"),
        (b'include = "x.toml"', r"c\.toml: include: expected a list of file names"),
        (b'include = ["gone.toml"]', r"c\.toml: include: there is no file .*gone\.toml"),
    ],
)
def test_a_file_that_cannot_be_read_says_where_and_why(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "c.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        load(tmp_path / "c.toml")


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file .*none\.toml"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"cannot read .*: Is a directory"):
        load(tmp_path)


# ---------------------------------------------------------------- shapes


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({"serverr": {}}, 'f.toml: serverr: unknown key; did you mean "server"?'),
        ({"server": 3}, "f.toml: server: expected a table, got a whole number"),
        ({"server": {"port": "8700"}}, "f.toml: server.port: expected a whole number, got text in quotes"),
        ({"server": {"port": True}}, "f.toml: server.port: expected a whole number, got true or false"),
        ({"server": {"port": 65536}}, "f.toml: server.port: expected a whole number <= 65535"),
        ({"server": {"managed": 1}}, "f.toml: server.managed: expected true or false, got a whole number"),
        ({"server": {"request_timeout": 0}}, "f.toml: server.request_timeout: expected a number > 0.0"),
        ({"server": {"request_timeout": float("nan")}}, "f.toml: server.request_timeout: expected a finite number"),
        ({"server": {"error_dialect": "opnai"}}, 'f.toml: server.error_dialect: expected "syncropic" or "openai", '),
        ({"server": {"trusted_proxies": "::1"}}, "f.toml: server.trusted_proxies: expected a list, got text"),
        ({"server": {"trusted_proxies": ["::1", 3]}}, "f.toml: server.trusted_proxies[2]: expected text in quotes, "),
        ({"retention": {"records_days": 10**12}}, "f.toml: retention.records_days: expected a whole number <= 36500"),
        ({"upstream": {"retries": -1}}, "f.toml: upstream.retries: expected a whole number >= 0"),
        (model(context_tokens=0), 'f.toml: models."gpt-4.1".context_tokens: expected a whole number >= 1'),
        (model(price="gratis"), 'f.toml: models."gpt-4.1".price: expected "free", got something else'),
        (model(price=3), 'f.toml: models."gpt-4.1".price: expected text in quotes or a table or a list, got a whole'),
        (model(price={"input": "1"}), 'f.toml: models."gpt-4.1".price: the key "output" is missing'),
        (
            model(price=[{"input": 1, "output": "1"}]),
            'f.toml: models."gpt-4.1".price[1].input: expected text in quotes',
        ),
        (model(routes=[{"provider": "openai", "modle": "m"}]), 'f.toml: models."gpt-4.1".routes[1].modle: unknown key'),
    ],
)
def test_wrong_shapes_name_file_key_and_what_is_expected(tables: dict[str, Any], says: str) -> None:
    assert any(each.startswith(says) for each in problems(tables)), problems(tables)


def test_all_problems_are_found_at_once_and_the_first_is_said() -> None:
    tables = {"server": {"prot": 1, "hots": "x"}, "limits": {"url": 3}}
    assert len(problems(tables)) == 3
    with pytest.raises(ConfigProblems, match=r"^configuration: server\.prot: .* \(and 2 more: `spl config check`"):
        from_tables(tables)


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        (
            {"server": {"header_prefix": "X Gateway-"}},
            "f.toml: server.header_prefix: expected the beginning of a header",
        ),
        ({"server": {"header_prefix": ""}}, "f.toml: server.header_prefix: expected the beginning of a header"),
        ({"server": {"public_url": "gateway.example.com"}}, "f.toml: server.public_url: expected an address"),
        ({"server": {"public_url": "https://u:p@x.example"}}, "f.toml: server.public_url: expected an address"),
        ({"server": {"public_url": "https://x.example:99999"}}, "f.toml: server.public_url: expected an address"),
        (
            {"server": {"trusted_proxies": ["::1", "10.0.0"]}},
            "f.toml: server.trusted_proxies[2]: expected an address or",
        ),
        (
            {"providers": {"p": {"plugin": "x", "idle_timeout": True}}},
            "f.toml: providers.p.idle_timeout: expected a number of seconds, more than 0",
        ),
        ({"providers": {"p": {}}}, 'f.toml: providers.p: the key "plugin" is missing'),
        (model(routes=[]), 'f.toml: models."gpt-4.1": has no routes'),
        (
            model(routes=[{"provider": "opnai", "model": "m"}]),
            'f.toml: models."gpt-4.1".routes[1].provider: unknown provider "opnai"; did you mean "openai"?',
        ),
        (model(price=[]), 'f.toml: models."gpt-4.1".price: an empty list is no price'),
        (model(price={"input": "-1", "output": "1"}), "f.toml: models.\"gpt-4.1\".price.input: '-1' is not a price"),
        (model(price={"input": "1", "output": "1e3"}), "f.toml: models.\"gpt-4.1\".price.output: '1e3' is not a price"),
        (
            model(price={"input": "0.0000001", "output": "1"}),
            'f.toml: models."gpt-4.1".price.input: 0.0000001 USD per 1M tokens × 1 is not a whole number',
        ),
        (
            model(price={"input": "1", "output": "1", "valid_from": "2026-02-30"}),
            'f.toml: models."gpt-4.1".price.valid_from: expected a day such as',
        ),
        (
            model(price=[{"input": "1", "output": "1"}, {"input": "2", "output": "1"}]),
            'f.toml: models."gpt-4.1".price[2]: two prices are valid from the same day',
        ),
        ({"plans": {"pro": {"fee_usd": "20.-"}}}, "f.toml: plans.pro.fee_usd: '20.-' is not an amount of USD"),
        (
            {**model(), "plans": {"pro": {"limits": {"gpt-4-1": {"rpm": 3}}}}},
            'f.toml: plans.pro.limits.gpt-4-1: unknown model; did you mean "gpt-4.1"?',
        ),
        ({"plugins": {"enabled": "all"}}, "f.toml: plugins.enabled: expected a list of plugins' names"),
        ({"plugins": {"enabled": ["a", "a"]}}, "f.toml: plugins.enabled: names a plugin twice"),
        ({"plugins": {"console": True}}, "f.toml: plugins.console: expected a table with the plugin's settings"),
    ],
)
def test_values_that_cannot_work_are_refused(tables: dict[str, Any], says: str) -> None:
    (said,) = problems(tables)
    assert said.startswith(says)


@pytest.mark.parametrize("value", ["sk-proj-hunter2", "env:", "env:A B", "ENV:X", "bearer:other", 3, ["env:A"]])
def test_a_literal_secret_is_refused_with_a_hint_and_never_repeated(value: Any) -> None:
    (said,) = problems({"providers": {"p": {"plugin": "x", "api_key": value}}})
    assert said.startswith('f.toml: providers.p.api_key: a key does not stand in a configuration: write "env:NAME"')
    assert "hunter2" not in said


@pytest.mark.parametrize("value", ["env:OPENAI_API_KEY", "file:~/key", "file:/run/secrets/a b", "bearer:instance"])
def test_references_to_secrets_are_taken(value: str) -> None:
    assert problems({"providers": {"p": {"plugin": "x", "api_key": value}}}) == []


# ---------------------------------------------------------------- sections


class Own(msgspec.Struct, frozen=True):
    size: int = 1

    def __post_init__(self) -> None:
        if self.size > 9:
            raise ValueError("size is at most 9")


def test_sections_are_decoded_strictly() -> None:
    loaded = from_tables({"plugins": {"p": {"size": 4}, "big": {"size": 10}, "bad": {"siz": 1}}}, name="f.toml")
    assert loaded.section("plugins.p", Own) == Own(4)
    assert loaded.section("plugins.absent", Own) == Own(1)
    with pytest.raises(ConfigError, match=r"^f\.toml: plugins\.big: size is at most 9$"):
        loaded.section("plugins.big", Own)
    with pytest.raises(ConfigError, match=r'^f\.toml: plugins\.bad\.siz: unknown key; did you mean "size"\?$'):
        loaded.section("plugins.bad", Own)


# ---------------------------------------------------------------- showing


def test_what_is_shown_holds_no_secret() -> None:
    tables = {
        **OPENAI,
        "store": {"url": "postgresql://spl:hunter2@db/spl"},
        "plugins": {"x": {"api_token": "hunter2", "password": "env:PASS", "tokenizer": "o200k_base"}},
        "limits": {"url": "redis://:hunter2@hunter2@limits"},
        "providers": {"x": {"plugin": "x", "headers": {"cf-aig-authorization": "Bearer hunter2", "x-team": "hunter2"}}},
    }
    tables["providers"] |= OPENAI["providers"]
    shown = show(from_tables(tables))
    assert "hunter2" not in to_toml(shown)
    assert shown["store"]["url"] == "postgresql://spl:***@db/spl"
    assert shown["plugins"]["x"] == {"api_token": "***", "password": "env:PASS", "tokenizer": "o200k_base"}
    assert shown["providers"]["openai"]["api_key"] == "env:OPENAI_API_KEY"
    assert shown["providers"]["x"]["headers"] == {"cf-aig-authorization": "***", "x-team": "***"}
    assert shown["server"]["port"] == 8700


def test_the_shipped_configuration_shown_reads_back_the_same() -> None:
    loaded = load(default_config_path())
    again = from_tables(tomllib.loads(to_toml(show(loaded))))
    assert msgspec.structs.replace(loaded.config, include=()) == again.config


values = st.recursive(
    st.booleans() | st.integers(-(2**60), 2**60) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.é \"'\\\n", max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text("ab.é \"'", max_size=4), st.dictionaries(st.text("xy-", max_size=3), values, max_size=3))
)
def test_any_tables_written_as_toml_read_back_the_same(tables: dict[str, Any]) -> None:
    def without_empty(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        kept = {name: without_empty(each) for name, each in value.items()}
        return {name: each for name, each in kept.items() if each != {}}

    assert without_empty(tomllib.loads(to_toml(tables))) == without_empty(tables)


# ---------------------------------------------------------------- what is shipped


@pytest.mark.parametrize("path", sorted(shipped_folder().glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_configuration_is_good(path: Path) -> None:
    config = load(path).config
    assert config.catalogue or config.models


# ---------------------------------------------------------------- whatever is written

NAMES = """
    server port host header_prefix public_url trusted_proxies providers p plugin api_key models m routes provider model
    price input output valid_from catalogue plans limits rpm fee_usd plugins enabled tiers pricing include
"""
names = st.sampled_from(NAMES.split())
anything = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.dates() | st.text(max_size=6) | st.sampled_from(["free", "env:A"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(names, anything, max_size=5))
def test_whatever_is_configured_is_taken_or_refused_with_file_and_key(tables: dict[str, Any]) -> None:
    for said in problems(tables):
        assert said.startswith("f.toml: ")


def test_the_tokenizers_that_can_be_named_are_the_ones_that_are_shipped() -> None:
    named = get_args(get_type_hints(ModelConfig)["tokenizer"])[0]
    assert set(get_args(named)) == VOCABULARIES
