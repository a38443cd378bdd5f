"""/openapi.json and /docs: the API's own document, for programs and for people."""

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway_core.edge import answers
from gateway_core.edge.api_document import document
from gateway_core.edge.api_page import POLICY, page
from gateway_core.edge.host import Host
from gateway_core.edge.routing import RouteInfo
from gateway_core.ports import Endpoint
from gateway_core.types import Principal

_PAGE_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class DocumentationEndpoints:
    """Handlers for the document. `routes` is looked at when it is first asked for: by then it is complete."""

    def __init__(self, host: Host, routes: Sequence[RouteInfo]) -> None:
        self._host = host
        self._routes = routes
        self._made: dict[str, Any] | None = None
        self._page: str | None = None

    def endpoints(self) -> list[Endpoint]:
        """Both of them."""
        return [
            Endpoint("GET", "/openapi.json", "public", self.openapi, "This API as an OpenAPI 3.1 document."),
            Endpoint("GET", "/docs", "public", self.docs, "This API as a page.", shape=None),
        ]

    async def openapi(self, _request: Request, _principal: Principal | None) -> Response:
        """What this instance serves, its plugins' endpoints included, in its own dialect of errors."""
        return answers.json(self._document())

    async def docs(self, _request: Request, _principal: Principal | None) -> Response:
        """The same as a page that needs nothing from anywhere."""
        if self._page is None:  # strangers may ask: 4 ms once, and not each time
            self._page = page(self._document())
        return Response(self._page, headers=_PAGE_HEADERS, media_type="text/html")

    def _document(self) -> dict[str, Any]:
        if self._made is None:
            anonymous = "anonymous" in self._host.plugins.tiers
            self._made = document(self._routes, self._host.services.config.server, anonymous=anonymous)
        return self._made
