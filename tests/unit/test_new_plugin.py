"""scripts/new-plugin: what it makes passes lint, types and its own test as it stands."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environ})


def new_plugin(name: str, into: Path) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, ROOT / "scripts" / "new-plugin", name, "--into", into)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A new plugin in a checkout without any other."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "gateway_core").symlink_to(ROOT / "gateway_core")
    assert new_plugin("my-probe", tmp_path / "plugins").returncode == 0
    return tmp_path / "plugins" / "my-probe"


def test_its_own_tests_pass(made: Path) -> None:
    done = run(
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        ROOT / "pyproject.toml",
        made,
        PYTHONPATH=f"{made / 'src'}",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_lint_and_format_are_clean(made: Path) -> None:
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        done = run(sys.executable, "-m", "ruff", *command, made)
        assert done.returncode == 0, done.stdout + done.stderr


def test_types_are_strict(made: Path, tmp_path: Path) -> None:
    done = run(
        sys.executable,
        "-m",
        "mypy",
        "--cache-dir",
        tmp_path / "cache",
        "--follow-imports=silent",
        made / "src",
        MYPYPATH=f"{made / 'src'}",
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_bad_name_and_a_folder_that_is_there_are_refused(made: Path) -> None:
    assert new_plugin("My Probe", made.parent).stderr.startswith('new-plugin: "My Probe" is no name')
    again = new_plugin("my-probe", made.parent)
    assert again.returncode == 1
    assert "is there already" in again.stderr
