"""What the store of a trial says, read from outside: invariants I1 to I3 and the chain."""

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway_core.money import Units, cents
from scripts.trials.load import Told

Row = dict[str, Any]


@dataclass(frozen=True)
class Books:
    """One look at a store: rows of the ledger by id, and ids of what is open."""

    ledger: dict[str, Row]
    open: frozenset[str]


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row
        yield db


def look(path: Path) -> Books:
    """The store as it is: also while it is served."""
    with _reading(path) as db:
        rows = {row["id"]: dict(row) for row in db.execute("SELECT * FROM ledger")}
        return Books(rows, frozenset(row[0] for row in db.execute("SELECT id FROM open_calls")))


def look_at_the_dead(path: Path, scratch: Path) -> Books:
    """A store whose process was killed, by a copy: the next start is to find it as it was left. Fails if damaged."""
    scratch.mkdir(parents=True, exist_ok=True)
    copy = scratch / path.name
    for suffix in ("", "-wal"):
        copy.with_name(copy.name + suffix).unlink(missing_ok=True)
        if path.with_name(path.name + suffix).exists():
            shutil.copyfile(path.with_name(path.name + suffix), copy.with_name(copy.name + suffix))
    with closing(sqlite3.connect(copy)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)], "the store is damaged"
    return look(copy)


def check_restart(before: Books, after: Books) -> int:
    """What a start makes of what a kill left: nothing changed, what was open settled once. Gives how many."""
    for call_id, row in before.ledger.items():
        assert after.ledger.get(call_id) == row, f"{call_id} was settled, and its row is another now"
    assert not after.open, f"still open after the start: {sorted(after.open)}"
    assert not before.open & before.ledger.keys(), "settled and open at once"
    new = after.ledger.keys() - before.ledger.keys()
    assert new == before.open, f"settled by the start, and not what was open: {sorted(new ^ before.open)}"
    for call_id in new:
        row = after.ledger[call_id]
        state = row["stream_state"] if row["stream"] else row["error_code"]
        assert state == "gateway_restart", f"{call_id} was open and is now {state}"
        assert row["charge"] == 0 or row["outcome"] == "cut", f"{call_id} was charged, and is {row['outcome']}"
    return len(new)


def check_told(told: Told, books: Books) -> None:
    """I1: what callers were told is what the ledger says; nothing else is there than what was sent."""
    ledger = books.ledger
    for call_id, named in told.whole.items():
        row = ledger.get(call_id)
        assert row is not None, f"{call_id} was acknowledged and is not on the ledger"
        assert row["outcome"] == "ok", f"{call_id} was acknowledged and is {row['outcome']}"
        assert cents(Units(row["charge"])) == named, f"{call_id} was said to cost {named}"
    for call_id in told.begun | told.failed:
        assert call_id in ledger, f"{call_id} reached its caller and is not on the ledger"
    for call_id in told.failed:
        assert ledger[call_id]["charge"] == 0, f"{call_id} failed and was charged"
    assert not told.refused & ledger.keys(), "refused, and on the ledger"
    strangers = ledger.keys() - told.whole.keys() - told.begun - told.failed
    assert len(strangers) <= told.unheard, f"{len(strangers)} rows for {told.unheard} calls that were not heard of"


def check_caps(books: Books) -> None:
    """I3: no account and no bearer has spent more than its cap."""
    for who, cap in (("account_id", "account_cap"), ("bearer_id", "bearer_cap")):
        spent: Counter[str] = Counter()
        caps: dict[str, int] = {}
        for row in books.ledger.values():
            spent[row[who]] += row["charge"]
            if row[cap] is not None:
                caps[row[who]] = row[cap]
        for name, limit in caps.items():
            assert spent[name] <= limit, f"{name} spent {spent[name]} of {limit}"


def check_records(path: Path) -> None:
    """Each row of the ledger has exactly one record."""
    with _reading(path) as db:
        records = Counter(json.loads(row[0])["request_id"] for row in db.execute("SELECT body FROM records"))
        ids = {row[0] for row in db.execute("SELECT id FROM ledger")}
    assert records.keys() == ids, "rows and records are not the same calls"
    assert set(records.values()) <= {1}, "a call has two records"


def check_sink(path: Path, sink: Path) -> int:
    """What the sink was given: every record, each account's in order, again only under the same id. Gives repeats."""
    seen: dict[tuple[str, int], str] = {}
    last: Counter[str] = Counter()
    repeats = 0
    for line in sink.read_bytes().splitlines():
        account, sequence, record = json.loads(line)
        if (account, sequence) in seen:
            assert seen[account, sequence] == record, f"{account} {sequence} came again as another record"
            repeats += 1
            continue
        assert sequence == last[account] + 1, f"{account}: {sequence} came after {last[account]}"
        last[account] = sequence
        seen[account, sequence] = record
    with _reading(path) as db:
        stored = {(row[0], row[1]): row[2] for row in db.execute("SELECT account_id, sequence, id FROM records")}
    assert seen == stored, "the sink was not given every record"
    return repeats
