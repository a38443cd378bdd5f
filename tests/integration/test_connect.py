"""Connecting to hosts with several addresses, by real sockets."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gateway_core.testing.server import PATIENCE
from gateway_core.upstream.connect import Address, _race, connected_socket, interleaved


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def address(port: int) -> Address:
    return socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port at which connecting never ends: its queue is full."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield server.getsockname()[1]


def test_families_take_turns_in_their_order() -> None:
    found = [(10, 1, 6, "", name) for name in ("a", "b", "c")] + [(2, 1, 6, "", "d")]
    assert [address[4] for address in interleaved(found)] == ["a", "d", "b", "c"]


async def test_a_name_is_looked_up(listening: socket.socket) -> None:
    end = await connected_socket("localhost", listening.getsockname()[1])
    assert end.getpeername()[1] == listening.getsockname()[1]
    assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    end.close()


async def test_ipv6() -> None:
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        (await connected_socket("::1", server.getsockname()[1])).close()


async def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(OSError):
        await connected_socket("does-not-exist.invalid", 80)


async def test_an_address_that_refuses_is_followed_by_the_next_at_once(
    listening: socket.socket, refusing_port: int
) -> None:
    end = await _race([address(refusing_port), address(listening.getsockname()[1])])
    assert end.getpeername() == listening.getsockname()
    end.close()


async def test_an_address_that_is_silent_does_not_keep_the_next_from_being_tried(
    listening: socket.socket, silent_port: int
) -> None:
    end = await asyncio.wait_for(_race([address(silent_port), address(listening.getsockname()[1])]), PATIENCE)
    assert end.getpeername() == listening.getsockname()
    end.close()


async def test_where_all_refuse_the_first_refusal_is_told(refusing_port: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        await _race([address(refusing_port)] * 2)


async def test_a_race_that_is_cancelled_leaves_no_socket_open(silent_port: int) -> None:
    task = asyncio.create_task(_race([address(silent_port)] * 2))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task  # an unclosed socket would be a warning, and warnings are errors
