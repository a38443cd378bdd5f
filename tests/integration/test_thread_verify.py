"""`spl thread verify` on real homes, with a server and without: an untouched chain agrees, and every touch is named."""

import json
import os
import re
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway_core.audit import genesis, link
from gateway_core.clock import SystemClock
from gateway_core.home import Home
from gateway_core.ids import request_id
from gateway_core.keyring import Keyring
from gateway_core.store.sqlite import SqliteStore
from gateway_core.testing import calls, samples
from gateway_core.testing.server import SPL, serving

THREAD = "th_audit_api_usage"
RECORDS = 7


def spl(home: Path, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "SPL_HOME": str(home), **env}
    return subprocess.run([SPL, *arguments], capture_output=True, text=True, check=False, env=environment, timeout=60)


def verified(home: Path, *arguments: str, **env: str) -> dict[str, object]:
    done = spl(home, "thread", "verify", THREAD, "--account", "sample", "-o", "json", *arguments, **env)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def broken(home: Path, *arguments: str) -> str:
    """What a verification that fails says."""
    done = spl(home, "thread", "verify", "--account", "sample", *arguments)
    assert (done.returncode, done.stdout) == (1, ""), done
    assert done.stderr.startswith("spl: ")
    return done.stderr.removeprefix("spl: ").strip()


def touched(home: Path, *statements: tuple[str, tuple[Any, ...]]) -> None:
    """Somebody with access to the file changes it, triggers or not."""
    with sqlite3.connect(home / "store.sqlite3") as db:
        for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        for statement, values in statements:
            assert db.execute(statement, values).rowcount > 0
    db.close()


@pytest.fixture
async def home(tmp_path: Path) -> Path:
    """A home with a chain of seven records of two threads."""
    home = Home(tmp_path / "home")
    home.ensure()
    assert Keyring(home).operator_key
    store = SqliteStore(home.store_path, SystemClock())
    await store.open()
    await store.directory.create_account(samples.account(), "test")
    for number in range(RECORDS - 2):
        held = calls.hold(request_id())
        await store.ledger.hold(held)
        await store.ledger.settle(calls.settlement(held, number))
    for number in range(2):
        # Bytes that nobody would write by encoding it again.
        body = b'{"b" : 1.50,  "a":"\\u00e9"}'
        await store.records.append("acct_sample", "th_other", f"rec_{number}", body, "elsewhere")
    await store.close()
    return home.path


@pytest.fixture(params=["server", "none"])
def reachable(request: pytest.FixtureRequest, home: Path) -> Iterator[Path]:
    """That home, with a server on it and without one."""
    if request.param == "server":
        with serving(home):
            yield home
    else:
        yield home


def test_a_chain_agrees_and_is_compared_with_a_kept_head(reachable: Path, tmp_path: Path) -> None:
    seen = verified(reachable)
    assert (seen["records"], seen["of_thread"], seen["first"], seen["last"]) == (RECORDS, RECORDS - 2, 1, RECORDS)
    head = spl(reachable, "thread", "head", "--account", "sample", "-o", "json")
    assert json.loads(head.stdout)["hash"] == seen["hash"]
    file = tmp_path / "head.json"
    file.write_text(head.stdout)
    assert verified(reachable, "--against", str(file))["against"] == RECORDS
    # A head of the past is as good; one that this instance has not signed is none.
    forged = {**json.loads(head.stdout), "signed": json.loads(head.stdout)["signed"][:-8] + "AAAAAAAA"}
    file.write_text(json.dumps(forged))
    assert "does not verify" in broken(reachable, "--against", str(file))
    for nonsense in (b"nonsense", b"\xd0\xff"):
        file.write_bytes(nonsense)
        assert "is no head" in broken(reachable, "--against", str(file))


def test_an_account_without_records_agrees(reachable: Path) -> None:
    spl(reachable, "account", "create", "empty")
    done = spl(reachable, "thread", "verify", "--account", "empty", "-o", "json")
    assert (done.returncode, json.loads(done.stdout)["records"]) == (0, 0), done.stderr


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        (["UPDATE records SET body = CAST(replace(body, 0, 1) AS BLOB) WHERE sequence = 3"], r"record 3: .*changed.*"),
        (["UPDATE records SET body = x'00ff22' WHERE sequence = 3"], r"record 3: .*changed.*"),
        (["UPDATE records SET id = 'req_x' WHERE sequence = 1"], r"record 1: .*changed.*"),
        (["UPDATE records SET hash = zeroblob(32) WHERE sequence = 6"], r"record 6: .*changed.*"),
        (["DELETE FROM records WHERE sequence = 4"], r"record 4: it is missing: the next one is 5"),
        (["DELETE FROM records WHERE sequence = 1"], r"record 1: it is missing: the next one is 2"),
        (["DELETE FROM records WHERE sequence = 7"], r"record 7: it is missing: the chain's head is at 7"),
        (
            [
                "UPDATE records SET sequence = 99 WHERE sequence = 2",
                "UPDATE records SET sequence = 2 WHERE sequence = 3",
                "UPDATE records SET sequence = 3 WHERE sequence = 99",
            ],
            r"record 2: .*another record is in its place",
        ),
        (["UPDATE heads SET hash = zeroblob(32)"], r"record 7: the chain's head has another hash.*"),
        (["UPDATE heads SET pruned_sequence = 2, pruned_hash = zeroblob(32)"], r"record 3: .*changed.*"),
    ],
)  # fmt: skip
def test_whatever_is_touched_is_named(home: Path, statements: list[str], says: str) -> None:
    touched(home, *((statement, ()) for statement in statements))
    assert re.fullmatch(says, broken(home))


def rewritten(home: Path, change: Callable[[int, bytes], bytes], records: int = RECORDS) -> None:
    """A forger who knows the rules computes the chain anew from changed bodies, and cuts it."""
    with sqlite3.connect(home / "store.sqlite3") as db:
        rows = db.execute(
            "SELECT sequence, id, body FROM records WHERE account_id = 'acct_sample' ORDER BY 1"
        ).fetchall()
    db.close()
    last = genesis("acct_sample")
    statements: list[tuple[str, tuple[Any, ...]]] = []
    for sequence, record_id, old in rows[:records]:
        body = change(sequence, old)
        last = link(last, sequence, record_id, body)
        statements.append(("UPDATE records SET body = ?, hash = ? WHERE sequence = ?", (body, last, sequence)))
    if records < RECORDS:
        statements.append(("DELETE FROM records WHERE sequence > ?", (records,)))
    statements.append(("UPDATE heads SET sequence = ?, hash = ?", (records, last)))
    touched(home, *statements)


@pytest.mark.parametrize(
    ("change", "records", "says"),
    [
        (lambda sequence, body: b"{}" if sequence == 2 else body, RECORDS, r"record 7: its hash is another one than.*"),
        (lambda _sequence, body: body, 5, r"record 6: it is missing: the head to compare with is at 7.*"),
    ],
)
def test_a_chain_that_was_computed_anew_is_found_by_a_kept_head(
    home: Path, tmp_path: Path, change: Callable[[int, bytes], bytes], records: int, says: str
) -> None:
    file = tmp_path / "head.json"
    file.write_text(spl(home, "thread", "head", "--account", "sample", "-o", "json").stdout)
    rewritten(home, change, records)
    assert verified(home)["records"] == records  # by itself it is a chain like another
    assert re.fullmatch(says, broken(home, "--against", str(file)))


def test_39_a_restored_home_verifies_and_has_the_chain_of_the_one_it_came_from(home: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    with serving(home) as served:
        saved = tmp_path / "saved.tar"
        assert spl(home, "backup", str(saved)).returncode == 0
        assert spl(elsewhere, "restore", str(saved)).returncode == 0
        assert verified(elsewhere)["records"] == RECORDS
        seen = verified(elsewhere, "--against", served.url, SYNCROPEL_API_KEY=served.operator_key)
        assert seen["against"] == RECORDS
