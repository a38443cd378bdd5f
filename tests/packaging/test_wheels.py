"""Every distribution builds, holds what it needs at run time, and works with the sources gone."""

import json
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Any

ENTRY_POINTS = """
import importlib.metadata, json
found = {point.name: point.value for point in importlib.metadata.entry_points(group="spl_gateway")}
for point in importlib.metadata.entry_points(group="spl_gateway"):
    point.load()
print(json.dumps(found))
"""


def metadata(wheel: Path) -> Any:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_core_wheel_holds_its_data(wheels: dict[str, Path], repository: Path) -> None:
    inside = names(wheels["spl-gateway"])
    wanted = {"gateway_core/py.typed"}
    wanted |= {f"gateway_core/conf/{path.name}" for path in (repository / "conf").glob("*.toml")}
    wanted |= {
        str(path.relative_to(repository))
        for path in (repository / "gateway_core").rglob("*")
        if path.is_file() and path.suffix in {".tiktoken", ".sql", ".html", ".css", ".js"}
    }
    assert len(wanted) > 3
    assert wanted <= inside
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in inside)


def test_wheels_hold_nothing_else(wheels: dict[str, Path], distributions: list[Any]) -> None:
    for distribution in distributions:
        packages = {name.split("/")[0] for name in names(wheels[distribution.name])}
        packages = {package for package in packages if not package.endswith(".dist-info")}
        expected = "gateway_core" if distribution.name == "spl-gateway" else distribution.name.replace("-", "_")
        assert packages == {expected}


def test_wheels_are_typed_licensed_and_described(wheels: dict[str, Path]) -> None:
    for name, wheel in wheels.items():
        assert any(inside.endswith("/py.typed") for inside in names(wheel)), name
        headers = metadata(wheel)
        # The console brings files of others', each with its licence.
        others = " AND MIT AND 0BSD" if name == "spl-console" else ""
        assert headers["License-Expression"] == f"Apache-2.0{others}", name
        assert headers["Requires-Python"] == ">=3.11", name
        assert headers["Summary"], name
        assert len(headers.get_payload()) > 100, f"{name} has no README"


def test_versions_are_one(wheels: dict[str, Path], distributions: list[Any]) -> None:
    assert len({metadata(wheel)["Version"] for wheel in wheels.values()}) == 1


def test_entry_points_load_from_the_wheels(installed: Any, distributions: list[Any]) -> None:
    declared: dict[str, str] = {}
    for distribution in distributions:
        declared |= distribution.project["entry-points"]["spl_gateway"]
    assert json.loads(installed.run("python", "-c", ENTRY_POINTS)) == declared
    where = installed.run("python", "-c", "import gateway_core; print(gateway_core.__file__)")
    assert Path(where.strip()).is_relative_to(installed.folder)


def test_the_installed_program_lists_its_plugins_and_answers_a_call(installed: Any, distributions: list[Any]) -> None:
    listed = json.loads(installed.run("spl", "plugins", "-o", "json"))
    declared = {name for distribution in distributions for name in distribution.project["entry-points"]["spl_gateway"]}
    assert {plugin["name"] for plugin in listed} == declared
    assert [plugin for plugin in listed if plugin["state"] != "on"] == []
    assert installed.run("spl", "chat", "demo", "Say three words").strip()
