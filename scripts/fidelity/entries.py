"""The entries: read from tests/fidelity/entries.toml, and held to the specification where that is at hand."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIST = ROOT / "tests" / "fidelity" / "entries.toml"
SPECIFICATION = ROOT.parent / "shared" / "spec" / "fidelity.md"
PROVIDERS = ("openai", "anthropic", "gemini")
COLUMNS = (*PROVIDERS, "gateway", "clients")

_ENTRY = re.compile(r"\*\*([A-Z]\d+)(?:/([A-Z]\d+))? (P\d)")
_ASIDE = re.compile(r"(P\d): [^*]*?\((X\d+)\)")
_CLIENT = re.compile(r"\b(C\d+) [a-zA-Z]")


@dataclass(frozen=True)
class Entry:
    """One thing that must hold, and where."""

    id: str
    priority: str
    line: str
    columns: tuple[str, ...]
    #: Column → why the entry does not hold there.
    exceptions: dict[str, str]
    #: Parts of a test's name or module that make it hold the entry: for clients, which are tests by themselves.
    clients: tuple[str, ...] = ()

    @property
    def needed(self) -> bool:
        """Whether every one of its columns must have a test."""
        return self.priority in ("P0", "P1")


def read_entries(path: Path = LIST) -> dict[str, Entry]:
    """All of them, by id, in the list's order."""
    return {name: _entry(name, table) for name, table in tomllib.loads(path.read_text()).items()}


def _entry(name: str, table: dict[str, Any]) -> Entry:
    exceptions = {column: table[f"not_{column}"] for column in COLUMNS if f"not_{column}" in table}
    columns = tuple(column for column in table.get("columns", PROVIDERS) if column not in exceptions)
    unknown = set(table) - {"priority", "line", "columns", "clients", *(f"not_{column}" for column in COLUMNS)}
    if unknown or not set(columns) <= set(COLUMNS) or not columns:
        raise ValueError(f"{LIST.name}: {name} is not an entry: {sorted(unknown) or columns}")
    return Entry(name, table["priority"], table["line"], columns, exceptions, tuple(table.get("clients", ())))


def specified(text: str) -> dict[str, str]:
    """Every id in the specification's text, with its priority."""
    found = {name: priority for *names, priority in _ENTRY.findall(text) for name in names if name}
    found.update((name, priority) for priority, name in _ASIDE.findall(text))
    found.update((name, "P0") for name in _CLIENT.findall(text))
    return found


def differences(entries: dict[str, Entry]) -> list[str]:
    """Where the list and the specification do not agree; nothing where the specification is not at hand."""
    if not SPECIFICATION.is_file():
        return []
    asked = specified(SPECIFICATION.read_text())
    unlike = [name for name in asked if name not in entries]
    unlike += [name for name in entries if name not in asked]
    unlike += [name for name, entry in entries.items() if name in asked and asked[name] < entry.priority]
    return unlike
