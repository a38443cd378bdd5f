"""Which gateway a command talks to, as the options and the environment name it."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    import click

    from gateway_core.cli.client import Api

T = TypeVar("T")


class Target:
    """The home, the address and the configuration that a command line names. It is every command's `ctx.obj`."""

    def __init__(self) -> None:
        self.home = Path("~/.spl").expanduser()
        self.url: str | None = None
        self.config: Path | None = None
        #: The plugins' commands, once they were asked for.
        self.extensions: Mapping[str, click.Command] | None = None

    def connect(self, *, server_for: str | None = None) -> "AbstractAsyncContextManager[Api]":
        """The API of the server at `--url`, else of the one on the home, else of one in this process.

        `server_for`: what needs a running server, for the refusal where there is none.
        """
        from gateway_core.cli.client import connect

        return connect(self, server_for=server_for)

    def run(self, work: "Callable[[Api], Awaitable[T]]", *, server_for: str | None = None) -> T:
        """Runs `work` with the API from synchronous code, and returns what it returns."""
        import asyncio

        async def connected() -> T:
            async with self.connect(server_for=server_for) as api:
                return await work(api)

        return asyncio.run(connected())
