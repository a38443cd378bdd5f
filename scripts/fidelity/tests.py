"""The tests that hold entries, found by their names: `test_M1_…`, `test_O2_O3_…`; run, where asked for."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import pytest

from scripts.fidelity.entries import PROVIDERS, ROOT

NAME = re.compile(r"test_((?:[A-Z]\d+_)+)")
CLIENTS = "tests/clients/"
PLACES = ("tests/fidelity", CLIENTS, *(f"plugins/provider-{provider}/tests" for provider in PROVIDERS))


@dataclass
class Held:
    """The tests of one entry in one column."""

    tests: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


class _Recorder:
    """Learns from pytest which tests there are, and how they ended."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.failed: set[str] = set()
        self.skipped: set[str] = set()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keeps those that hold an entry, and the clients'."""
        items[:] = [item for item in items if NAME.match(item.name) or item.nodeid.startswith(CLIENTS)]
        self.found = [item.nodeid for item in items]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notes what went otherwise."""
        if report.failed:
            self.failed.add(report.nodeid)
        elif report.skipped:
            self.skipped.add(report.nodeid)


def ids_of(node: str, clients: Mapping[str, tuple[str, ...]] = MappingProxyType({})) -> tuple[str, ...]:
    """The entries that a test holds: those it names, and those whose client it runs (`clients`: id → its names)."""
    found = NAME.match(node.partition("[")[0].rpartition("::")[2])
    if found:
        return tuple(found[1].rstrip("_").split("_"))
    if not node.startswith(CLIENTS):
        return ()
    return tuple(name for name, words in clients.items() if any(word in node.lower() for word in words))


def columns_of(node: str) -> tuple[str, ...]:
    """The columns that a test counts for: by its folder, by the provider among its parameters, by its module."""
    path, _, name = node.partition("::")
    folder = next((provider for provider in PROVIDERS if path.startswith(f"plugins/provider-{provider}/")), None)
    if folder is not None:
        return (folder,)
    if path.startswith(CLIENTS):
        return ("clients",)
    parameters = re.split(r"[^a-z]+", name.partition("[")[2])
    named = tuple(provider for provider in PROVIDERS if provider in parameters)
    if named:
        return named
    module = path.rpartition("/")[2]
    return tuple(column for column in (*PROVIDERS, "gateway") if module.startswith(f"test_{column}_")) or ("gateway",)


def held(
    nodes: Iterable[str],
    failed: Iterable[str] = (),
    skipped: Iterable[str] = (),
    clients: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> dict[tuple[str, str], Held]:
    """(entry's id, column) → its tests."""
    lost, passed_by = set(failed), set(skipped)
    table: dict[tuple[str, str], Held] = {}
    for node in nodes:
        for name in ids_of(node, clients):
            for column in columns_of(node):
                one = table.setdefault((name, column), Held())
                one.tests.append(node)
                if node in lost:
                    one.failed.append(node)
                elif node in passed_by:
                    one.skipped.append(node)
    return table


def find(*, run: bool, clients: Mapping[str, tuple[str, ...]]) -> Mapping[tuple[str, str], Held]:
    """Finds the tests, and runs them where asked to. Raises RuntimeError where they cannot be found."""
    recorder = _Recorder()
    places = [str(ROOT / place) for place in PLACES if (ROOT / place).is_dir()]
    quiet = ["-q", "--no-header", "-p", "no:cacheprovider", f"--rootdir={ROOT}"]
    arguments = [*quiet, *([] if run else ["--collect-only", "-qq"]), *places]
    status = pytest.main(arguments, plugins=[recorder])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise RuntimeError(f"pytest ended with {status!r}")
    return held(recorder.found, recorder.failed, recorder.skipped, clients)
