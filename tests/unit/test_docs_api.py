"""docs/api.md names every route with its gate, and every error with its status and kind; and nothing else."""

import re
from collections.abc import Iterator
from pathlib import Path

from gateway_core import errors
from gateway_core.config_file import load
from gateway_core.gateway import Gateway
from gateway_core.home import Home

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text()
GATES = {"nothing": "public", "any key": "caller"}


def tree(root: type[errors.GatewayError]) -> Iterator[type[errors.GatewayError]]:
    for child in root.__subclasses__():
        yield child
        yield from tree(child)


def test_every_error_is_described() -> None:
    leaves = [error for error in tree(errors.GatewayError) if "code" in vars(error)]
    assert len(leaves) > 10
    actual = {(str(error.status), error.code, error.kind) for error in [*leaves, errors.InternalError]}
    described = re.findall(r"^\| (\d{3}) \| (\w+) \| (\w+) \|", PAGE, re.MULTILINE)
    assert sorted(described) == sorted(actual)


def test_every_route_is_described_with_its_gate(tmp_path: Path) -> None:
    gateway = Gateway.assemble(load(), Home(tmp_path / "home"))
    # The console's pages are for people: what they need stands in the console's own table.
    routes = [route for route in gateway.app.routes if not route.path.startswith("/console")]
    actual = {(route.method, re.sub(r":\w+}", "}", route.path), route.gate) for route in routes}
    described = {
        (method, path, GATES.get(needs, needs))
        for method, path, needs in re.findall(r"^\| ([A-Z]+) (/\S+) \| ([\w: ]+) \|", PAGE, re.MULTILINE)
    }
    assert described == actual
