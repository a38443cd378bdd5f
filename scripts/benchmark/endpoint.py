"""What relay.py and floor.py share: a raw ASGI chat endpoint that checks a bearer and passes the answer through.

It is what the gateway is compared with, so it does only what no relay can leave out: it reads and decodes the
request, checks the bearer, asks the upstream, and hands on status, type and body. Nothing is counted, held or kept.
"""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import msgspec
import uvicorn

BEARER = b"Bearer bench"
TRUE = msgspec.Raw(b"true")
Message = dict[str, Any]
decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
encode = msgspec.json.Encoder().encode


class Client(Protocol):
    """The part that differs: how the upstream is asked."""

    async def start(self) -> None:
        """Called once on the serving loop."""
        ...

    def ask(self, body: bytes) -> AsyncIterator[bytes]:
        """The answer's body in the pieces that it comes in."""
        ...


class Relay:
    """The endpoint, as an ASGI application."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await self.client.start()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if dict(scope["headers"]).get(b"authorization") != BEARER:
            await answer(send, 401, b'{"error":{"code":"invalid_bearer"}}')
            return
        request = decode(body)
        if request.get("stream") == TRUE:
            await stream(send, self.client.ask(encode(request)))
        else:
            pieces = [piece async for piece in self.client.ask(encode(request))]
            await answer(send, 200, b"".join(pieces))


async def answer(send: Callable[[Message], Awaitable[None]], status: int, body: bytes) -> None:
    """A whole answer."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def stream(send: Callable[[Message], Awaitable[None]], pieces: AsyncIterator[bytes]) -> None:
    """A streamed answer, piece by piece as it comes."""
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    async for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def serve(client: Client) -> None:
    """Serves on 127.0.0.1 at the port that is the first argument."""
    uvicorn.run(
        Relay(client),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )
