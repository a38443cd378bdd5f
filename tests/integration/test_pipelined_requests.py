"""Requests sent before the answer to the one before: what is wrong with one says nothing into another's answer."""

import json
import socket
from collections.abc import Iterator

import pytest

from gateway_core.testing.line import Line, line
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.server import PATIENCE

REQUEST_TIMEOUT = 1


@pytest.fixture(scope="module")
def hasty(openai_upstream_process: UpstreamHandle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A gateway that gives a request a second to come, and a stream that takes two."""
    home = tmp_path_factory.mktemp("hasty") / "home"
    with line(home, openai_upstream_process, server=f"request_timeout = {REQUEST_TIMEOUT}") as made:
        openai_upstream_process.reset()
        openai_upstream_process.script("priced", words=20, gap_ms=100 * REQUEST_TIMEOUT)
        yield made


def request(hasty: Line, body: bytes) -> bytes:
    head = f"POST /v1/chat/completions HTTP/1.1\r\nauthorization: {hasty.http.headers['authorization']}\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


def behind_a_stream(hasty: Line, data: bytes, *, begun: bool = True) -> bytes:
    """Everything that comes back where `data` is sent behind a call for a stream, once that has begun or at once."""
    host, port = hasty.gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), PATIENCE) as raw:
        call, got = request(hasty, json.dumps(hasty.body(stream=True)).encode()), b""
        try:
            if begun:
                raw.sendall(call)
                got = raw.recv(1)
                raw.sendall(data)
            else:
                raw.sendall(call + data)
            while piece := raw.recv(65536):
                got += piece
        except (ConnectionResetError, BrokenPipeError):
            pass  # there was more than it read
    return got


NONSENSE = [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nx: " + b"y" * 300_000]


@pytest.mark.parametrize("data", NONSENSE)
def test_what_is_nonsense_ends_a_stream_without_a_word(hasty: Line, data: bytes) -> None:
    got = behind_a_stream(hasty, data)
    assert got.startswith(b"HTTP/1.1 200 ")
    assert got.count(b"HTTP/1.1 ") == 1
    assert b"[DONE]" not in got


def test_what_is_nonsense_is_told_where_no_answer_has_begun(hasty: Line) -> None:
    """Most often the body of a call is longer than it was said to be."""
    got = behind_a_stream(hasty, NONSENSE[0], begun=False)
    assert got.startswith(b"HTTP/1.1 400 ")
    assert got.count(b"HTTP/1.1 ") == 1


def test_a_body_has_its_own_time_once_it_is_its_turn(hasty: Line) -> None:
    got = behind_a_stream(hasty, request(hasty, b'{"model": "priced"}')[:-1])
    first, _, second = got.partition(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert first.count(b"HTTP/1.1 ") == 1
    assert second.startswith(b"HTTP/1.1 408 ")


def test_a_head_that_does_not_end_does_not_end_the_call_before_it(hasty: Line) -> None:
    first, _, second = behind_a_stream(hasty, b"GET / HTTP/1.1\r\nx: y").partition(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert first.count(b"HTTP/1.1 ") == 1
    assert second.startswith(b"HTTP/1.1 408 ")
