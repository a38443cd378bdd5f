"""The floor: what a relay in Python can cost at the least. uvicorn, a raw ASGI endpoint, and for a client no more
than an asyncio.Protocol with httptools and a list of idle connections. A stream's events go on one by one, as the
upstream sent them: merging them would be cheaper still, and is not what a client that reads events asked for.

python -m scripts.benchmark.floor PORT UPSTREAM_PORT
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import cast

import httptools

from scripts.benchmark.endpoint import serve


class Connection(asyncio.Protocol):
    """One keep-alive connection to the upstream; the parser calls its on_… methods."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.parser = httptools.HttpResponseParser(self)
        self.pieces: list[bytes] = []
        self.whole = True
        self.reusable = True
        self.waiter: asyncio.Future[None] | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)
        self.wake()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the protocol's signature
        self.reusable = False
        self.whole = True
        self.wake()

    def on_body(self, body: bytes) -> None:
        self.pieces.append(body)

    def on_message_complete(self) -> None:
        self.reusable = self.parser.should_keep_alive()  # only here: once the message is over the parser forgets
        self.whole = True

    def wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def send(self, request: bytes) -> None:
        assert self.transport is not None
        self.whole = False
        self.transport.write(request)

    async def read(self) -> list[bytes]:
        """The pieces that have come since the last read, each as the upstream sent it; empty at the end."""
        while not self.pieces and not self.whole:
            self.waiter = self.loop.create_future()
            await self.waiter
        pieces, self.pieces = self.pieces, []
        return pieces


class FloorClient:
    """A list of idle connections and no more."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
            "content-type: application/json\r\ncontent-length: "
        ).encode()
        self.idle: list[Connection] = []

    async def start(self) -> None:
        """Nothing to prepare."""

    async def ask(self, body: bytes) -> AsyncIterator[bytes]:
        connection = self.idle.pop() if self.idle else await self.connect()
        connection.send(b"%b%d\r\n\r\n%b" % (self.head, len(body), body))
        while pieces := await connection.read():
            for piece in pieces:
                yield piece
        if connection.reusable:
            self.idle.append(connection)

    async def connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, "127.0.0.1", self.port)
        return connection


if __name__ == "__main__":
    serve(FloorClient(int(sys.argv[2])))
