"""Endpoints as an ASGI application: each behind its gate, each path with its methods, and a helpful 404."""

import difflib
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from gateway_core.edge.access import Access
from gateway_core.edge.guard import capped
from gateway_core.errors import MethodNotAllowed, NotFound
from gateway_core.ports import Endpoint, Gate, Shape

_SHOWN = 100


class RouteInfo(msgspec.Struct, frozen=True):
    """One route as it is listed: for the API's documentation, a 404's hint, and the test of every gate."""

    method: str
    path: str
    gate: Gate
    summary: str
    #: What the handler says of itself.
    about: str = ""
    shape: Shape | None = Shape()


class PathApp:
    """Every endpoint of one path. HEAD is GET without its body; OPTIONS says what there is.

    `elsewhere` are the path's methods that are served before the router.
    """

    def __init__(
        self, endpoints: Mapping[str, Endpoint], access: Access, max_body: int, elsewhere: Iterable[str] = ()
    ) -> None:
        self._endpoints = dict(endpoints)
        self._access = access
        self._max_body = max_body
        self._allow = allowed({*endpoints, *elsewhere})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Gate first, handler second. Raises the GatewayErrors of both."""
        method = scope["method"]
        if method == "OPTIONS":
            await Response(status_code=204, headers={"allow": self._allow})(scope, receive, send)
            return
        endpoint = self._endpoints.get("GET" if method == "HEAD" else method)
        if endpoint is None:
            message = f"{_shown(method)} is not possible here; this path takes {self._allow}."
            raise MethodNotAllowed(message, allow=self._allow)
        principal = await self._access.admit(scope, endpoint.gate)
        request = Request(scope, capped(scope, receive, self._max_body))
        response = await endpoint.handler(request, principal)
        await response(scope, receive, send)


def allowed(methods: Iterable[str]) -> str:
    """The Allow header of a path that has endpoints for these methods."""
    implied = {"OPTIONS", "HEAD"} if "GET" in methods else {"OPTIONS"}
    return ", ".join(sorted(implied.union(methods)))


class NotFoundApp:
    """What answers where no path matches: names the nearest endpoint there is."""

    def __init__(self, routes: Iterable[RouteInfo]) -> None:
        self._paths = {route.path: route.method for route in routes}

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        """Raises NotFound."""
        path = scope["path"]
        close = difflib.get_close_matches(path[:_SHOWN], self._paths, n=1, cutoff=0.0)
        hint = f" The nearest endpoint is {self._paths[close[0]]} {close[0]}." if close else ""
        raise NotFound(f"There is no {_shown(scope['method'])} {_shown(path)} here.{hint}")


def build_router(endpoints: Iterable[Endpoint], access: Access, max_body: int, known: Sequence[RouteInfo]) -> Router:
    """The endpoints as one router; `known` is all that a 404 may point to."""
    paths: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    for route in known:
        paths.setdefault(route.path, {})
    routes = [
        Route(path, PathApp(methods, access, max_body, _elsewhere(known, path, methods)))
        for path, methods in paths.items()
    ]
    return Router(routes, redirect_slashes=False, default=NotFoundApp(known))


def _elsewhere(known: Iterable[RouteInfo], path: str, methods: Mapping[str, Endpoint]) -> list[str]:
    return [route.method for route in known if route.path == path and route.method not in methods]


def _shown(text: str) -> str:
    """A caller's text as a message repeats it: short, and nothing that does not print."""
    return "".join([character if character.isprintable() else "?" for character in text[:_SHOWN]])
