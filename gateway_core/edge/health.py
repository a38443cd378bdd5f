"""/healthz and /readyz: alive, and fit to serve."""

from typing import Literal, TypedDict

from starlette.requests import Request
from starlette.responses import Response

from gateway_core.edge import answers
from gateway_core.edge.host import Host
from gateway_core.errors import StoreError
from gateway_core.ports import Endpoint, Shape
from gateway_core.types import Principal


class Alive(TypedDict):
    """The process answers."""

    status: Literal["ok"]


class Ready(TypedDict):
    """Whether calls can be served, and what stands in the way. Sinks that are behind do not."""

    status: Literal["ready", "draining", "unready"]
    checks: dict[str, bool]


class HealthEndpoints:
    """Handlers for whoever watches the gateway. They say nothing that a stranger may not know."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def endpoints(self) -> list[Endpoint]:
        """All of them."""
        return [
            Endpoint("GET", "/healthz", "public", self.health, "The process answers.", Shape(answer=Alive)),
            Endpoint(
                "GET",
                "/readyz",
                "public",
                self.ready,
                "Calls can be served; 503 where they cannot.",
                Shape(answer=Ready, statuses=(200, 503)),
            ),
        ]

    async def health(self, _request: Request, _principal: Principal | None) -> Response:
        """Always 200."""
        return answers.json(Alive(status="ok"))

    async def ready(self, _request: Request, _principal: Principal | None) -> Response:
        """200 where the store would acknowledge a commit, a provider is on, and no shutdown has begun."""
        host = self._host
        checks = {
            "serving": not host.draining,
            "store": await self._store(),
            "providers": bool(host.services.providers),
            "sinks": bool(host.outbox.sinks) and not host.outbox.failing,
        }
        # What no sink takes stays in the store and is delivered later: worth knowing, no reason to be taken out.
        ready = checks["serving"] and checks["store"] and checks["providers"]
        status: Literal["ready", "draining", "unready"] = (
            "ready" if ready else "draining" if host.draining else "unready"
        )
        return answers.json(
            Ready(status=status, checks=checks), 200 if ready else 503, None if ready else {"retry-after": "5"}
        )

    async def _store(self) -> bool:
        try:
            return await self._host.services.store.ready()
        except StoreError:
            return False
