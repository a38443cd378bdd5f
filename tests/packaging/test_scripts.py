"""The verbs set themselves up, from anywhere, and say what is missing. Nothing here needs a network."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a space in its path: the scripts, a core, one plugin."""
    root = tmp_path / "a checkout"
    (root / "plugins" / "one").mkdir(parents=True)
    (root / "conf").mkdir()
    shutil.copytree(ROOT / "scripts", root / "scripts")
    (root / "pyproject.toml").write_text('[project]\nname = "core"\n')
    (root / "plugins" / "one" / "pyproject.toml").write_text('[project]\nname = "one"\n')
    (root / "conf" / "constraints.txt").write_text("uv==1.0 \\\n    --hash=sha256:00\n")
    return root


@pytest.fixture
def setup(checkout: Path) -> ModuleType:
    """That checkout's setup.py."""
    spec = importlib.util.spec_from_file_location("checkout_setup", checkout / "scripts" / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_ready(setup: ModuleType, group: str, says: str = "") -> None:
    """What a set-up that came to its end leaves behind; its `spl` prints what it was called with."""
    binaries = setup.VENV / "bin"
    binaries.mkdir(parents=True)
    setup.PYTHON.symlink_to(os.path.realpath(sys.executable))
    program = binaries / "spl"
    program.write_text('#!/bin/sh\nfor argument in "$@"; do echo "<$argument>"; done\n' + says)
    program.chmod(0o755)
    stamp = {"group": group, "inputs": setup.inputs(), "root": str(setup.ROOT), "python": setup.VERSION}
    setup.STAMP.write_text(json.dumps(stamp))


def run(command: Path, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(command), *arguments], cwd="/", env={**os.environ, **env}, capture_output=True, text=True, check=False
    )


def test_a_checkout_that_is_set_up_does_nothing_but_serve(checkout: Path, setup: ModuleType) -> None:
    make_ready(setup, "run")
    done = run(checkout / "scripts" / "serve", "--config", "a file.toml", "", HOME="/nonexistent")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["<serve>", "<--config>", "<a file.toml>", "<>"]


def test_what_is_set_up_for_development_serves_too(setup: ModuleType) -> None:
    make_ready(setup, "dev")
    assert setup.ready("dev")
    assert setup.ready("run")


def test_what_is_set_up_to_serve_lacks_the_tools(setup: ModuleType) -> None:
    make_ready(setup, "run")
    assert setup.ready("run")
    assert not setup.ready("dev")


@pytest.mark.parametrize(
    "changed", ["pyproject.toml", "plugins/one/pyproject.toml", "plugins/two/pyproject.toml", "conf/constraints.txt"]
)
def test_a_changed_input_asks_for_a_set_up(checkout: Path, setup: ModuleType, changed: str) -> None:
    make_ready(setup, "dev")
    file = checkout / changed
    file.parent.mkdir(exist_ok=True)
    file.write_text("# changed\n")
    assert not setup.ready("run")


@pytest.mark.parametrize("broken", ["python", "spl"])
def test_a_broken_environment_asks_for_a_set_up(setup: ModuleType, broken: str) -> None:
    make_ready(setup, "dev")
    (setup.VENV / "bin" / broken).unlink()
    assert not setup.ready("run")


def test_a_moved_checkout_asks_for_a_set_up(setup: ModuleType) -> None:
    make_ready(setup, "dev")
    stamp = json.loads(setup.STAMP.read_text())
    setup.STAMP.write_text(json.dumps(stamp | {"root": "/elsewhere"}))
    assert not setup.ready("run")


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_damaged_stamp_asks_for_a_set_up(setup: ModuleType, content: str) -> None:
    make_ready(setup, "dev")
    setup.STAMP.write_text(content)
    assert not setup.ready("run")


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        (None, "no python3 at all"),
        ("is 3.9.2", "python3 is 3.9.2"),
        ("has no venv module", "python3 has no venv module"),
    ],
)
def test_says_which_python_is_missing(checkout: Path, tmp_path: Path, says: str | None, expected: str) -> None:
    path = tmp_path / "bin"
    path.mkdir()
    for tool in ("sh", "dirname", "readlink", "basename", "cat"):
        found = shutil.which(tool)
        assert found is not None
        (path / tool).symlink_to(found)
    if says is not None:
        (path / "python3").write_text(f"#!/bin/sh\necho '{says}'\n")
        (path / "python3").chmod(0o755)
    done = run(checkout / "scripts" / "serve", PATH=str(path), SPL_PYTHON="")
    assert done.returncode == 1
    assert "needs Python 3.11 or later" in done.stderr
    assert expected in done.stderr


def test_no_registry_is_named_when_a_set_up_fails(setup: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    said = "Failed to fetch: `https://user:secret@mirror.example.com/simple/uv/`\nPool(host='mirror', port=443)"
    with pytest.raises(SystemExit):
        setup.require(subprocess.CompletedProcess([], 1, "", said), "installing")
    shown = capsys.readouterr().err
    assert "installing failed" in shown
    assert "mirror" not in shown
    assert "secret" not in shown


def test_one_set_up_at_a_time(setup: ModuleType, checkout: Path) -> None:
    probe = f"import fcntl, os; fcntl.flock(os.open({str(checkout)!r}, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    with setup.locked():
        assert not setup.works([sys.executable, "-c", probe])
    assert setup.works([sys.executable, "-c", probe])
