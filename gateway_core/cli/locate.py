"""The gateway of a home: the server that runs on it, or one assembled here for as long as a command takes."""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import httpx2

from gateway_core.cli.failure import UNAVAILABLE, Failure
from gateway_core.cli.output import on_terminal
from gateway_core.cli.target import Target
from gateway_core.errors import StoreLocked
from gateway_core.home import Home, RunningServer

if TYPE_CHECKING:
    from gateway_core.gateway import Gateway

_POLL_SECONDS = 0.1


class Found(NamedTuple):
    """Where the gateway of a home answers, and the operator's credential for it."""

    url: str
    operator_key: str
    #: None: over the network.
    transport: httpx2.AsyncBaseTransport | None


@asynccontextmanager
async def locate(target: Target, *, patience: float, server_for: str | None = None) -> AsyncIterator[Found]:
    """Finds the home's server, or takes the home and runs its gateway here.

    Where another process has the home and nothing answers, waits up to `patience` seconds for either.
    """
    home = Home(target.home)
    new = not home.path.exists()  # a person may have mistyped it
    async with AsyncExitStack() as held:
        deadline = time.monotonic() + patience
        while True:
            server = home.running()
            if server is not None and await _answers(server):
                yield Found(server.url, home.operator_key_path.read_text().strip(), None)
                return
            try:
                held.enter_context(home.lock(wait=0))
                break
            except StoreLocked as error:
                if time.monotonic() >= deadline:
                    raise Failure(f"no server answers, and {error}", UNAVAILABLE) from None
            await asyncio.sleep(_POLL_SECONDS)
        # Nobody serves, so what a killed server noted is stale; the next command is not to believe it.
        home.server_file.unlink(missing_ok=True)
        if server_for is not None:
            raise Failure(f"{server_for} needs a running server: start one with `spl serve`", UNAVAILABLE)
        if new and on_terminal(sys.stderr):
            click.echo(f"{home.path} was not there: a new instance begins in it", err=True)
        yield await held.enter_async_context(_assembled(target, home))


async def _answers(server: RunningServer) -> bool:
    try:
        async with httpx2.AsyncClient(trust_env=False, timeout=2.0) as http:
            return (await http.get(f"{server.url}/healthz")).is_success
    except httpx2.HTTPError:
        return False


@asynccontextmanager
async def _assembled(target: Target, home: Home) -> AsyncIterator[Found]:
    """A gateway of this process, started. The home is locked already."""
    from gateway_core import logs
    from gateway_core.cli.inprocess import InProcess

    # A server logs what it starts with; a command is asked for something else.
    logs.configure(level=logging.ERROR)
    gateway = assemble(target, home)
    await gateway.start()
    try:
        key = gateway.services.keyring.operator_key
        yield Found("http://localhost", key, InProcess(gateway.app))
    finally:
        await asyncio.shield(gateway.stop())


def assemble(target: Target, home: Home, overrides: Mapping[str, Any] | None = None) -> "Gateway":
    """The gateway that the target's configuration describes, not started; `overrides` win over its files."""
    from gateway_core import config_file
    from gateway_core.gateway import Gateway

    return Gateway.assemble(config_file.load(target.config, home, overrides), home)
