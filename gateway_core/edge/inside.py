"""The gateway's own API as a plugin asks it from within: `ports.Inside`."""

import asyncio
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway_core.config import ServerConfig
from gateway_core.dispatch import Dispatch
from gateway_core.edge.floods import Failures
from gateway_core.edge.guard import Addresses
from gateway_core.errors import GatewayError, InternalError, InvalidBearer
from gateway_core.ports import REQUEST_ID, Clock, InsideAnswer
from gateway_core.types import Credentials, Principal

_KEPT = (b"x-forwarded-for", b"x-forwarded-proto")
"""What a request from within keeps of its client's headers: what tells the client's address."""


class Inside:
    """Requests that come from this process itself. `opens` says what answers them."""

    def __init__(self, server: ServerConfig, dispatch: Dispatch, clock: Clock) -> None:
        self._dispatch = dispatch
        self._addresses = Addresses(server.trusted_proxies)
        #: Failures by address, of requests at the door and from within.
        self.failures = Failures(server.failures_per_minute, clock)
        self._app: ASGIApp | None = None

    def opens(self, app: ASGIApp) -> None:
        """The endpoints, which raise what they refuse with."""
        self._app = app

    def address(self, scope: Scope) -> str:
        """The client's address, behind trusted proxies."""
        return self._addresses.client(scope)

    def is_secure(self, scope: Scope) -> bool:
        """Whether the client came by TLS."""
        return self._addresses.secure(scope)

    async def identify(self, scope: Scope, bearer: str) -> Principal:
        """Whose bearer it is."""
        address = self.address(scope)
        try:
            principal = await self._dispatch.authenticate(Credentials(bearer, address))
            if principal is None:
                raise InvalidBearer
        except GatewayError as error:
            self.failures.note(address, error.status)
            raise
        return principal

    async def ask(self, scope: Scope, bearer: str, method: str, path: str, body: bytes | None = None) -> InsideAnswer:
        """One request and its whole answer."""
        asked = _scope(scope, bearer, method, path)
        asked["headers"].append((b"content-type", b"application/json"))
        head: Message = {}
        parts: list[bytes] = []

        given = False

        async def receive() -> Message:
            nonlocal given
            if given:
                await asyncio.Event().wait()  # who asks from within does not leave
            given = True
            return {"type": "http.request", "body": body or b"", "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                head.update(message)
            else:
                parts.append(message.get("body", b""))

        await self._answer(asked, receive, send)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head["headers"]}
        return InsideAnswer(head["status"], headers, b"".join(parts))

    async def forward(self, scope: Scope, receive: Receive, send: Send, bearer: str, path: str) -> None:
        """Lets another endpoint answer the client."""
        asked = _scope(scope, bearer, scope["method"], path)
        # What counts as delivered is what this very connection took.
        asked["extensions"] = scope.get("extensions", {})
        asked["headers"] += [pair for pair in scope["headers"] if pair[0] in {b"content-type", b"content-length"}]
        await self._answer(asked, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            raise InternalError("The gateway is not assembled yet.")
        await self._app(scope, receive, send)


def _scope(scope: Scope, bearer: str, method: str, path: str) -> Scope:
    """A request's scope, on the same client's behalf: nothing of what it showed but its address."""
    path, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": scope.get("asgi", {"version": "3.0"}),
        "http_version": scope.get("http_version", "1.1"),
        "scheme": scope.get("scheme", "http"),
        "server": scope.get("server"),
        "client": scope.get("client"),
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [
            (b"authorization", f"Bearer {bearer}".encode()),
            *[pair for pair in scope["headers"] if pair[0] in _KEPT],
        ],
        REQUEST_ID: scope[REQUEST_ID],
    }
