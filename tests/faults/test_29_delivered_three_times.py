"""Fault 29: a record that is delivered three times is stored once, on an instance that is a process of its own."""

import json
from pathlib import Path

import httpx2
import pytest

from gateway_core.errors import OutsideError
from gateway_core.ids import request_id
from gateway_core.outbox import Outbox
from gateway_core.store.sqlite import SqliteStore
from gateway_core.store_ports import RecordQuery
from gateway_core.testing import calls, samples
from gateway_core.testing.clock import ManualClock
from gateway_core.testing.server import ServedGateway
from gateway_core.types import Record

RECORDS = 3


def writer(instance: ServedGateway) -> str:
    """A key that may write records, as the gateway's bearer may."""
    headers = {"authorization": f"Bearer {instance.operator_key}"}
    body = {"name": "gateway", "account": "local", "scopes": ["records:write"]}
    answer = httpx2.post(f"{instance.base_url}/keys", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["secret"])


@pytest.mark.parametrize("crash", ["before the answer", "before the cursor"])
async def test_29_a_record_delivered_three_times_is_stored_once(
    crash: str, running_server: ServedGateway, tmp_path: Path
) -> None:
    clock = ManualClock(samples.STARTED_AT)
    store = SqliteStore(tmp_path / "store.sqlite3", clock)
    await store.open()
    await store.directory.create_account(samples.account(), "test")
    key = writer(running_server)
    sent: list[tuple[str, int]] = []
    async with httpx2.AsyncClient(base_url=running_server.url, headers={"authorization": f"Bearer {key}"}) as http:

        async def emit(record: Record) -> None:
            """Takes each record, and says twice that it did not."""
            content = b'{"id":"%s","body":%s}' % (record.id.encode(), bytes(record.body))
            answer = await http.post(f"/v1/threads/{record.thread}/records", content=content)
            sent.append((record.id, answer.status_code))
            if crash == "before the answer" and [each for each, _ in sent].count(record.id) < 3:
                raise OutsideError("the connection was lost")

        for _ in range(RECORDS):
            held = calls.hold(request_id())
            await store.ledger.hold(held)
            await store.ledger.settle(calls.settlement(held))
        written = [record.id for record in await store.records.read(calls_of())]
        if crash == "before the cursor":
            for _ in range(2):
                for record in await store.records.read(calls_of()):
                    await emit(record)
        outbox = Outbox(store, [("sink", emit)], clock, gather=0.0, look=0.002)
        await outbox.start()
        while (await store.records.behind("sink")) != []:
            clock.advance(1.0)
            outbox.retry()
        await outbox.stop()
    await store.close()
    assert sorted(sent) == sorted((each, status) for each in written for status in (200, 200, 201))
    stored = json.loads(running_server.spl("thread", "records", "th_audit_api_usage", "-o", "json"))
    assert [row["id"] for row in stored if row["id"] in written] == written
    running_server.spl("reconcile")


def calls_of() -> RecordQuery:
    return RecordQuery(account_id="acct_sample")
