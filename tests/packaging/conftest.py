"""Our distributions as their users get them: built wheels in a virtual environment with no sources on its path."""

import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Distribution:
    """One folder with a pyproject.toml."""

    folder: Path
    pyproject: Mapping[str, Any]

    @property
    def project(self) -> Mapping[str, Any]:
        table: Mapping[str, Any] = self.pyproject["project"]
        return table

    @property
    def name(self) -> str:
        return str(self.project["name"])


@dataclass(frozen=True)
class Installed:
    """A virtual environment with our wheels; third-party packages come from the one that runs the tests."""

    folder: Path
    home: Path

    def run(self, *command: str) -> str:
        """What a program of its prints, run from a folder without sources."""
        done = subprocess.run(
            [str(self.folder / "bin" / command[0]), *command[1:]],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "SPL_HOME": str(self.home)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
        return done.stdout


def read_distributions() -> list[Distribution]:
    """The core first, then every plugin."""
    folders = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
    return [Distribution(folder, tomllib.loads((folder / "pyproject.toml").read_text())) for folder in folders]


@pytest.fixture(scope="session")
def repository() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def distributions() -> list[Distribution]:
    return read_distributions()


@pytest.fixture(scope="session")
def wheels(distributions: list[Distribution], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each distribution's wheel by its name, built with what is installed and no network."""
    out = tmp_path_factory.mktemp("wheels")
    built = {}
    for distribution in distributions:
        folder = out / distribution.name
        uv = str(Path(sys.executable).with_name("uv"))
        command = [uv, "build", "--wheel", "--offline", "--no-build-isolation", "--python", sys.executable]
        done = subprocess.run(
            [*command, "--out-dir", str(folder), str(distribution.folder)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{distribution.name}:\n{done.stderr}"
        (built[distribution.name],) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """All our wheels, installed where nothing else of ours is."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    command = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--offline", "--no-deps"]
    subprocess.run(
        [*command, "--python", str(python), *map(str, wheels.values())], check=True, capture_output=True, text=True
    )
    # A path file names third-party packages; path files in there, those of our editable sources, are not followed.
    own = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (own / "third-party.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return Installed(folder, folder.parent / "home")
