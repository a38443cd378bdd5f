"""TOML values → structs, with every problem collected and named by file, key and the nearest valid key."""

import difflib
import math
import re
import types
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from gateway_core.errors import ConfigError, ConfigProblems

KeyPath = tuple[str, ...]
T = TypeVar("T", bound=msgspec.Struct)

_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}
_GOT = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list", dict: "a table"}


def dotted(path: KeyPath) -> str:
    """The key as TOML writes it, e.g. `models."gpt-4.1".routes[1].provider`; the first of a list is [1]."""
    text = ""
    for part in path:
        if part.startswith("["):
            text += part
        else:
            text += ("." if text else "") + (part if _BARE.fullmatch(part) else f'"{part}"')
    return text


def item(index: int) -> str:
    """The part of a key's path that stands for one entry of a list."""
    return f"[{index + 1}]"


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say after an unknown name: the nearest known one, or a few of them; empty where there is none."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f'; did you mean "{close[0]}"?'
    if not names:
        return ""
    shown = ", ".join(names[:8])
    return f"; known: {shown}{', …' if len(names) > 8 else ''}"


class Sources(msgspec.Struct, frozen=True):
    """Which file each key was read from."""

    #: The file that was asked for.
    file: str
    origins: Mapping[KeyPath, str] = {}

    def where(self, path: KeyPath) -> str:
        """ "file: key", as an operator would look for it."""
        for length in range(len(path), 0, -1):
            origin = self.origins.get(path[:length])
            if origin is not None:
                return f"{origin}: {dotted(path)}"
        return f"{self.file}: {dotted(path)}" if path else self.file


class Problems:
    """Collects what is wrong, so that an operator sees all of it at once."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.found: list[ConfigError] = []

    def add(self, path: KeyPath, message: str) -> None:
        """Notes one problem at a key."""
        self.found.append(ConfigError(message, where=self.sources.where(path)))

    def unknown(self, path: KeyPath, known: Collection[str], what: str = "key", *, name: str | None = None) -> None:
        """Notes a name that nothing knows, with the nearest that is known. `name` where it is not the key itself."""
        if name is None:
            self.add(path, f"unknown {what}{nearest(path[-1], known)}")
        else:
            self.add(path, f'unknown {what} "{name}"{nearest(name, known)}')

    def error(self) -> ConfigError:
        """What was found: one ConfigError, or ConfigProblems for several."""
        return self.found[0] if len(self.found) == 1 else ConfigProblems(self.found)

    def check(self) -> None:
        """Raises what was found, if anything was."""
        if self.found:
            raise self.error()


def decode(raw: Any, kind: type[T], path: KeyPath, problems: Problems) -> T | None:
    """`raw` as a `kind`; None where it is not one, and `problems` says why."""
    before = len(problems.found)
    _check(raw, kind, path, problems)
    if len(problems.found) > before:
        return None
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        problems.add(path, _say(str(error)))
        return None


def _check(raw: Any, kind: Any, path: KeyPath, problems: Problems) -> None:
    origin = get_origin(kind)
    if origin is Annotated:
        base = get_args(kind)[0]
        if get_origin(base) is None and not _is_struct(base):
            _check_leaf(raw, kind, path, problems)
        else:
            _check(raw, base, path, problems)
    elif _is_struct(kind):
        _check_struct(raw, kind, path, problems)
    elif origin in (Union, types.UnionType):
        _check_union(raw, get_args(kind), path, problems)
    elif origin in (tuple, list, set, frozenset, Sequence):
        _check_list(raw, get_args(kind), path, problems)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        _check_table(raw, get_args(kind)[1], path, problems)
    elif origin is Literal:
        _check_choice(raw, get_args(kind), path, problems)
    else:
        _check_leaf(raw, kind, path, problems)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _check_struct(raw: Any, kind: type[msgspec.Struct], path: KeyPath, problems: Problems) -> None:
    if not isinstance(raw, dict):
        problems.add(path, f"expected a table, got {_got(raw)}")
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, value in raw.items():
        if name in fields:
            _check(value, fields[name].type, (*path, name), problems)
        else:
            problems.unknown((*path, name), fields)
    for name, field in fields.items():
        if field.required and name not in raw:
            problems.add(path, f'the key "{name}" is missing')


def _check_union(raw: Any, members: Sequence[Any], path: KeyPath, problems: Problems) -> None:
    """Descends into the member that the value's shape fits, so that a problem is named as deep as it lies."""
    wanted = [member for member in members if member is not type(None)]
    structs = [member for member in wanted if _is_struct(member)]
    lists = [member for member in wanted if get_origin(member) in (tuple, list, set, frozenset)]
    others = [member for member in wanted if member not in structs and member not in lists]
    if len(wanted) == 1:
        _check(raw, wanted[0], path, problems)
    elif isinstance(raw, dict) and structs:
        _check(raw, structs[0], path, problems)
    elif isinstance(raw, list) and lists:
        _check(raw, lists[0], path, problems)
    elif len(others) == 1 and isinstance(raw, str):
        _check(raw, others[0], path, problems)
    else:
        _check_leaf(raw, Union[tuple(wanted)], path, problems)  # noqa: UP007  # the members are known at run time only


def _check_list(raw: Any, members: Sequence[Any], path: KeyPath, problems: Problems) -> None:
    if not isinstance(raw, list):
        problems.add(path, f"expected a list, got {_got(raw)}")
        return
    for index, value in enumerate(raw):
        _check(value, members[0], (*path, item(index)), problems)


def _check_table(raw: Any, kind: Any, path: KeyPath, problems: Problems) -> None:
    if not isinstance(raw, dict):
        problems.add(path, f"expected a table, got {_got(raw)}")
        return
    if kind is not Any:
        for name, value in raw.items():
            _check(value, kind, (*path, name), problems)


def _check_choice(raw: Any, choices: Sequence[Any], path: KeyPath, problems: Problems) -> None:
    if raw not in choices:
        shown = " or ".join(f'"{choice}"' for choice in choices)
        problems.add(path, f"expected {shown}, got {'something else' if isinstance(raw, str) else _got(raw)}")


def _check_leaf(raw: Any, kind: Any, path: KeyPath, problems: Problems) -> None:
    if isinstance(raw, float) and not math.isfinite(raw):
        problems.add(path, "expected a finite number")
        return
    try:
        msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        problems.add(path, _say(str(error)))


def _got(raw: Any) -> str:
    return _GOT.get(type(raw), type(raw).__name__)


def _say(message: str) -> str:
    """msgspec's message in this program's words: the value itself is never repeated, it may be a secret."""
    words = re.compile(r"`([\w |]+)`")
    text = words.sub(lambda found: " or ".join(_WORDS.get(each, each) for each in found[1].split(" | ")), message)
    text = text.partition(" - at ")[0]
    return text[:1].lower() + text[1:]
