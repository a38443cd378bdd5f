"""One call on a socket of its own, read as slowly or left as rudely as a trial wants it."""

import asyncio
import json
import re
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal, Self
from urllib.parse import urlsplit

PATH = "/v1/chat/completions"
Leaving = Literal["fin", "rst", "half_close"]

_CHUNK = re.compile(rb"([0-9a-f]+)\r\n", re.IGNORECASE)


async def connected(url: str, receive_buffer: int | None = None) -> socket.socket:
    """A connection to a gateway, for the loop's own calls on sockets."""
    parts = urlsplit(url)
    raw = socket.socket()
    raw.setblocking(False)
    if receive_buffer is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        await asyncio.get_running_loop().sock_connect(raw, (parts.hostname, parts.port))
    except BaseException:
        raw.close()
        raise
    return raw


def request(bearer: str, body: Mapping[str, Any]) -> bytes:
    """A call as its client writes it."""
    sent = json.dumps(body).encode()
    head = f"POST {PATH} HTTP/1.1\r\nhost: trial\r\nauthorization: Bearer {bearer}\r\nconnection: close\r\n"
    return f"{head}content-type: application/json\r\ncontent-length: {len(sent)}\r\n\r\n".encode() + sent


def no_linger(raw: socket.socket) -> None:
    """From now on its end is a reset."""
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Caller:
    """An open exchange. Raises OSError and asyncio.IncompleteReadError where the other side goes away."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.status = 0
        self.headers: Mapping[str, str] = {}

    @classmethod
    async def send(cls, url: str, bearer: str, body: Mapping[str, Any]) -> Self:
        """Connects and sends one call."""
        reader, writer = await asyncio.open_connection(sock=await connected(url))
        writer.write(request(bearer, body))
        return cls(reader, writer)

    async def head(self) -> int:
        """Reads the answer's head; gives its status."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        fields = (line.partition(":") for line in lines[1:] if line)
        self.headers = {name.lower(): value.strip() for name, _, value in fields}
        return self.status

    @property
    def request_id(self) -> str:
        """The gateway's name for the call."""
        return self.headers["x-request-id"]

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in its pieces, to its proper end; an improper one raises."""
        if "content-length" in self.headers:
            yield await self.reader.readexactly(int(self.headers["content-length"]))
            return
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            yield (await self.reader.readexactly(size + 2))[:-2]

    async def whole(self) -> bytes:
        """The whole body."""
        return b"".join([piece async for piece in self.chunks()])

    def leave(self, how: Leaving) -> None:
        """Goes away in one of the ways that clients do."""
        if how == "half_close":
            self.writer.write_eof()
            return
        if how == "rst":
            no_linger(self.writer.get_extra_info("socket"))
        self.writer.transport.abort()


def events_of(body: bytes) -> list[bytes]:
    """The data of every whole event in a stream's body."""
    return [line[6:] for line in body.split(b"\n\n")[:-1] if line.startswith(b"data: ")]


def text_of(body: bytes) -> str:
    """The text that came in a stream's body, as far as it came."""
    text = ""
    for event in events_of(body):
        if event != b"[DONE]":
            for choice in json.loads(event).get("choices", ()):
                text += choice["delta"].get("content") or ""
    return text


def body_of(raw: bytes) -> bytes:
    """What of a chunked answer's body came with its raw bytes, head included."""
    _, _, rest = raw.partition(b"\r\n\r\n")
    body = b""
    while size := _CHUNK.match(rest):
        end = size.end() + int(size[1], 16)
        body += rest[size.end() : end]
        rest = rest[end + 2 :]
    return body
