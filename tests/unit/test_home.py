"""The home: made, locked by one process, and where a running server is found."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway_core.errors import ConfigError, StoreLocked
from gateway_core.home import Home, RunningServer

HOLDER = """
import sys
from pathlib import Path
from gateway_core.home import Home, RunningServer
import os
home = Home(Path(sys.argv[1]))
with home.lock():
    if len(sys.argv) > 2:
        server = home.announced(RunningServer(url=sys.argv[2], pid=os.getpid(), boot="boot_1"))
        server.__enter__()
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(home: Path, *url: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home), *url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_is_made_for_its_owner_only(tmp_path: Path) -> None:
    home = Home(tmp_path / "a" / "b")
    home.ensure()
    home.ensure()
    assert home.path.stat().st_mode & 0o777 == 0o700


def test_what_is_not_a_directory_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match=r"is not a directory; name another with --home"):
            Home(path).ensure()


def test_what_cannot_be_written_is_said_so() -> None:
    # /proc refuses everybody, root too, which a directory's mode does not.
    with pytest.raises(ConfigError, match=r"the home /proc/spl cannot be written: .*; name another with --home"):
        Home(Path("/proc/spl")).ensure()


def test_one_process_holds_it_and_the_other_learns_who(tmp_path: Path) -> None:
    process = hold(tmp_path)
    with process, pytest.raises(StoreLocked, match=rf"in use by process {process.pid}: stop that first"):  # noqa: SIM117  # the lock is what raises
        with Home(tmp_path).lock(wait=0.1):
            pass
    with Home(tmp_path).lock(wait=0):
        pass


def test_a_server_is_named_by_its_address(tmp_path: Path) -> None:
    with hold(tmp_path, "http://127.0.0.1:8700") as process:
        home = Home(tmp_path)
        assert home.running() == RunningServer("http://127.0.0.1:8700", process.pid, "boot_1")
        with (
            pytest.raises(StoreLocked, match=rf"the server at http://127.0.0.1:8700 \(process {process.pid}\)"),
            home.lock(0),
        ):
            pass


def test_waits_for_one_that_ends(tmp_path: Path) -> None:
    process = hold(tmp_path)
    with process:
        assert process.stdin is not None
        process.stdin.close()
        with Home(tmp_path).lock(wait=30):
            pass


def test_a_killed_holder_leaves_nothing_that_counts(tmp_path: Path) -> None:
    with hold(tmp_path, "http://127.0.0.1:8700") as process:
        process.kill()
        process.wait()
    home = Home(tmp_path)
    assert home.server_file.exists()
    assert home.running() is None
    with home.lock(wait=0):
        pass


def test_the_note_is_there_while_it_serves(tmp_path: Path) -> None:
    home = Home(tmp_path)
    server = RunningServer("http://127.0.0.1:1", os.getpid(), "boot_2")
    assert home.running() is None
    with home.lock(), home.announced(server):
        assert home.running() == server
        assert home.server_file.stat().st_mode & 0o777 == 0o600
    assert not home.server_file.exists()


def test_a_note_that_makes_no_sense_is_no_server(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with home.lock():
        home.server_file.write_text('{"url": 1}')
        assert home.running() is None
