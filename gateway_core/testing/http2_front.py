"""A strict upstream behind HTTP/2 and TLS: what breaks off behind it is reset, and who leaves is left by it, too."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httptools

from gateway_core.testing.authority import Authority
from gateway_core.testing.http2_server import Exchange, Gone, in_a_thread
from gateway_core.testing.upstream_handle import ScriptedHandle

Settings = dict[str, Any]
"""Keywords of `line`."""

_HOPS = frozenset({"transfer-encoding", "connection", "keep-alive"})


class FrontedHandle(ScriptedHandle):
    """The upstream's handle, with the front's address for those who ask it."""

    def __init__(self, behind: ScriptedHandle, url: str) -> None:
        super().__init__(behind.port, behind.key)
        self._url = url + behind.path

    @property
    def base_url(self) -> str:
        """As a provider's `base_url` takes it."""
        return self._url


@contextmanager
def asked_by(client: str, folder: Path, *upstreams: ScriptedHandle) -> Iterator[tuple[list[ScriptedHandle], Settings]]:
    """Upstreams, and settings for `line`, so that "native", "httpx2", or httpx2 by "http2" asks them."""
    if client != "http2":
        yield list(upstreams), {"client": client}
        return
    authority = Authority(folder, "front")
    with ExitStack() as stack:
        fronts: list[ScriptedHandle] = [stack.enter_context(fronted(one, authority)) for one in upstreams]
        yield fronts, {"client": "httpx2", "http2": True, "env": {"SSL_CERT_FILE": str(authority.file)}}


@contextmanager
def fronted(upstream: ScriptedHandle, authority: Authority) -> Iterator[FrontedHandle]:
    """Serves while the block lasts, in a thread. Fails where a client did what it must not, or asked for nothing."""

    async def relay(exchange: Exchange) -> None:
        await exchange.asked.wait()
        reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
        passing = asyncio.create_task(_pass_on(exchange, reader, writer))
        leaving = asyncio.create_task(exchange.left.wait())
        try:
            await asyncio.wait({passing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            passing.cancel()
            leaving.cancel()
            await asyncio.gather(passing, leaving, return_exceptions=True)
            writer.close()

    with in_a_thread(authority, relay) as server:
        yield FrontedHandle(upstream, server.url)
        assert server.exchanges


async def _pass_on(exchange: Exchange, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    fields = {name: value for name, value in exchange.headers.items() if not name.startswith(":")}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    path = exchange.headers[":path"]
    writer.write(f"POST {path} HTTP/1.1\r\nhost: upstream\r\n{head}\r\n".encode() + exchange.body)
    answer = _Answer()
    parser = answer.parser = httptools.HttpResponseParser(answer)
    with suppress(Gone):
        while not answer.whole:
            try:
                data = await reader.read(65_536)
            except ConnectionError:
                data = b""
            if data:
                parser.feed_data(data)
            elif not answer.until_close():
                exchange.reset()
                return
            else:
                answer.whole = True
            if answer.status and not answer.said:
                answer.said = True
                exchange.head(answer.status, *answer.fields)
            for piece in answer.taken():
                await exchange.data(piece)
        await exchange.data(end=True)


class _Answer:
    """What the parser has found."""

    def __init__(self) -> None:
        self.parser: Any = None
        self.status = 0
        self.said = False
        self.whole = False
        self.fields: list[tuple[str, str]] = []
        self._lengths = False
        self._pieces: list[bytes] = []

    def until_close(self) -> bool:
        """Whether the connection's end is the body's."""
        return bool(self.status) and not self._lengths

    def taken(self) -> list[bytes]:
        """What has come of the body since the last call."""
        pieces, self._pieces = self._pieces, []
        return pieces

    def on_header(self, name: bytes, value: bytes) -> None:
        known = name.decode().lower()
        self._lengths = self._lengths or known in ("content-length", "transfer-encoding")
        if known not in _HOPS:
            self.fields.append((known, value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        self.whole = True
