"""A connected socket: names are looked up, and where a host has several addresses they are tried in a staggered race.

The loop's own create_connection cannot be asked for that everywhere: uvloop tries one address after the other, so a
network whose IPv6 leads nowhere would cost the whole deadline.
"""

import asyncio
import socket
from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import Any

STAGGER = 0.25
"""Seconds that an address gets before the next one is tried beside it (RFC 8305)."""

Address = tuple[Any, ...]
"""As getaddrinfo gives it: family, type, protocol, name, address."""


async def connected_socket(host: str, port: int) -> socket.socket:
    """A connection to one of the host's addresses. Raises the OSError of the address that failed first."""
    loop = asyncio.get_running_loop()
    addresses = interleaved(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    if not addresses:
        raise OSError("the name has no address")
    if len(addresses) == 1:
        return await _attempt(addresses[0])
    return await _race(addresses)


def interleaved(found: Iterable[Address]) -> list[Address]:
    """Addresses of the two families by turns, in the order of preference that they came in."""
    families: dict[int, list[Address]] = {}
    for address in found:
        families.setdefault(address[0], []).append(address)
    return [address for address in chain.from_iterable(zip_longest(*families.values())) if address is not None]


async def _race(addresses: list[Address]) -> socket.socket:
    waiting = addresses[::-1]
    tasks: list[asyncio.Task[socket.socket]] = []
    running: set[asyncio.Task[socket.socket]] = set()
    failed: list[BaseException] = []
    winner: socket.socket | None = None
    try:
        while winner is None and (waiting or running):
            if waiting:
                tasks.append(asyncio.create_task(_attempt(waiting.pop())))
                running.add(tasks[-1])
            done, running = await asyncio.wait(
                running, timeout=STAGGER if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                error = task.exception()
                if error is not None:
                    failed.append(error)
                elif winner is None:
                    winner = task.result()
    finally:
        for task in tasks:
            task.cancel()
        for late in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(late, socket.socket) and late is not winner:
                late.close()
    if winner is None:
        raise failed[0]
    return winner


async def _attempt(address: Address) -> socket.socket:
    family, kind, protocol, _, target = address
    attempt = socket.socket(family, kind, protocol)
    try:
        attempt.setblocking(False)
        # A request must not wait for the acknowledgement of the one before it.
        attempt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(attempt, target)
    except BaseException:
        attempt.close()
        raise
    return attempt
