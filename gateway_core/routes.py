"""Routes as the configuration states them."""

from gateway_core.hookspecs import API, hookimpl, lasting
from gateway_core.services import Services
from gateway_core.types import Call, Route


class StaticRoutesPlugin:
    """Answers `select_backend` with a model's configured routes whose providers are on."""

    API = API

    def __init__(self) -> None:
        self._routes: dict[str, tuple[Route, ...]] = {}

    @hookimpl
    async def startup(self, services: Services) -> None:
        """Keeps the routes of what is served."""
        self._routes = {name: facts.routes for name, facts in services.models.items()}

    @hookimpl
    @lasting
    def select_backend(self, call: Call) -> list[Route] | None:
        """The model's routes in configured order; None for a model that is not configured."""
        routes = self._routes.get(call.request.model)
        return None if routes is None else list(routes)
