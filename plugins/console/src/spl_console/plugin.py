"""The plugin: its routes and its command. What they need is imported when they are asked for."""

from typing import TYPE_CHECKING

from gateway_core.hookspecs import API, hookimpl
from gateway_core.ports import Endpoint
from gateway_core.services import Services
from spl_console.settings import ConsoleSettings

if TYPE_CHECKING:
    import click

    from spl_console.console import Console


class Plugin:
    """Pages for customers and operators, beside the API that they are made from."""

    API = API
    Settings = ConsoleSettings

    def __init__(self, settings: ConsoleSettings) -> None:
        self._settings = settings
        #: The console itself, once it has routes.
        self.console: Console | None = None

    @hookimpl
    def register_routes(self, services: Services) -> list[Endpoint]:
        """Every page, every file, and where one-time links come from."""
        if not self._settings.enabled:
            return []
        from spl_console.console import Console

        self.console = Console(self._settings, services)
        return self.console.endpoints()

    @hookimpl
    def register_commands(self) -> "list[click.Command]":
        """`spl console`."""
        from spl_console.command import console

        return [console] if self._settings.enabled else []
