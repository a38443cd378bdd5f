"""Fault 29: a record that is delivered three times is stored once, also after a kill in between."""

import json
from pathlib import Path
from typing import Any

from gateway_core.testing.line import line
from gateway_core.testing.openai_fixture import UpstreamHandle

RECORDS = "/v1/threads/th_audit_api_usage/records"


def test_29_a_record_that_comes_three_times_is_stored_once(tmp_path: Path, openai_upstream: UpstreamHandle) -> None:
    home, record = tmp_path / "home", {"id": "rec_from_elsewhere", "body": {"model": "x", "cost_usd": "0.1"}}
    with line(home, openai_upstream) as served:
        minted = served.gateway.spl(
            "keys", "mint", "--account", "local", "--name", "w", "--scope", "records:write", "-o", "json"
        )
        writer = {"Authorization": f"Bearer {json.loads(minted)['secret']}"}
        first = served.http.post(RECORDS, json=record, headers=writer)
        assert first.status_code == 201
        # The answer is lost with the process: the sender cannot know, and sends it again.
        served.gateway.process.kill()
        served.gateway.process.wait()
    with line(home, openai_upstream) as served:
        again = [served.http.post(RECORDS, json=record, headers=writer) for _ in range(2)]
        assert [answer.status_code for answer in again] == [200, 200]
        assert [answer.json() for answer in again] == [first.json()] * 2
        assert served.call().status_code == 200
        listed: list[dict[str, Any]] = json.loads(
            served.gateway.spl("thread", "records", "th_audit_api_usage", "-o", "json")
        )
        assert [one["id"] for one in listed].count("rec_from_elsewhere") == 1
        assert served.reconciles()
