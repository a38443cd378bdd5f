"""The gateway in this process, behind the same HTTP client that talks to a running one.

httpx2's own ASGI transport gathers an answer whole before it hands it on; a streamed answer has to come as it is made.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import httpx2

Message = MutableMapping[str, Any]
App = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


class _Exchange(httpx2.AsyncByteStream):
    """One request to the app and its answer: a piece is taken only when the one before was read."""

    def __init__(self, app: App, scope: MutableMapping[str, Any], body: bytes) -> None:
        self._body: bytes | None = body
        self._gone = asyncio.Event()
        self._out: asyncio.Queue[Message | None] = asyncio.Queue(1)
        self._task = asyncio.create_task(self._serve(app, scope))

    async def _serve(self, app: App, scope: MutableMapping[str, Any]) -> None:
        try:
            await app(scope, self._receive, self._send)
        finally:
            if not self._gone.is_set():
                await self._out.put(None)

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        # As a server does it: what is sent to nobody is dropped, and the app learns of it from `receive`.
        if not self._gone.is_set():
            await self._out.put(message)

    async def _next(self) -> Message:
        message = await self._out.get()
        if message is None:
            await self._task
            raise httpx2.RemoteProtocolError("the gateway ended the answer early")
        return message

    async def head(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """The answer's status and headers."""
        message = await self._next()
        return message["status"], list(message["headers"])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._next()
            more = message.get("more_body", False)
            if message.get("body"):
                yield message["body"]

    async def aclose(self) -> None:
        self._gone.set()
        while not self._out.empty():
            self._out.get_nowait()
        # The app settles what it delivered before the gateway under it is stopped.
        await asyncio.gather(self._task, return_exceptions=True)


class InProcess(httpx2.AsyncBaseTransport):
    """Carries requests to an ASGI app in this process, with answers streamed."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Hands one request to the app, and waits for its answer's head."""
        exchange = _Exchange(self._app, _scope(request), await request.aread())
        try:
            status, headers = await exchange.head()
        except BaseException:
            await exchange.aclose()
            raise
        return httpx2.Response(status, headers=headers, stream=exchange)


def _scope(request: httpx2.Request) -> MutableMapping[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": request.url.path,
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "query_string": request.url.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 0),
        "server": (request.url.host, request.url.port or 80),
        "state": {},
    }
