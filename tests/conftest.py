"""What our tests share: homes, and the real program serving one."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_core.testing.server import ServedGateway, serving


@pytest.fixture
def spl_home(tmp_path: Path) -> Path:
    """An empty home that does not exist yet."""
    return tmp_path / "home"


DAY = 86_400
NEAR = 120
"""Seconds before a UTC day's end in which no test begins that would count in the next one what it did in this."""


@pytest.fixture(scope="module")
def within_a_day() -> None:
    """For modules whose real gateways count by day or month: a day's end that is near is let pass first."""
    while DAY - time.time() % DAY < NEAR:
        time.sleep(1)


@pytest.fixture
def refusing_port() -> Iterator[int]:
    """A port of 127.0.0.1 at which nobody listens: it is taken, so that nobody is given it meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture(scope="module")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedGateway]:
    """`spl serve` on an empty home with the shipped configuration, one for a test module."""
    with serving(tmp_path_factory.mktemp("served") / "home") as served:
        yield served
