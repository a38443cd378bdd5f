"""TOML files → one checked configuration that knows where each key came from."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gateway_core.config import Config
from gateway_core.config_checks import check_values
from gateway_core.config_decode import KeyPath, Problems, Sources, decode
from gateway_core.errors import ConfigError

if TYPE_CHECKING:
    from gateway_core.home import Home

T = TypeVar("T", bound=msgspec.Struct)

SHIPPED = "shipped:"
"""An include that begins with this names a file that came with the program."""

_HIDDEN = re.compile(r"(secret|password|passwd|token|api_?key|credential|pepper)$", re.IGNORECASE)
_REFERENCE = re.compile(r"(env|file|bearer):")
_URL_PASSWORD = re.compile(r"(?<=://)([^/@:\s]*:)[^/\s]+@")


class LoadedConfig(msgspec.Struct, frozen=True):
    """A configuration that was read and checked, and the files it stands in."""

    config: Config
    sources: Sources
    #: The merged tables as they were written: what plugins' sections are decoded from.
    raw: Mapping[str, Any] = {}
    #: The directory that relative paths are relative to.
    folder: Path = Path()

    def table(self, section: str) -> dict[str, Any] | None:
        """A section's table as written, e.g. "tiers.self-host"; None where there is none."""
        found: Any = self.raw
        for part in section.split("."):
            if not isinstance(found, dict) or part not in found:
                return None
            found = found[part]
        if not isinstance(found, dict):
            raise ConfigError("expected a table", where=self.sources.where(tuple(section.split("."))))
        return found

    def section(self, section: str, kind: type[T], *, without: frozenset[str] = frozenset()) -> T:
        """A section as a struct, checked strictly. Raises ConfigError naming file and key; absent means defaults.

        `without` are keys of the table that somebody else reads.
        """
        table = {name: value for name, value in (self.table(section) or {}).items() if name not in without}
        problems = Problems(self.sources)
        decoded = decode(table, kind, tuple(section.split(".")), problems)
        if decoded is None:
            raise problems.error()
        return decoded

    def error(self, section: str, message: str) -> ConfigError:
        """A ConfigError at a key, e.g. `error("bearers.user_key", "…")`."""
        return ConfigError(message, where=self.sources.where(tuple(section.split("."))))


def shipped_folder() -> Path:
    """The configurations that come with the program: in the wheel beside this module, else in the checkout."""
    inside = Path(__file__).parent / "conf"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "conf"


def default_config_path() -> Path:
    """What `spl serve` runs with no flag."""
    return shipped_folder() / "self-host.toml"


def load(
    path: Path | None = None, home: "Home | None" = None, overrides: Mapping[str, Any] | None = None
) -> LoadedConfig:
    """Reads `path`, else the home's config.toml where there is one, else the default.

    `overrides` are tables that win over the files, e.g. {"server": {"port": 0}} from the command line. Raises
    ConfigError, or ConfigProblems with everything that is wrong.
    """
    if path is None:
        path = home.config_path if home is not None and home.config_path.is_file() else default_config_path()
    reader = _Reader()
    reader.read(path, ())
    if overrides:
        reader.merge(overrides, "command line")
    return check(reader.tables, Sources(str(path), reader.origins), path.parent)


def check(tables: dict[str, Any], sources: Sources, folder: Path = Path()) -> LoadedConfig:
    """Decodes and checks merged tables."""
    problems = Problems(sources)
    config = decode(tables, Config, (), problems)
    if config is None:
        raise problems.error()
    check_values(config, problems)
    problems.check()
    return LoadedConfig(config, sources, tables, folder)


def from_tables(tables: Mapping[str, Any], *, name: str = "configuration", folder: Path = Path()) -> LoadedConfig:
    """A configuration from tables that are in memory, checked like a file."""
    reader = _Reader()
    reader.merge(tables, name)
    return check(reader.tables, Sources(name, reader.origins), folder)


class _Reader:
    """Reads a file after the files it includes; what is read later wins."""

    def __init__(self) -> None:
        self.tables: dict[str, Any] = {}
        self.origins: dict[KeyPath, str] = {}

    def read(self, path: Path, above: tuple[Path, ...]) -> None:
        real = path.resolve()
        if real in above:
            chain = " → ".join(str(each) for each in (*above[above.index(real) :], real))
            raise ConfigError(f"files include each other in a circle: {chain}", where=f"{path}: include")
        tables = _parse(path, above)
        included = tables.get("include", [])
        if not isinstance(included, list) or not all(isinstance(name, str) for name in included):
            raise ConfigError("expected a list of file names", where=f"{path}: include")
        for name in included:
            self.read(_included(name, path.parent), (*above, real))
        self.merge(tables, str(path))

    def merge(self, tables: Mapping[str, Any], origin: str) -> None:
        _merge(self.tables, tables, (), origin, self.origins)


def _parse(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    where = f"{above[-1]}: include" if above else str(path)
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        raise ConfigError(f"there is no file {path}", where=where) from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", where=where) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8 text (byte {error.start})", where=str(path)) from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"^(.*?) \(at line (\d+), column (\d+)\)$", str(error), re.DOTALL)
        if found is None:
            raise ConfigError(f"not TOML: {error}", where=str(path)) from None
        raise ConfigError(f"not TOML: {found[1]}", where=f"{path}, line {found[2]}, column {found[3]}") from None


def _included(name: str, folder: Path) -> Path:
    if name.startswith(SHIPPED):
        return shipped_folder() / name.removeprefix(SHIPPED)
    return folder / Path(name).expanduser()


def _merge(
    into: dict[str, Any], tables: Mapping[str, Any], path: KeyPath, origin: str, origins: dict[KeyPath, str]
) -> None:
    for name, value in tables.items():
        here = (*path, name)
        origins[here] = origin
        if isinstance(value, Mapping):
            below = into.get(name)
            target: dict[str, Any] = below if isinstance(below, dict) else {}
            into[name] = target
            _merge(target, value, here, origin, origins)
        else:
            into[name] = value


def show(loaded: LoadedConfig) -> dict[str, Any]:
    """The configuration in effect, defaults included, as plain tables; nothing in it is a secret."""
    tables = _without_secrets(msgspec.to_builtins(loaded.config))
    tables.pop("include", None)
    return tables  # type: ignore[no-any-return]  # a struct becomes a dict


def _without_secrets(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        # A header's name does not tell whether it carries a credential.
        return {
            key: _without_secrets(each, "secret" if name == "headers" else key)
            for key, each in value.items()
            if each is not None
        }
    if isinstance(value, (list, tuple)):
        return [_without_secrets(each, name) for each in value]
    if isinstance(value, str):
        if _HIDDEN.search(name) and not _REFERENCE.match(value):
            return "***"
        return _URL_PASSWORD.sub(r"\1***@", value)
    return value


def to_toml(tables: Mapping[str, Any]) -> str:
    """Plain tables as TOML text, e.g. what `show` gives."""
    lines: list[str] = []
    _write(tables, (), lines)
    return "\n".join(lines).strip() + "\n"


def _write(tables: Mapping[str, Any], path: KeyPath, lines: list[str]) -> None:
    plain = {name: value for name, value in tables.items() if not isinstance(value, Mapping)}
    if path and plain:
        lines += ["", f"[{_toml_key(path)}]"]
    lines += [f"{_toml_key((name,))} = {_toml_value(value)}" for name, value in plain.items()]
    for name, value in tables.items():
        if isinstance(value, Mapping):
            _write(value, (*path, name), lines)


def _toml_key(path: KeyPath) -> str:
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]+", part, re.ASCII) else _toml_value(part) for part in path)


def _toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml_key((name,))} = {_toml_value(each)}" for name, each in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml_value(each) for each in value) + "]"
    if isinstance(value, str):
        return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
    if isinstance(value, (bool, int, float)):
        return msgspec.json.encode(value).decode()
    return str(value)
