"""Imports run one way: edge → pipeline → dispatch, ports → types; and nothing imports a plugin."""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "gateway_core"
PLUGINS = ROOT / "plugins"

#: From the bottom up; a module may import its own layer and those below. A package stands for all in it.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "money", "ids", "clock", "slots", "files", "key_text"),
    ("types", "config", "config_decode", "config_checks"),
    (
        "audit",
        "chain",
        "pricing",
        "request_policy",
        "plans",
        "invoice",
        "invoice_page",
        "billing",
        "home",
        "keyring",
        "eddsa",
        "jwt",
        "heads",
        "key_sets",
        "signing",
        "sealing",
        "stand_ins",
        "ports",
        "store_ports",
        "hookspecs",
        "services",
        "interrupt",
        "config_file",
    ),
    (
        "plugins",
        "dispatch",
        "models",
        "providers",
        "routes",
        "wire",
        "tokens",
        "upstream",
        "store",
        "limits",
        "bearers",
        "instances",
    ),
    (
        "callers",
        "standing",
        "logs",
        "media",
        "memory",
        "breaker",
        "route_health",
        "attempts",
        "delivery",
        "live",
        "outbox_queue",
        "outbox",
        "retention",
        "settle",
        "losses",
        "usage",
        "clients",
        "outflow",
        "sharing",
        "idempotency",
        "gates",
    ),
    ("pipeline",),
    ("edge",),
    ("gateway",),
    ("cli", "testing"),
)
#: What a plugin may import of the core.
FOR_PLUGINS = {"hookspecs", "ports", "store_ports", "types", "errors", "money", "pricing", "services", "testing"}
#: What plugins of one kind need besides, and why.
ALSO = {
    "provider-demo": {"wire", "tokens", "upstream"},  # a provider is written with the core's wire and upstream parts
    "provider-anthropic": {"wire", "upstream"},
    "provider-gemini": {"wire", "upstream"},
    "provider-openai": {"wire", "tokens", "upstream"},
    "console": {"chain"},  # a record's page says whether its hash follows from the one before
}


def sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "tests" not in path.relative_to(folder).parts)


def imported(path: Path, *, late: bool = True) -> Iterator[str]:
    """Full names that a module imports: what stands under TYPE_CHECKING does not count, what stands in functions
    only where `late`."""
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not late:
            continue
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            pending += ast.iter_child_nodes(node)


def part_of(name: str) -> str | None:
    """The part of the core that a full name belongs to, e.g. "wire" for gateway_core.wire.chat.decode_request."""
    head, _, rest = name.partition(".")
    return rest.partition(".")[0] if head == "gateway_core" and rest else None


def rank(part: str) -> int:
    return next(place for place, layer in enumerate(LAYERS) if part in layer)


def test_every_part_of_the_core_has_a_layer() -> None:
    parts = {path.relative_to(CORE).parts[0].removesuffix(".py") for path in sources(CORE)} - {"__init__"}
    assert parts - {part for layer in LAYERS for part in layer} == set()


@pytest.mark.parametrize("path", sources(CORE), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_its_own_layer_and_those_below(path: Path) -> None:
    part = path.relative_to(CORE).parts[0].removesuffix(".py")
    if part == "__init__":
        assert not list(imported(path))
        return
    above = {
        name
        for name in imported(path)
        if (other := part_of(name)) is not None and not other.startswith("__") and rank(other) > rank(part)
    }
    assert above == set()


def test_the_core_has_no_circle_of_imports() -> None:
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in sources(CORE)
    }
    graph: dict[str, set[str]] = {}
    for path in sources(CORE):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        graph[name] = {
            target
            for full in imported(path, late=False)
            for target in (full, full.rpartition(".")[0])
            if target in modules and target not in (name, "gateway_core")
        }
    graphlib.TopologicalSorter(graph).prepare()


def test_nothing_imports_a_plugin() -> None:
    packages = {path.name for path in PLUGINS.glob("*/src/*") if path.is_dir()}
    assert packages
    for path in sources(CORE):
        assert {name.partition(".")[0] for name in imported(path)} & packages == set(), path
    for plugin in PLUGINS.iterdir():
        own = {path.name for path in plugin.glob("src/*")}
        for path in sources(plugin / "src"):
            assert {name.partition(".")[0] for name in imported(path)} & (packages - own) == set(), path


@pytest.mark.parametrize("plugin", sorted(path.parent.name for path in PLUGINS.glob("*/pyproject.toml")))
def test_a_plugin_imports_only_what_is_for_plugins(plugin: str) -> None:
    allowed = FOR_PLUGINS | ALSO.get(plugin, set())
    for path in sources(PLUGINS / plugin / "src"):
        used = {part for name in imported(path) if (part := part_of(name)) is not None}
        assert used <= allowed, path
