"""Fault 15: slow heads and bodies, a body of 1 GB in chunks, a head of 1 MB: ended in time, memory flat.

The cases one by one are in tests/integration/test_edge_server.py.
"""

import socket
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from gateway_core.testing.line import Line, line
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.server import PATIENCE

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, openai_upstream_process: UpstreamHandle) -> Iterator[Line]:
    with line(tmp_path_factory.mktemp("slow") / "home", openai_upstream_process, server="request_timeout = 2") as made:
        made.call()
        yield made


def connect(served: Line) -> socket.socket:
    parts = urlsplit(served.gateway.url)
    return socket.create_connection((str(parts.hostname), parts.port or 0), timeout=PATIENCE)


def answer(connection: socket.socket) -> bytes:
    found = b""
    with suppress(ConnectionResetError):
        while data := connection.recv(65536):
            found += data
    return found


def head(served: Line, *lines: str) -> bytes:
    bearer = served.http.headers["authorization"]
    return "\r\n".join(
        ["POST /v1/chat/completions HTTP/1.1", "host: x", f"authorization: {bearer}", *lines, "", ""]
    ).encode()


def test_15_hundreds_that_drip_are_ended_and_nobody_else_waits(served: Line) -> None:
    beginnings = (b"G", b"POST /v1/chat", head(served)[:-2], head(served, "content-length: 100") + b'{"model": ')
    slow = [connect(served) for _ in range(200)]
    for number, connection in enumerate(slow):
        connection.sendall(beginnings[number % len(beginnings)])
    assert served.call().status_code == 200
    for number, connection in enumerate(slow):
        with connection:
            found = answer(connection)
            assert found == b"" or found.startswith(b"HTTP/1.1 408 "), (number, found[:100])


@pytest.mark.parametrize("bearer", [True, False])
def test_15_a_body_of_1_gb_in_chunks_is_cut_off(served: Line, bearer: bool) -> None:
    before, sent = served.memory(), 0
    start = head(served, "transfer-encoding: chunked")
    if not bearer:
        start = start.replace(b"authorization: Bearer sk", b"authorization: Bearer xx")
    chunk = b"100000\r\n" + b"x" * MIB + b"\r\n"
    with connect(served) as connection:
        connection.sendall(start)
        with suppress(ConnectionResetError, BrokenPipeError):
            while sent < 1024 * MIB:
                connection.sendall(chunk)
                sent += MIB
    assert sent < 128 * MIB
    assert served.memory() - before < 64 * MIB
    assert served.call().status_code == 200


def test_15_heads_of_1_mb_are_refused_and_memory_is_flat(served: Line) -> None:
    before = served.memory()
    for _ in range(30):
        with connect(served) as connection:
            with suppress(ConnectionResetError, BrokenPipeError):
                connection.sendall(b"GET /healthz HTTP/1.1\r\nx-a: " + b"a" * MIB)
            found = answer(connection)
            assert found == b"" or found.startswith(b"HTTP/1.1 431 "), found[:100]
    assert served.memory() - before < 16 * MIB
    assert served.call().status_code == 200
