"""Heads that are kept as they came: what is found in one is what a parser that is told of each line was told of."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_core.types import Deadlines
from gateway_core.upstream.connection import MOST_HEAD, Connection
from gateway_core.upstream.deadlines import Sweep
from gateway_core.upstream.head import Headers, begins
from gateway_core.upstream.target import Origin

OK = b"HTTP/1.1 200 OK\r\n"
NAMES = st.sampled_from(
    ["content-encoding", "Content-Type", "retry-after", "Retry-After-Ms", "X-A", "x-a", "a", "encoding", "content"]
)
ODD = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=20)
VALUES = ODD | st.sampled_from(["", "content-encoding: gzip", "retry-after:", " a:b\t", "identity", "x-a"])
LINES = st.lists(st.tuples(NAMES, VALUES), max_size=12)
REASONS = st.sampled_from(["", " ", " OK", " content-encoding: gzip", " x-a:"])


class Told:
    """What httptools tells of a head, line by line."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.lines.append((name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")))

    def on_headers_complete(self) -> None:
        self.whole = True


def told(data: bytes) -> dict[str, str]:
    parser = Told()
    httptools.HttpResponseParser(parser).feed_data(data)
    assert parser.whole
    joined: dict[str, str] = {}
    for name, value in parser.lines:
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


@given(REASONS, LINES)
def test_what_is_found_in_a_head_is_what_a_parser_was_told(reason: str, lines: list[tuple[str, str]]) -> None:
    text = "\r\n".join([f"HTTP/1.1 200{reason}", *(f"{name}:{value}" for name, value in lines)]).encode("latin-1")
    expected = told(text + b"\r\n\r\n")
    headers = Headers(text, text.lower())
    assert dict(headers) == expected
    assert list(headers) == list(expected)
    assert len(headers) == len(expected)
    for name in ("Content-Encoding", "retry-after", "X-a", "b"):
        assert headers.get(name) == expected.get(name.lower())
        assert (name in headers) == headers.have(begins(name)) == (name.lower() in expected)


class Socketed(asyncio.Transport):
    """As much of a transport as a connection asks of one that nothing is sent on."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__({"socket": end})
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted


@contextmanager
def connected() -> Iterator[tuple[Connection, Socketed]]:
    loop = asyncio.new_event_loop()
    end, other = socket.socketpair()
    try:
        connection = Connection(Origin(secure=False, host="a", port=1), loop, Sweep(), lambda _: None)
        transport = Socketed(end)
        connection.connection_made(transport)
        yield connection, transport
    finally:
        end.close()
        other.close()
        loop.close()


ANSWERS = [
    OK + b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\nab",
    OK + b"content-length: 2\r\nKeep-Alive: max=5, timeout=9\r\ncontent-encoding: gzip\r\n\r\nab",
    OK + b"x-A: 1 \r\nX-a:\t2\r\nretry-after:\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nx-a: 3\r\n\r\n",
    b"\r\n\r\n" + OK + b"content-length: 2\r\n\r\nab",
    b"HTTP/1.1 100 X\r\n\r\n\r\n\r\nHTTP/1.1 103\r\na: 1\r\n\r\nHTTP/1.1 200 OK\r\nb: 2\r\ncontent-length: 2\r\n\r\nab",
    b"HTTP/1.1 429 \r\nretry-after: 7\r\nconnection: close\r\ncontent-length: 2\r\n\r\nab",
]


def came(connection: Connection, pieces: list[bytes]) -> tuple[int, dict[str, str], bytes, bool]:
    connection.begin(b"", b"", Deadlines(), 0.0)
    for piece in pieces:
        connection.data_received(piece)
    assert connection.awaited() is None
    assert connection.done
    answer = connection.status, dict(connection.headers), connection.left(), connection.reusable
    connection.rest()
    return answer


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_head_that_comes_in_any_two_reads_is_the_same(answer: bytes) -> None:
    final = answer[answer.rindex(b"HTTP/1.1") :]
    with connected() as (connection, _):
        whole = came(connection, [answer])
        assert whole[1:3] == (told(final.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"), b"ab")
        if whole[3]:
            for at in range(1, len(answer)):
                assert came(connection, [answer[:at], answer[at:]]) == whole
            assert came(connection, [answer[at : at + 1] for at in range(len(answer))]) == whole
            cuts = range(0, len(answer) + 7, 7)
            assert came(connection, [answer[a:b] for a, b in pairwise(cuts)]) == whole


@pytest.mark.parametrize(
    "head",
    [
        OK + b"x-many: y\r\n" * (MOST_HEAD // 11) + b"content-length: 2\r\n\r\nab",
        OK + b"x: " + b"y" * MOST_HEAD + b"\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 103 X\r\nx-a: 1\r\n\r\n" * (MOST_HEAD // 24) + OK + b"content-length: 2\r\n\r\nab",
    ],
)
def test_heads_are_held_to_their_bound_in_one_read_with_their_body(head: bytes) -> None:
    with connected() as (connection, transport):
        connection.begin(b"", b"", Deadlines(), 0.0)
        connection.data_received(head)
        assert transport.aborted
        with pytest.raises(Exception, match="did not speak HTTP"):
            connection.awaited()
