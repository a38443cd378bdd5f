"""The application: pure ASGI, one guard around everything, the one hot path in front of the router."""

import inspect
import logging

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway_core.edge import api_chat
from gateway_core.edge.access import Access
from gateway_core.edge.chat import ChatEndpoint
from gateway_core.edge.direct import DirectClient
from gateway_core.edge.documentation import DocumentationEndpoints
from gateway_core.edge.endpoints import core_endpoints
from gateway_core.edge.errors import Headers, render
from gateway_core.edge.guard import Addresses, ClientGone
from gateway_core.edge.host import REQUEST_ID, Host
from gateway_core.edge.routing import RouteInfo, build_router
from gateway_core.errors import ConfigError, GatewayError, InternalError, StoreError
from gateway_core.ids import request_id
from gateway_core.logs import current_request
from gateway_core.ports import Endpoint

log = logging.getLogger(__name__)

CHAT = "/v1/chat/completions"
HEALTH = frozenset({"/healthz", "/readyz"})
DRAINING_RETRY_SECONDS = 5


class App:
    """One gateway as an ASGI application. Its lifespan is the gateway's."""

    def __init__(self, host: Host, chat: ChatEndpoint, router: ASGIApp, routes: tuple[RouteInfo, ...]) -> None:
        self._host = host
        #: What serves calls.
        self.chat = chat
        self._pipeline = host.pipeline
        self._router = router
        #: Every route with its gate.
        self.routes = routes
        self._server = host.services.config.server
        self._addresses = Addresses(self._server.trusted_proxies)
        self._failures = host.inside.failures
        self._errors = host.errors
        host.inside.opens(self._endpoint)
        self._id_header = f"{self._server.header_prefix}Request-ID".lower().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the lifespan."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        identifier = request_id()
        scope[REQUEST_ID] = identifier
        current_request.set(identifier)
        name = identifier.encode()
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = message["headers"]
                message["headers"] = [*headers, (self._id_header, name), (b"x-request-id", name)]
            await send(message)

        try:
            await self._route(scope, receive, answer)
        except Exception as error:  # noqa: BLE001  # whatever failed, its caller is told of it
            refusal = _refusal(error, started=started)
            if refusal is not None:
                self._failures.note(self._addresses.client(scope), refusal.status)
                await self._refuse(refusal, identifier, answer)

    async def call(self, client: DirectClient) -> None:
        """One call that came over our own server, without ASGI in between: a task of its own."""
        current_request.set(client.request_id)
        host = self._host
        try:
            if host.draining or self._failures.counted:
                self._check(client.address)
            if client.headers is not None:
                client.read_head()
            host.enter()
            try:
                await self._pipeline.serve(client)
            except Exception as error:
                if not await self.chat.told(client, error):
                    raise
            finally:
                host.leave()
        except Exception as error:  # noqa: BLE001  # as above
            await self._refuse_direct(client, error)
        finally:
            client.over()

    async def _refuse_direct(self, client: DirectClient, error: Exception) -> None:
        client.forget()
        try:
            refusal = _refusal(error, started=client.started)
            if refusal is not None:
                self._failures.note(client.address, refusal.status)
                await client.refuse(*self._rendered(refusal, client.request_id))
        except Exception:
            log.exception("a call could not be refused")

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path not in HEALTH and (self._host.draining or self._failures.counted):
            self._check(self._addresses.client(scope))
        await self._endpoint(scope, receive, send)

    async def _endpoint(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == CHAT and scope["method"] == "POST":
            await self.chat(scope, receive, send)
        else:
            await self._router(scope, receive, send)

    def _check(self, address: str) -> None:
        """Refuses before anything else: while the gateway stops, and whoever fails too often."""
        if self._host.draining:
            raise InternalError("The gateway is shutting down; try again.", retry_after=DRAINING_RETRY_SECONDS)
        self._failures.check(address)

    def _rendered(self, error: GatewayError, identifier: str) -> tuple[int, Headers, bytes]:
        status, headers, body = render(error, identifier, self._server)
        self._errors.note(identifier, status, error.code, error.kind)
        if status == 413:
            # What is left of the body is not worth the reading.
            headers.append((b"connection", b"close"))
        return status, headers, body

    async def _refuse(self, error: GatewayError, identifier: str, send: Send) -> None:
        status, headers, body = self._rendered(error, identifier)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._host.start()
        except Exception as error:  # noqa: BLE001  # whatever stops the start is told to the server, which ends
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._host.stop()
        await send({"type": "lifespan.shutdown.complete"})


def _refusal(error: Exception, *, started: bool) -> GatewayError | None:
    """What is told of a request that failed; None where nobody can be told: then the server hangs up."""
    if isinstance(error, (ClientGone, ClientDisconnect)):
        return None
    if isinstance(error, GatewayError):
        refusal = error
    elif isinstance(error, StoreError):
        log.error("the store could not be used", exc_info=error)
        refusal = InternalError("The store cannot be used at the moment.", retry_after=DRAINING_RETRY_SECONDS)
    else:
        log.error("a request failed", exc_info=error)
        refusal = InternalError("The gateway failed; its log says why, under this request's id.")
    if started:
        log.error("a request failed after its answer had begun: %s", refusal.code)
        return None
    return refusal


def build_app(host: Host) -> App:
    """The application of one gateway: the core's endpoints, its plugins', and the chat endpoint before both.

    Raises ConfigError where a plugin would take one of the core's own.
    """
    access = Access(host)
    routes = [RouteInfo("POST", CHAT, "inference", api_chat.SUMMARY, api_chat.ABOUT, api_chat.SHAPE)]
    own = [*core_endpoints(host, access), *DocumentationEndpoints(host, routes).endpoints()]
    routes += map(_info, own)
    taken = {(route.method, route.path) for route in routes}
    added = host.plugins.endpoints(host.services)
    for endpoint in added:
        if (endpoint.method, endpoint.path) in taken:
            raise ConfigError(f"a plugin registers {endpoint.method} {endpoint.path}, which is the gateway's own")
    routes += map(_info, added)
    router = build_router([*own, *added], access, host.services.config.server.max_body_bytes, routes)
    return App(host, ChatEndpoint(host), router, tuple(routes))


def _info(endpoint: Endpoint) -> RouteInfo:
    about = inspect.getdoc(endpoint.handler) or ""
    return RouteInfo(endpoint.method, endpoint.path, endpoint.gate, endpoint.summary, about, endpoint.shape)
