"""The application of a gateway that is not started, for tests of a client's connection."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_core import config_file
from gateway_core.edge.app import App
from gateway_core.gateway import Gateway
from gateway_core.home import Home


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    home = Home(Path(tmp_path_factory.mktemp("home")))
    gateway = Gateway.assemble(config_file.load(None, home), home)
    assert isinstance(gateway.app, App)
    yield gateway.app
    gateway.tokens.close()
