"""What our tests share: homes, and the real program serving one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_core.testing.server import ServedGateway, serving


@pytest.fixture
def spl_home(tmp_path: Path) -> Path:
    """An empty home that does not exist yet."""
    return tmp_path / "home"


@pytest.fixture(scope="module")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedGateway]:
    """`spl serve` on an empty home with the shipped configuration, one for a test module."""
    with serving(tmp_path_factory.mktemp("served") / "home") as served:
        yield served
