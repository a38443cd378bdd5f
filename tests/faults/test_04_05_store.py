"""Faults 4 and 5 on the real program: a store that somebody else has, or that is damaged."""

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from gateway_core.testing.line import line
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.server import PATIENCE, SPL


def test_04_a_second_server_on_a_home_is_refused_by_name(tmp_path: Path, openai_upstream: UpstreamHandle) -> None:
    with line(tmp_path / "home", openai_upstream) as served:
        command = [str(SPL), "--home", str(served.gateway.home), "serve", "--port", "0"]
        second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert second.returncode != 0
        assert f"the server at {served.gateway.url} (process {served.gateway.process.pid})" in second.stderr
        assert served.call().status_code == 200


def test_04_a_store_that_another_program_locks_is_waited_for_and_then_refused(
    tmp_path: Path, openai_upstream: UpstreamHandle
) -> None:
    with line(tmp_path / "home", openai_upstream) as served:
        told = served.call()
        with closing(sqlite3.connect(served.gateway.home / "store.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            locked = served.call()
            assert (locked.status_code, locked.json()["error"]["code"]) == (503, "internal_error")
            asked = len(served.upstream.log())
            assert not served.ready()
            assert served.call(stream=True).status_code == 503
            assert len(served.upstream.log()) == asked
            other.execute("ROLLBACK")
        served.wait_until_ready()
        assert served.call().status_code == 200
        rows = served.rows()
        assert rows[told.headers["x-request-id"]]["charge"] > 0
        assert served.row(locked.headers["x-request-id"])["charge"] == 0
        assert served.reconciles()


def test_05_a_damaged_store_is_not_served_and_a_restored_one_is(
    tmp_path: Path, openai_upstream: UpstreamHandle
) -> None:
    home = tmp_path / "home"
    with line(home, openai_upstream) as served:
        told = served.call()
        key = served.http.headers["authorization"]
        served.gateway.spl("backup", str(tmp_path / "backup"))
        assert served.gateway.stop() == 0
    store = home / "store.sqlite3"
    content = bytearray(store.read_bytes())
    content[4096 * 2 : 4096 * 6] = b"\xa5" * (4096 * 4)
    store.write_bytes(content)
    command = [str(SPL), "--home", str(home), "serve", "--port", "0"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert refused.returncode != 0
    assert "spl restore FILE" in refused.stderr.splitlines()[-1]
    other = tmp_path / "other"
    restore = [str(SPL), "--home", str(other), "restore", str(tmp_path / "backup")]
    subprocess.run(restore, check=True, capture_output=True, timeout=PATIENCE)
    with line(other, openai_upstream, key=key.removeprefix("Bearer ")) as served:
        assert served.call().status_code == 200
        assert told.headers["x-request-id"] in served.rows()
        assert served.reconciles()
