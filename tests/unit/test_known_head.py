"""A head that a connection has seen before is not parsed again, and nobody can tell by the answers."""

import asyncio
import json
import re
from itertools import pairwise
from typing import Any

import msgspec
import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from gateway_core.clients import Client
from gateway_core.config import ServerConfig
from gateway_core.edge.app import App
from gateway_core.edge.direct import DirectClient
from gateway_core.edge.errors import Headers
from gateway_core.edge.known_head import known_head
from gateway_core.edge.protocol import LESSONS, GuardedProtocol
from gateway_core.errors import InvalidBearer, InvalidRequest
from gateway_core.ids import RequestIds
from gateway_core.money import Units

TARGET = b"/v1/chat/completions"
MAX_BODY = 100_000
OPENAI = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost:8080\r\nAccept: application/json\r\n"
    b"Authorization: Bearer sk-one\r\nContent-Length: %d\r\nX-Stainless-Lang: python\r\n\r\n"
)
SHORT = b"POST /v1/chat/completions HTTP/1.1\r\nauthorization:Bearer sk-two\r\ncontent-length:\t%d \r\n\r\n"


class Echo:
    """Stands where the pipeline does: tells the client what came of its request, by what its body wants."""

    def __init__(self) -> None:
        self.served: list[tuple[Any, ...]] = []

    async def serve(self, client: Client) -> None:
        if client.credentials.bearer == "sk-refused":
            raise InvalidBearer
        body = await client.body()
        key = client.idempotency_key()
        self.served.append((client.credentials.bearer, client.credentials.address, key, body))
        for _ in range(body.count(b"w")):
            await asyncio.sleep(0)
        if b"x" in body:
            raise InvalidRequest("as it was asked for")
        client.tier = "free\r\nx: y" if b"tier" in body else "free"
        if b"s" in body:
            await client.write(b"data: 1\n\n")
            await asyncio.sleep(0)
            await client.finish(b"data: [DONE]\n\n")
        else:
            await client.answer(json.dumps([client.credentials.bearer, key, len(body)]).encode(), Units(0))


class Wire(asyncio.Transport):
    """A socket's end that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.paused = False
        self.ended = ""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.9", 4), "sockname": ("127.0.0.1", 80)}.get(name, default)

    def write(self, data: Any) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = self.ended or "aborted"

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_write_buffer_size(self) -> int:
        return 0


class Counting(GuardedProtocol):
    """Knows how often the parser was asked."""

    parsed = 0

    def _parse(self, data: bytes) -> None:
        self.parsed += 1
        super()._parse(data)


def connect(app: App, *, known: bool = True) -> tuple[Counting, Wire, Echo]:
    echo, wire = Echo(), Wire()
    app._pipeline = app.chat._pipeline = echo  # type: ignore[assignment]  # of the pipeline only this is used
    app._failures.counted.clear()
    server = msgspec.structs.replace(ServerConfig(), max_body_bytes=MAX_BODY)
    config, state = uvicorn.Config(app, ws="none", log_config=None), ServerState()
    connection = Counting(server, app, TARGET, RequestIds(), set(), config=config, server_state=state, app_state={})
    if not known:
        connection._lessons = 0
    connection.connection_made(wire)
    return connection, wire, echo


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


_CHANGING = re.compile(rb"req_\w{26}|date: [^\r]*")


async def conversation(app: App, pieces: list[tuple[bytes, int]], *, known: bool) -> tuple[Any, ...]:
    """What comes of the pieces, each given to the connection as the loop's turns say; and how the connection stands."""
    connection, wire, echo = connect(app, known=known)
    awaited = []
    for piece, wait in pieces:
        for _ in range(50):
            if wire.paused:
                await asyncio.sleep(0)
        if wire.ended or wire.paused:
            break
        connection.data_received(piece)
        awaited.append(connection.deadline < float("inf"))
        await turns(wait)
    await turns(30)
    stands = (
        wire.paused,
        connection._in_head,
        connection._in_body,
        connection._lingering,
        connection._discarded,
        connection.deadline < float("inf"),
        connection.server_state.total_requests,
        connection.written,
        len(connection.pipeline),
    )
    connection.eof_received()
    wire.close()
    connection.connection_lost(None)
    await turns(30)
    assert not connection.tasks
    return _CHANGING.sub(b"-", wire.sent), wire.ended, echo.served, awaited, stands


# ---------------------------------------------------------------- what is known


async def test_the_parser_sees_a_head_once(app: App) -> None:
    connection, wire, echo = connect(app)
    for body in (b"first", b"ss", b"the third of them"):
        connection.data_received(OPENAI % len(body) + body)
        await turns(8)
    assert connection.parsed == 1
    assert [each[3] for each in echo.served] == [b"first", b"ss", b"the third of them"]
    assert wire.sent.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert connection.server_state.total_requests == 3


@pytest.mark.parametrize("body", [b"", b"1", b"12345"])
async def test_a_body_that_came_with_a_known_head_is_here_until_its_call_is_over(app: App, body: bytes) -> None:
    connection, _, echo = connect(app)
    for pieces, here in (
        ([OPENAI % 3 + b"one"], None),
        ([OPENAI % 5, b"later"], None),
        ([OPENAI % len(body) + body], body),
    ):
        for piece in pieces:
            connection.data_received(piece)
        client = connection.cycle
        assert isinstance(client, DirectClient)
        assert client.here == here
        await turns(8)
        assert client.response_complete
        assert (client.here, client._pieces) == (None, [])
    assert [each[3] for each in echo.served] == [b"one", b"later", body]


async def test_a_body_may_come_behind_its_head_and_something_behind_it(app: App) -> None:
    connection, wire, echo = connect(app)
    for piece in (OPENAI % 3, b"one", OPENAI % 3, b"t", b"wo" + OPENAI % 5 + b"th", b"ree", OPENAI % 1 + b"4"):
        connection.data_received(piece)
        await turns(8)
    assert [each[3] for each in echo.served] == [b"one", b"two", b"three", b"4"]
    assert wire.sent.count(b"HTTP/1.1 200 OK\r\n") == 4
    assert connection.parsed == 4  # the first one's two pieces, and what came behind another's body


async def test_a_known_head_behind_a_call_that_runs_is_the_parser_s(app: App) -> None:
    connection, wire, echo = connect(app)
    connection.data_received(OPENAI % 1 + b"1")
    await turns(8)
    connection.data_received(OPENAI % 3 + b"www" + OPENAI % 1 + b"3")
    await turns(20)
    assert connection.parsed == 2
    assert [each[3] for each in echo.served] == [b"1", b"www", b"3"]
    assert wire.sent.count(b"HTTP/1.1 200 OK\r\n") == 3


@pytest.mark.parametrize("body", [b"a tier", b"stream, tier"])
async def test_a_head_that_cannot_be_written_is_told_as_a_failure(app: App, body: bytes) -> None:
    connection, wire, _ = connect(app)
    connection.data_received(OPENAI % len(body) + body)
    await turns(8)
    assert wire.sent.startswith(b"HTTP/1.1 503 ")
    assert wire.sent.count(b"\r\n\r\n") == 1
    assert b"x: y" not in wire.sent


async def test_a_body_that_nobody_wanted_is_not_kept(app: App) -> None:
    connection, wire, _ = connect(app)
    head = OPENAI.replace(b"sk-one", b"sk-refused")
    for _ in range(2):
        connection.data_received(head % 9000 + b"a" * 9000)
        await turns(8)
        assert isinstance(connection.cycle, DirectClient)
        assert connection.cycle._pieces == []
    assert wire.sent.count(b"HTTP/1.1 401 ") == 2


async def test_an_end_in_the_middle_of_a_body_ends_the_call(app: App) -> None:
    connection, wire, echo = connect(app)
    connection.data_received(OPENAI % 1 + b"1")
    await turns(8)
    connection.data_received(OPENAI % 9 + b"12")
    await turns(2)
    connection.eof_received()
    wire.close()
    connection.connection_lost(None)
    await turns(8)
    assert (len(echo.served), connection.tasks, connection.parsed) == (1, set(), 1)


@pytest.mark.parametrize("before", [0, 1])
async def test_what_looks_like_a_head_in_a_body_is_none(app: App, before: int) -> None:
    connection, wire, echo = connect(app)
    head = OPENAI.replace(b"sk-one", b"sk-refused")
    for _ in range(before):
        connection.data_received(head % 1 + b"1")
        await turns(8)
    body = head % 3 + b"abc"
    connection.data_received(head % len(body))
    await turns(8)
    assert connection._known is not None
    connection.data_received(body)
    connection.data_received(OPENAI % 1 + b"1")
    await turns(8)
    assert wire.sent.count(b"HTTP/1.1 401 ") == before + 1
    assert [each[3] for each in echo.served] == [b"1"]


async def test_heads_that_never_come_again_are_soon_not_kept(app: App) -> None:
    connection, _, echo = connect(app)
    for number in range(3 * LESSONS):
        head = OPENAI.replace(b"python", b"python%d" % number)
        connection.data_received(head % 1 + b"1")
        await turns(8)
        assert (connection._known is not None) == (number < LESSONS)
    assert len(echo.served) == connection.parsed == 3 * LESSONS


# ---------------------------------------------------------------- what is not

PLAIN = [(b"host", b"localhost"), (b"authorization", b"Bearer sk-one"), (b"content-length", b"5")]


def written(headers: Headers, line: bytes = b"POST %b HTTP/1.1" % TARGET, end: bytes = b"\r\n") -> bytes:
    return end.join([line, *[b"%b: %b" % header for header in headers], b"", b"12345"])


def test_a_plain_head_is_known_by_what_stands_around_its_length() -> None:
    known = known_head(written(PLAIN), TARGET, PLAIN, "1.2.3.4", 5)
    assert known is not None
    assert known.before + b"5" + known.behind + b"12345" == written(PLAIN)
    assert (known.credentials.bearer, known.credentials.address) == ("sk-one", "1.2.3.4")


@pytest.mark.parametrize(
    "more",
    [
        (b"transfer-encoding", b"chunked"),
        (b"content-length", b"5"),
        (b"expect", b"100-continue"),
        (b"upgrade", b"h2c"),
        (b"idempotency-key", b"k"),
        (b"content-encoding", b"identity"),
        (b"x-long", b"x" * 9000),
    ],
)
def test_a_head_that_says_more_is_not(more: tuple[bytes, bytes]) -> None:
    assert known_head(written([*PLAIN, more]), TARGET, [*PLAIN, more], "", 5) is None


@pytest.mark.parametrize("length", [b"+5", b"-5", b"5 5", b"0x5", b"", "٥".encode(), b"12345678", b"6"])
def test_a_length_that_is_not_plain_is_not(length: bytes) -> None:
    headers = [*PLAIN[:2], (b"content-length", length)]
    assert known_head(written(headers), TARGET, headers, "", 5) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n" + written(PLAIN),
        written(PLAIN, b"POST %b HTTP/1.0" % TARGET),
        written(PLAIN, b"PUT %b HTTP/1.1" % TARGET),
        written(PLAIN, b"POST /v1/models HTTP/1.1"),
        written(PLAIN, end=b"\n"),
        written(PLAIN).replace(b"5\r\n", b"5 \r\n"),
        written(PLAIN).replace(b"localhost\r\n", b"localhost\n"),
        written(PLAIN).replace(b"localhost", b"elsewhere"),
        written(PLAIN).replace(b"localhost\r\n", b"localhost\r\n "),
        written(PLAIN[1:]),
        written([*PLAIN, (b"x", b"y")]),
        written(PLAIN)[:-9],
    ],
)
def test_what_the_parser_read_otherwise_is_not(data: bytes) -> None:
    assert known_head(data, TARGET, PLAIN, "", 5) is None


def test_no_bearer_is_known_that_is_none() -> None:
    headers = [(b"authorization", b"Basic eA=="), PLAIN[2]]
    with pytest.raises(InvalidBearer):
        known_head(written(headers), TARGET, headers, "", 5)


# ---------------------------------------------------------------- nobody can tell


def chunked(body: bytes) -> bytes:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer sk-c\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"


def other(line: bytes) -> bytes:
    """OPENAI with one more line."""
    return OPENAI.replace(b"Accept", line + b"\r\nAccept")


ODD_HEADS = [
    OPENAI.replace(b"sk-one", b"sk-refused"),
    OPENAI.replace(b"Bearer ", b"Basic "),
    OPENAI.replace(b"Length: %d", b"Length: 00%d"),
    OPENAI.replace(b"Length: %d", b"Length: +%d"),
    OPENAI.replace(b"Length: %d", b"Length: %d "),
    OPENAI.replace(b"Length: %d", b"Length: %d\r\nContent-Length: 2"),
    OPENAI.replace(b"Length: %d", b"Length: %d0000000"),
    OPENAI.replace(b"\r\n", b"\n"),
    OPENAI.replace(b"HTTP/1.1", b"HTTP/1.0"),
    OPENAI.replace(b"/v1/chat/completions", b"/v1/nowhere"),
    other(b"Connection: close"),
    other(b"Connection: Upgrade\r\nUpgrade: h2c"),
    other(b"Expect: 100-continue"),
    other(b"Idempotency-Key: k1"),
    other(b"Content-Encoding: gzip"),
    other(b"Transfer-Encoding: chunked"),
]
ODD_REQUESTS = [
    b"\r\n",
    b"\n",
    b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
    b"nonsense\r\n\r\n",
    chunked(b"a"),
    chunked(b""),
]
ODD_LENGTHS = [
    b"",
    b"0",
    b"+3",
    b"-1",
    b"007",
    b"3 ",
    b" 3",
    b"3\t",
    b"0x3",
    b"3_0",
    b"12345678",
    b"3\r",
    b"3\n",
    b"3, 3",
    b"3\r\nx:y",
]
SMALL = st.text("ab sxw\r\n", max_size=12).map(str.encode)
LARGE = st.sampled_from([b"a" * 70_000, b"a" * (MAX_BODY + 1), OPENAI % 3 + b"abc"])
WAITS = st.sampled_from([0, 1, 2, 9, 9, 9])


@st.composite
def request_like(draw: st.DrawFn, head: bytes) -> bytes:
    """A request, with this head as often as not."""
    kind = draw(st.integers(0, 11))
    body = draw(LARGE if not draw(st.integers(0, 7)) else SMALL)
    if kind == 0:
        return draw(st.sampled_from(ODD_REQUESTS))
    if kind == 1:
        return head.replace(b"%d", draw(st.sampled_from(ODD_LENGTHS))) + body
    if kind == 2:
        head = draw(st.sampled_from(ODD_HEADS))
    if kind == 3:
        head = draw(st.sampled_from([OPENAI, SHORT]))
    return head % len(body) + body


@st.composite
def talk(draw: st.DrawFn) -> list[tuple[bytes, int]]:
    """A first request, and what follows: cut where its head ends or anywhere, or joined with the next; not always to
    its end. With each piece comes how many turns the loop makes before the next."""
    head = draw(st.sampled_from([OPENAI, SHORT, OPENAI.replace(b"sk-one", b"sk-refused")]))
    pieces, joined = [(head % 1 + b"a", 9)], b""
    for data in draw(st.lists(request_like(head), min_size=1, max_size=5)):
        text = joined + data
        way, joined = draw(st.integers(0, 6)), b""
        places = {0, len(text)}
        if way == 0:
            joined = text
            continue
        if way in {1, 2}:
            places.add(text.find(b"\r\n\r\n") + 4)
        if way in {2, 3}:
            places.update(draw(st.lists(st.integers(0, len(text)), max_size=3)))
        if way == 4:
            places.discard(len(text))
            places.add(draw(st.integers(0, len(text))))
        pieces += [(text[a:b], draw(WAITS)) for a, b in pairwise(sorted(places))]
    return [*pieces, (joined, 0)] if joined else pieces


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(talk())
def test_answers_are_the_same_as_if_every_head_were_parsed(app: App, pieces: list[tuple[bytes, int]]) -> None:
    with asyncio.Runner() as runner:
        assert runner.run(conversation(app, pieces, known=True)) == runner.run(conversation(app, pieces, known=False))
