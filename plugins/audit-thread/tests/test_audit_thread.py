"""Threads over HTTP, against the real program; the sink, which takes everything at once."""

import socket
from collections.abc import Iterator
from typing import Any

import httpx2
import msgspec
import pytest
from spl_audit_thread import Plugin
from spl_audit_thread.plugin import AuditThreadSettings
from spl_audit_thread.query import checked, record_query

from gateway_core.errors import InvalidRequest
from gateway_core.store_ports import RecordQuery
from gateway_core.testing.server import ServedGateway, serving
from gateway_core.types import Record

PATH = "/v1/threads/th_audit_api_usage/records"


class Caller:
    """One bearer's requests."""

    def __init__(self, http: httpx2.Client, secret: str) -> None:
        self.http = http
        self.headers = {"authorization": f"Bearer {secret}"}

    def get(self, path: str = PATH, status: int = 200, **query: Any) -> Any:
        answer = self.http.get(path, params=query, headers=self.headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    def post(self, body: Any, status: int = 201, path: str = PATH, content: bytes | None = None) -> Any:
        content = msgspec.json.encode(body) if content is None else content
        answer = self.http.post(path, content=content, headers=self.headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    def mint(self, *scopes: str, **fields: Any) -> "Caller":
        body = {"name": "k", "scopes": scopes, **fields}
        answer = self.http.post("/v1/keys", json=body, headers=self.headers)
        assert answer.status_code == 201, answer.text
        return Caller(self.http, answer.json()["secret"])

    def chat(self) -> str:
        body = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
        answer = self.http.post("/v1/chat/completions", json=body, headers=self.headers)
        assert answer.status_code == 200, answer.text
        return str(answer.headers["x-request-id"])


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """The operator of a running gateway."""
    served: ServedGateway
    with (
        serving(tmp_path_factory.mktemp("threads") / "home") as served,
        httpx2.Client(base_url=served.url) as http,
    ):
        yield Caller(http, served.operator_key)


@pytest.fixture
def account(operator: Caller, request: pytest.FixtureRequest) -> str:
    """A new account's name."""
    name = str(request.node.name)
    answer = operator.http.post("/v1/admin/accounts", json={"name": name}, headers=operator.headers)
    assert answer.status_code == 201, answer.text
    return name


@pytest.fixture
def owner(operator: Caller, account: str) -> Caller:
    """Its owner."""
    return operator.mint("owner", account=account)


def test_each_call_is_a_record_in_order(owner: Caller) -> None:
    calls = [owner.chat() for _ in range(3)]
    found = owner.get()
    assert [record["body"]["request_id"] for record in found["data"]] == calls
    assert [record["sequence"] for record in found["data"]] == [1, 2, 3]
    assert (found["has_more"], found["next_after"]) == (False, None)
    first = found["data"][0]
    assert first["thread"] == "th_audit_api_usage"
    assert first["created_at"].endswith("Z")
    assert len(first["hash"]) == 64
    assert "Hello" not in str(found)


def test_pages_follow_each_other(owner: Caller) -> None:
    for _ in range(3):
        owner.chat()
    page = owner.get(limit=2)
    assert (page["has_more"], page["next_after"], len(page["data"])) == (True, 2, 2)
    rest = owner.get(limit=2, after=page["next_after"])
    assert [record["sequence"] for record in rest["data"]] == [3]
    assert rest["has_more"] is False
    assert owner.get(limit=3)["has_more"] is False


def test_records_are_chosen_by_time_and_model(owner: Caller) -> None:
    owner.chat()
    at = owner.get()["data"][0]["created_at"]
    assert len(owner.get(since=at)["data"]) == 1
    assert len(owner.get(since="2020-01-01", until="2999-01-01T00:00:00+02:00")["data"]) == 1
    assert owner.get(until=at)["data"] == []
    assert len(owner.get(month=at[:7])["data"]) == 1
    assert owner.get(month="2020-02")["data"] == []
    assert len(owner.get(model="demo")["data"]) == 1
    assert owner.get(model="other")["data"] == []
    assert owner.get("/v1/threads/th_other/records")["data"] == []


def test_an_operator_reads_any_account(operator: Caller, owner: Caller, account: str) -> None:
    owner.chat()
    assert operator.get(account=account) == owner.get() == owner.get(account=account)
    assert operator.get(account="nobody", status=404)["error"]["param"] == "account"
    owner.get(account="local", status=403)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"after": "x"}, "after"),
        ({"since": "yesterday"}, "since"),
        ({"until": "2026-13-01"}, "until"),
        ({"month": "2026-13"}, "month"),
        ({"month": "26-1"}, "month"),
        ({"month": "9999-12"}, "month"),
        ({"month": "2026-11", "since": "1"}, "month"),
        ({"model": ""}, "model"),
        ({"modle": "demo"}, "modle"),
    ],
)
def test_a_bad_parameter_is_named(query: dict[str, str], param: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        record_query(checked(query.items()), "acct_1", "th_x")
    assert refusal.value.param == param


def test_a_month_is_whole_in_utc() -> None:
    query = record_query({"month": "2026-12"}, "acct_1", "th_x")
    assert query == RecordQuery("acct_1", "th_x", limit=100, since=1_796_083_200_000, until=1_798_761_600_000)


def test_a_thread_that_is_none_is_refused(operator: Caller) -> None:
    assert operator.get("/v1/threads/usage/records", status=400)["error"]["param"] == "thread"


def test_29_a_record_from_elsewhere_is_stored_once(operator: Caller, owner: Caller, account: str) -> None:
    """Fault 29: delivered three times, it is one."""
    writer = operator.mint("records:write", account=account)
    content = b'{"id": "rec_1", "body": {"model": "x",  "cost_usd": "0.1"}}'
    first = writer.post(None, content=content)
    assert first["body"] == {"model": "x", "cost_usd": "0.1"}
    assert writer.post(None, 200, content=content) == first
    assert writer.post({"id": "rec_1", "body": {"changed": True}}, 200) == first
    owner.chat()
    assert writer.post({"id": "rec_1", "body": {}}, 200) == first
    assert [record["id"] for record in owner.get()["data"]].count("rec_1") == 1
    assert owner.get(model="x")["data"] == [first]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"id": "rec_1"}',
        b'{"id": "rec 1", "body": {}}',
        b'{"id": "", "body": {}}',
        b'{"id": "rec_1", "body": []}',
        b'{"id": "rec_1", "body": {"a": "\\ud800"}}',
        b'{"id": "rec_1", "body": {"a": NaN}}',
        b'{"id": "rec_1", "body": {}, "more": 1}',
        b'{"id": "rec_1", "body": {"a": "' + b"x" * 70_000 + b'"}}',
        b'{"id": "rec_1", "body": ' + b'{"a":' * 50_000,
    ],
)  # fmt: skip
def test_what_is_no_record_is_refused(operator: Caller, content: bytes) -> None:
    writer = operator.mint("records:write")
    assert writer.post(None, 400, content=content)["error"]["code"] == "invalid_request"


def test_what_is_larger_than_a_record_is_refused_before_it_is_there(operator: Caller) -> None:
    writer = operator.mint("records:write")
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: {writer.headers['authorization']}\r\n"
    with socket.create_connection((operator.http.base_url.host, operator.http.base_url.port)) as connection:
        connection.sendall(f"{head}content-length: 10000000\r\n\r\n".encode() + b"[" * 70_000)
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_only_a_writer_writes_and_it_reads_nothing(operator: Caller, owner: Caller, account: str) -> None:
    record = {"id": "rec_2", "body": {}}
    owner.post(record, 403)
    operator.post(record, 403)
    operator.mint("records:write", account=account).get(status=403)


def test_the_sink_takes_every_record_without_waiting() -> None:
    record = Record("rec_1", "acct_1", "th_audit_api_usage", 1, 0, msgspec.Raw(b"{}"), "00")
    with pytest.raises(StopIteration):
        Plugin(AuditThreadSettings()).emit_audit(record).send(None)
