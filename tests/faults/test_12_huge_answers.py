"""Fault 12: a 50 MB event, an endless answer, a compression bomb: capped, memory flat, the loop free meanwhile."""

import gzip
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from gateway_core.testing.http2_front import asked_by
from gateway_core.testing.line import Line, line
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.server import PATIENCE
from gateway_core.testing.upstream_handle import ScriptedHandle

MIB = 1024 * 1024
HALF_A_CAP = MIB // 2
EVENT_CAP = MIB
ANSWER_CAP = 4 * MIB
#: What the kernel takes of a loopback connection on its own account, whoever reads it.
KERNEL = sum(
    int(Path(f"/proc/sys/net/ipv4/tcp_{way}").read_text(encoding="ascii").split()[2]) for way in ("rmem", "wmem")
)
#: An answer of 50 MiB, or what outgrows the kernel's buffers and the caps for certain.
WHOLE = max(50 * MIB, 2 * KERNEL)
MODEL = """
[providers.huge]
plugin = "provider-openai"
base_url = "{base_url}/v1"

[models.huge]
routes = [{{ provider = "huge", model = "huge" }}]
price = {{ input = "1.00", output = "10.00" }}
"""
CAPS = f"""
max_event_bytes = {EVENT_CAP}
max_answer_bytes = {ANSWER_CAP}
"""
Pour = Callable[[socket.socket], None]


class HugeUpstream:
    """Answers each request by pouring; how much of it was taken is noted."""

    def __init__(self) -> None:
        self.pour: Pour = lambda _: None
        self.poured: list[int] = []
        self.gateway = ""
        self.free: list[int] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65536)
            self.pour(connection)

    def send(self, connection: socket.socket, head: bytes, first: bytes, piece: bytes, total: int) -> None:
        """A head, the beginning of a body, and pieces up to a total."""
        connection.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\n" + head + b"\r\n" + first)
        sent = 0
        try:
            while sent < total:
                connection.sendall(piece)
                sent += len(piece)
                if len(self.free) == 0 and sent > HALF_A_CAP:
                    # In the middle of it the loop answers others.
                    self.free.append(httpx2.get(f"{self.gateway}/healthz", timeout=PATIENCE).status_code)
        finally:
            self.poured.append(sent)


@pytest.fixture(scope="module")
def huge() -> Iterator[HugeUpstream]:
    upstream = HugeUpstream()
    yield upstream
    upstream.listener.close()


@pytest.fixture(scope="module", params=["native", "httpx2", "http2"])
def capped(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    openai_upstream_process: UpstreamHandle,
    huge: HugeUpstream,
) -> Iterator[Line]:
    folder = tmp_path_factory.mktemp("huge")
    raw = ScriptedHandle(huge.listener.getsockname()[1], "")
    with (
        asked_by(request.param, folder, openai_upstream_process, raw) as ((upstream, pouring), how),
        line(
            folder / "home",
            upstream,
            upstream_settings=CAPS,
            more=MODEL.format(base_url=pouring.base_url),
            **how,
        ) as made,
    ):
        huge.gateway = made.gateway.url
        made.call()  # what the first call loads is no answer's
        yield made


def refused(capped: Line, huge: HugeUpstream, pour: Pour, *, stream: bool) -> int:
    """Calls, sees it refused and at no cost, and gives the bytes of memory that it took."""
    huge.pour, huge.poured[:], huge.free[:] = pour, [], []
    before = capped.memory()
    answer = capped.call(model="huge", stream=stream)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "provider_error")
    assert capped.row(answer.headers["x-request-id"])["charge"] == 0
    return capped.memory() - before


@pytest.mark.parametrize("small_writes", [False, True])
def test_12_a_50_mb_event_is_cut_off_at_the_cap(capped: Line, huge: HugeUpstream, small_writes: bool) -> None:
    piece = b"x" * (997 if small_writes else 65536)

    def pour(connection: socket.socket) -> None:
        head = b"content-type: text/event-stream\r\n"
        huge.send(connection, head, b'data: {"choices": [{"delta": {"content": "', piece, WHOLE)

    grown = refused(capped, huge, pour, stream=True)
    assert huge.free == [200]
    assert huge.poured[0] < EVENT_CAP + KERNEL + MIB
    assert grown < 24 * MIB


def test_12_an_endless_plain_answer_is_cut_off_at_the_cap(capped: Line, huge: HugeUpstream) -> None:
    def pour(connection: socket.socket) -> None:
        huge.send(connection, b"content-type: application/json\r\n", b'{"choices": "', b"x" * 65536, WHOLE)

    grown = refused(capped, huge, pour, stream=False)
    assert huge.free == [200]
    assert huge.poured[0] < ANSWER_CAP + KERNEL + MIB
    assert grown < 32 * MIB


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_12_a_compression_bomb_is_not_unpacked(capped: Line, huge: HugeUpstream, coding: str, stream: bool) -> None:
    plain = b"data: " + bytes(50 * MIB)
    bomb = gzip.compress(plain, 1) if coding == "gzip" else zlib.compress(plain, 1)

    def pour(connection: socket.socket) -> None:
        kind = "text/event-stream" if stream else "application/json"
        head = f"content-type: {kind}\r\ncontent-encoding: {coding}\r\ncontent-length: {len(bomb)}\r\n".encode()
        huge.send(connection, head, b"", bomb, len(bomb))

    assert refused(capped, huge, pour, stream=stream) < 16 * MIB
