"""Runs a gateway on a socket: uvicorn with our bounds, and a shutdown that loses nothing."""

import asyncio
import contextlib
import errno
import gc
import ipaddress
import logging
import os
import resource
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn
import uvloop

from gateway_core.config import ServerConfig
from gateway_core.edge.app import CHAT
from gateway_core.edge.host import Host
from gateway_core.edge.protocol import SWEEP_SECONDS, GuardedProtocol
from gateway_core.errors import ConfigError
from gateway_core.home import Home, RunningServer
from gateway_core.ids import RequestIds, new_id

log = logging.getLogger(__name__)

SEND_BUFFER = 128 * 1024
"""Bytes that the kernel takes for a client that does not read: what it takes counts as delivered."""
KEEP_ALIVE_SECONDS = 65
LAST_SECONDS = 5
"""What requests other than calls get to end in, once the calls have ended."""
_FILES_WANTED = 4096
_TICKS_PER_SWEEP = round(SWEEP_SECONDS / 0.1)


def serve(gateway: Host, home: Home, *, address: str, port: int, announce: Callable[[str], None] | None = None) -> None:
    """Serves until SIGINT or SIGTERM, then drains. The caller holds the home's lock.

    `announce` is told the base URL once requests are accepted. Raises ConfigError where the address cannot be had,
    and whatever keeps the gateway from starting.
    """
    listener = bind(address, port)
    with listener:
        warning = exposure(address, gateway.services.config.server)
        if warning is not None:
            log.warning(warning)
        _raise_file_limit()
        server = _Server(gateway, home, listener, announce)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server.run_gateway())


def check_workers(workers: int) -> None:
    """Raises ConfigError for more than one worker: each would count limits and hold money on its own."""
    if workers != 1:
        raise ConfigError(
            f"{workers} workers need a store and limits that they share, [store] url and [limits] url of plugins "
            "for PostgreSQL and Redis; with the embedded ones run one worker"
        )


def bind(address: str, port: int) -> socket.socket:
    """A listening socket. Raises ConfigError that says why there can be none."""
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise ConfigError(f"the host {address!r} is no address of this machine; choose another with --host") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections inherit it; left alone, the kernel would take megabytes for a stalled client.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        listener.bind(target)
        listener.listen(2048)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ConfigError(_why_not(error, address, port)) from None
    return listener


def _why_not(error: OSError, address: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {address} is taken by another program; choose another with --port"
    if error.errno == errno.EACCES:
        return f"port {port} needs more rights than this process has; choose one above 1023 with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address} is no address of this machine; choose another with --host"
    return f"cannot listen on {address} port {port}: {(error.strerror or '').lower()}"


def exposure(address: str, server: ServerConfig) -> str | None:
    """What to warn of where bearers would cross a network in the clear."""
    try:
        loopback = ipaddress.ip_address(address).is_loopback
    except ValueError:
        loopback = address == "localhost"
    if loopback or server.trusted_proxies:
        return None
    return (
        f"listening on {address} without TLS: bearers and prompts can be read on the way. Put a proxy with TLS in "
        "front, and name it in [server] trusted_proxies"
    )


def url_of(listener: socket.socket) -> str:
    """The base URL at which this machine reaches a listening socket."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://{f'[{address}]' if address.version == 6 else address}:{port}"


class _Server(uvicorn.Server):
    """uvicorn's server around a gateway's life: start, serve, drain while still answering, stop."""

    def __init__(
        self, gateway: Host, home: Home, listener: socket.socket, announce: Callable[[str], None] | None
    ) -> None:
        self._gateway = gateway
        self._home = home
        self._listener = listener
        self._announce = announce
        server = gateway.services.config.server
        #: The connections of which something is awaited.
        self._watched: set[GuardedProtocol] = set()
        protocol: Any = partial(GuardedProtocol, server, gateway.app, CHAT.encode(), RequestIds(), self._watched)
        super().__init__(
            uvicorn.Config(
                gateway.app,
                http=protocol,
                ws="none",
                # The gateway's life is wrapped around the server's: its store must outlive the last connection.
                lifespan="off",
                access_log=False,
                log_config=None,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=LAST_SECONDS,
            )
        )

    async def run_gateway(self) -> None:
        """The whole life of it."""
        self._gateway.services.site.listens_at(url_of(self._listener))
        with self.capture_signals():
            await self._gateway.start()
            try:
                if not self.should_exit:
                    await self._serve_noted()
            finally:
                await self._gateway.stop()
                # The signal has done what it was sent for; uvicorn would raise it again, and end us by it.
                self._captured_signals.clear()

    async def _serve_noted(self) -> None:
        url = url_of(self._listener)
        note = RunningServer(url=url, pid=os.getpid(), boot=new_id("boot_"))
        with self._home.announced(note):
            # What was loaded so far stays: the collector need not look at it again.
            gc.collect()
            gc.freeze()
            gc.set_threshold(20_000, 20, 20)
            await self.serve(sockets=[self._listener])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to accept, and says so."""
        await super().startup(sockets)
        if self._announce is not None:
            self._announce(url_of(self._listener))

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second; twice a second it closes connections that took too long."""
        if counter % _TICKS_PER_SWEEP == 0:
            self._sweep()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drains first, still accepting: who comes now is told to come again. A second Ctrl-C does not wait."""
        drain = asyncio.ensure_future(self._gateway.drain())
        while not drain.done() and not self.force_exit:
            await asyncio.wait({drain}, timeout=0.1)
            self._sweep()
        drain.cancel()
        await asyncio.gather(drain, return_exceptions=True)
        if self.force_exit:
            await self._gateway.cut()
        await super().shutdown(sockets)

    def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in list(self._watched):
            connection.look(now)


def _raise_file_limit() -> None:
    """Every open stream takes two files: takes what the system allows, and says where that is little."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # macOS says that it allows any number, and does not take that for one.
        for wanted in (hard, max(soft, _FILES_WANTED)):
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
                soft = wanted
                break
    if soft != resource.RLIM_INFINITY and soft < _FILES_WANTED:
        log.warning("only %d files may be open, so about %d streams at once: raise `ulimit -n`", soft, soft // 2)
