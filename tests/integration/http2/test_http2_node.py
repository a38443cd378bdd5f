"""HTTP/2 to a server that is nobody's here: Node's, on nghttp2."""

import asyncio
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway_core.config import UpstreamConfig
from gateway_core.errors import Unavailable
from gateway_core.ports import UpstreamRequest, UpstreamResponse
from gateway_core.testing.authority import Authority
from gateway_core.upstream.httpx_upstream import HttpxUpstream

SERVER = Path(__file__).with_name("http2_server.mjs")
PATIENCE = 20.0
CANCEL = 8

pytestmark = pytest.mark.service("node")


class Node:
    """The server, and the client that asks it."""

    def __init__(self, process: Process, port: int, upstream: HttpxUpstream) -> None:
        self._process = process
        self._port = port
        self.upstream = upstream

    async def said(self) -> str:
        """The next word of the server."""
        assert self._process.stdout is not None
        return (await asyncio.wait_for(self._process.stdout.readline(), PATIENCE)).decode().strip()

    async def send(self, path: str, body: bytes = b"{}") -> UpstreamResponse:
        """A request, up to the head of its answer."""
        request = UpstreamRequest(url=f"https://localhost:{self._port}{path}", headers={}, body=body)
        return await asyncio.wait_for(self.upstream.send(request), PATIENCE)

    async def ask(self, path: str, body: bytes = b"{}") -> bytes:
        """A request, and the body of its answer."""
        response = await self.send(path, body)
        try:
            return await asyncio.wait_for(response.read(), PATIENCE)
        finally:
            await response.close()


@pytest.fixture
async def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    authority = Authority(tmp_path, "ours")
    authority.server("localhost")
    (certificate,) = sorted(tmp_path.glob("server-*.pem"))  # noqa: ASYNC240  # nothing else runs here
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    process = await asyncio.create_subprocess_exec("node", SERVER, certificate, stdin=PIPE, stdout=PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    port = int(await asyncio.wait_for(process.stdout.readline(), PATIENCE))
    upstream = HttpxUpstream(UpstreamConfig(client="httpx2", http2=True))
    yield Node(process, port, upstream)
    await upstream.close()
    process.stdin.close()
    await asyncio.wait_for(process.wait(), PATIENCE)


async def test_bodies_of_every_size_on_one_connection(node: Node) -> None:
    for size in (0, 1, 16_384, 65_535, 65_536, 3_000_000):
        body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        assert await node.ask("/echo", body) == body
    assert await node.ask("/early") == b"hello"
    assert [await node.said(), await node.said()] == ["session", "asked /early"]
    await node.upstream.close()
    assert await node.said() == "session-closed"


async def test_many_at_once_stay_within_its_limit(node: Node) -> None:
    bodies = [b"%d" % number * 1000 for number in range(60)]
    assert await asyncio.gather(*[node.ask("/echo", body) for body in bodies]) == bodies
    await node.upstream.close()
    words = [await node.said(), await node.said()]
    while words.count("session-closed") < words.count("session"):
        words.append(await node.said())
    assert set(words) == {"session", "session-closed"}  # and no error


async def test_who_leaves_resets(node: Node) -> None:
    response = await node.send("/stay")
    await response.close()
    assert [await node.said() for _ in range(3)] == ["session", "asked /stay", f"aborted {CANCEL}"]
    assert await node.ask("/echo", b"still here") == b"still here"
    await node.upstream.close()
    assert await node.said() == "session-closed"


async def test_a_farewell_lets_the_answer_end(node: Node) -> None:
    assert await node.ask("/part") == b"data: 1\n\ndata: 2\n\n"
    assert [await node.said() for _ in range(3)] == ["session", "asked /part", "session-closed"]
    assert await node.ask("/echo", b"on another") == b"on another"
    assert await node.said() == "session"


async def test_what_is_refused_is_asked_once_more_and_what_is_cut_is_not(node: Node) -> None:
    for path in ("/refuse", "/cut"):
        with pytest.raises(Unavailable, match="hung up"):
            await node.ask(path)
    assert await node.ask("/echo", b"on the same") == b"on the same"
    await node.upstream.close()
    words: list[str] = []
    while "session-closed" not in words:
        words.append(await node.said())
    asked = [word for word in words if word.startswith("asked")]
    assert asked == ["asked /refuse", "asked /refuse", "asked /cut"]
    assert words.count("session") == 1
