"""Fault 16: bodies that no client should send: 400 naming the field, before any hold, and nothing of it elsewhere."""

import json
import string
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway_core.errors import InvalidRequest
from gateway_core.testing.line import HELLO, Line, line
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.types import ChatRequest
from gateway_core.wire.chat import decode_request

GOOD = b'{"model": "priced", "messages": [{"role": "user", "content": "Hello"}]%s}'


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, openai_upstream_process: UpstreamHandle) -> Iterator[Line]:
    openai_upstream_process.reset()
    with line(tmp_path_factory.mktemp("bad") / "home", openai_upstream_process) as made:
        yield made


def post(strict: Line, content: bytes) -> httpx2.Response:
    return strict.http.post("/v1/chat/completions", content=content, headers={"content-type": "application/json"})


def refused(strict: Line, content: bytes, status: int = 400) -> dict[str, Any]:
    """The error of a body that is refused and touches nothing: no provider, no ledger, no line of the log."""
    strict.upstream.reset()
    rows, log = len(strict.rows()), strict.gateway.output().count("\n")
    answer = post(strict, content)
    error: dict[str, Any] = answer.json()["error"]
    code = "invalid_request" if status == 400 else "model_not_found"
    assert (answer.status_code, error["code"]) == (status, code), answer.text[:500]
    assert strict.upstream.log() == []
    assert len(strict.rows()) == rows
    new = strict.gateway.output().splitlines()[log:]
    assert all(json.loads(entry)["level"] in ("info", "warning") for entry in new)
    for name, value in answer.headers.items():
        assert value.isprintable(), name
    assert answer.text.isprintable() or "\n" not in answer.text
    return error


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        b"null",
        b"[]",
        b'"text"',
        b'{"model": "priced", "messages": [{"role": "user", "content": "\xff\xfe"}]}',
        b'{"model": "priced", "messages": [{"role": "user", "content": "\xed\xa0\x80"}]}',
        b'{"model": "priced", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": "priced", "messages": [{"role": "user", "content": "\\udc00 end"}]}',
        GOOD % b', "temperature": NaN',
        GOOD % b', "temperature": Infinity',
        GOOD % b', "temperature": 1e999',
        GOOD % b', "x": ' + b"[" * 100_000,
        GOOD % (b', "x": ' + b"[" * 50_000 + b"]" * 50_000),
        GOOD % (b', "x": ' + b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
        GOOD % b', "x": "a\x00b"',
        GOOD % b', "x": "a\nb"',
        GOOD % b",",
        (GOOD % b"")[:-1],
        (GOOD % b"") + b"{}",
        "\ufeff".encode() + GOOD % b"",
        (GOOD % b"").decode().encode("utf-16"),
    ],
)
def test_16_what_is_no_json_in_utf_8_is_refused(strict: Line, content: bytes) -> None:
    refused(strict, content)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        (b', "model": "priced"', "model"),
        (b', "max_tokens": 5, "max_tokens": 50000', "max_tokens"),
        (b', "max_tokens": 5, "max\\u005ftokens": 50000', "max_tokens"),
        (b', "max_tokens": -1', "max_tokens"),
        (b', "max_tokens": 0', "max_tokens"),
        (b', "max_tokens": 1.5', "max_tokens"),
        (b', "max_tokens": true', "max_tokens"),
        (b', "max_tokens": "50"', "max_tokens"),
        (b', "max_tokens": 99999999999999999999999999999999', "max_tokens"),
        (b', "max_completion_tokens": -7', "max_completion_tokens"),
        (b', "n": -1', "n"),
        (b', "n": 0', "n"),
        (b', "n": 1000000000', "n"),
        (b', "n": 1e400', "n"),
        (b', "stream": "yes"', "stream"),
        (b', "stream_options": 7', "stream_options"),
    ],
)
def test_16_an_impossible_value_is_named(strict: Line, more: bytes, param: str) -> None:
    error = refused(strict, GOOD % more)
    assert error["param"] == param or (error["param"] is None and b"1e400" in more)


@pytest.mark.parametrize("model", ["a\r\nx-evil: 1", "a\u0000", "\u202e", "x" * 5000, "../../etc/passwd", "", " "])
def test_16_a_strange_model_gets_into_no_header_and_no_log(strict: Line, model: str) -> None:
    content = json.dumps({"model": model, "messages": HELLO}).encode()
    answer = post(strict, content)
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["param"] == "model"
    assert "x-evil" not in answer.headers
    assert "evil" not in strict.gateway.output()
    refused(strict, content, answer.status_code)


@pytest.mark.parametrize("value", [b"a\rb", b"a\x00b", b"\xff", b"x" * 5000])
def test_16_a_client_s_own_request_id_is_not_ours(strict: Line, value: bytes) -> None:
    headers = [(b"authorization", strict.http.headers["authorization"].encode()), (b"x-request-id", value)]
    try:
        answer = strict.http.post("/v1/chat/completions", content=GOOD % b"", headers=headers)
    except (httpx2.LocalProtocolError, httpx2.RemoteProtocolError):
        return  # no client can send it
    assert answer.status_code in (200, 400)
    assert value not in answer.headers["x-request-id"].encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    ["model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "tools", "stop", "x"]
)


def decoded(content: bytes) -> ChatRequest | InvalidRequest:
    try:
        return decode_request(content)
    except InvalidRequest as refusal:
        return refusal


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fields=st.dictionaries(FIELDS, JSON, max_size=5), good=st.booleans())
def test_16_any_json_is_a_call_or_a_named_refusal(fields: dict[str, Any], good: bool) -> None:
    body = {"model": "priced", "messages": HELLO, **fields} if good else fields
    found = decoded(json.dumps(body).encode())
    if isinstance(found, InvalidRequest):
        assert found.message.isprintable()
        assert found.param is None or found.param.isprintable()
    else:
        assert found.model
        assert found.output_limit is None or found.output_limit > 0
        assert found.choices > 0


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200) | st.text(string.printable, max_size=200).map(str.encode))
def test_16_any_bytes_are_refused_without_a_crash(content: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode_request(content)
