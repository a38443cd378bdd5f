"""The limiter that lives in this process: `[limits] url = "memory"`."""

from gateway_core.hookspecs import API, hookimpl
from gateway_core.limits.memory import MemoryLimiter
from gateway_core.ports import LimiterKind
from gateway_core.services import Services


class MemoryPlugin:
    """Windows in memory, kept over a restart in the store. For one process."""

    API = API

    @hookimpl
    def register_limiters(self) -> list[LimiterKind]:
        """Serves `url = "memory"`."""
        return [LimiterKind("memory", MemoryLimiter)]

    @hookimpl
    async def startup(self, services: Services) -> None:
        """Reads the windows that the last run left, before anything is served."""
        if isinstance(services.limiter, MemoryLimiter):
            await services.limiter.open()


__all__ = ["MemoryLimiter", "MemoryPlugin"]
