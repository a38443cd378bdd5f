"""What holds over the whole checkout: pins, reasons for dependencies, and nothing of the machine it was made on."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

# In two halves, so that this file does not name what it looks for.
HOSTS = (
    "py" + "pi.org",
    "python" + "hosted",
    "npm" + "js.",
    "files." + "python",
    "crates" + ".io",
    "proxy.golang" + ".org",
)
PLACES = re.compile(r"(?<![\w.])/(?:wo" + r"rk|ro" + r"ot|home/\w+)/")
DATA = (".tiktoken",)


def committed(repository: Path) -> Iterator[tuple[str, str]]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=repository, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        path = repository / name
        if path.is_file() and not name.endswith(DATA):
            yield name, path.read_text(errors="replace")


def requirements(distributions: list[Any]) -> dict[str, list[Requirement]]:
    """Everything that any pyproject.toml asks for that is not ours, by canonical name."""
    found: dict[str, list[Requirement]] = {}
    own = {canonicalize_name(distribution.name) for distribution in distributions}
    for distribution in distributions:
        asked = [*distribution.project.get("dependencies", []), *distribution.pyproject["build-system"]["requires"]]
        for group in distribution.project.get("optional-dependencies", {}).values():
            asked += group
        for group in distribution.pyproject.get("dependency-groups", {}).values():
            asked += group
        for line in asked:
            requirement = Requirement(line)
            if canonicalize_name(requirement.name) not in own:
                found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


@pytest.mark.service("git")
def test_nothing_committed_names_a_registry_or_this_machine(repository: Path) -> None:
    offending = []
    for name, text in committed(repository):
        for number, line in enumerate(text.splitlines(), 1):
            if any(host in line for host in HOSTS) or PLACES.search(line):
                offending.append(f"{name}:{number}: {line.strip()[:100]}")
    assert offending == []


def test_pins_cover_every_dependency(repository: Path, distributions: list[Any]) -> None:
    text = (repository / "conf" / "constraints.txt").read_text()
    found = re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE)
    pins = {canonicalize_name(name): Version(version) for name, version in found}
    for name, asked in requirements(distributions).items():
        assert name in pins, f"{name} is not pinned; run scripts/pin"
        for requirement in asked:
            assert requirement.specifier.contains(pins[name]), f"{requirement} is pinned to {pins[name]}"


def test_every_pin_has_hashes_and_none_is_ours(repository: Path, distributions: list[Any]) -> None:
    text = (repository / "conf" / "constraints.txt").read_text()
    blocks = re.split(r"\n(?=[\w])", text.split("\n", 1)[1])
    pinned = [block for block in blocks if "==" in block.split("\n")[0]]
    assert len(pinned) > 20
    assert [block.split("\n")[0] for block in pinned if "--hash=sha256:" not in block] == []
    own = {distribution.name for distribution in distributions}
    assert own.isdisjoint(block.split("==")[0] for block in pinned)


def test_plugins_fit_the_core(distributions: list[Any]) -> None:
    core = Version(distributions[0].project["version"])
    for distribution in distributions[1:]:
        asked = [Requirement(line) for line in distribution.project["dependencies"]]
        (ours,) = [requirement for requirement in asked if requirement.name == "spl-gateway"]
        assert ours.specifier.contains(core), distribution.name


def test_lower_bounds_only(distributions: list[Any]) -> None:
    for name, asked in requirements(distributions).items():
        for requirement in asked:
            assert {specifier.operator for specifier in requirement.specifier} <= {">="}, name


def test_every_dependency_has_its_reason(repository: Path, distributions: list[Any]) -> None:
    pages = "\n".join(path.read_text() for path in sorted((repository / "docs" / "decisions").glob("*.md")))
    headings = re.findall(r"^#+ (.+)$", pages, re.MULTILINE)
    headed = {canonicalize_name(word) for heading in headings for word in re.findall(r"[\w.-]+", heading)}
    assert sorted(set(requirements(distributions)) - headed) == []


def test_tool_settings_stand_in_one_place(repository: Path) -> None:
    for path in repository.glob("plugins/*/pyproject.toml"):
        assert set(tomllib.loads(path.read_text()).get("tool", {})) <= {"hatch"}, path


@pytest.mark.service("git")
def test_every_link_in_the_documentation_leads_somewhere(repository: Path) -> None:
    pages = [(name, text) for name, text in committed(repository) if name.endswith(".md")]
    links = [(name, target) for name, text in pages for target in re.findall(r"\]\(([^)#\s]+)", text)]
    inside = [(name, target) for name, target in links if "://" not in target]
    assert len(inside) > 20
    assert [(name, target) for name, target in inside if not (repository / name).parent.joinpath(target).exists()] == []
