"""The marker `service(name)`: a test that needs a program which no package registry for Python brings.

    @pytest.mark.service("jq")
    def test_the_line_of_the_manual(): ...

Where the program is not on PATH the test is skipped; with SPL_TEST_REQUIRE_SERVICES=1, as in CI, it fails instead.
"""

import os
import shutil
from typing import NoReturn

import pytest

REQUIRE = "SPL_TEST_REQUIRE_SERVICES"


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known to --strict-markers."""
    config.addinivalue_line("markers", "service(name): needs the program `name` on PATH")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips or fails a test whose program is missing."""
    missing = [
        name for marker in item.iter_markers("service") for name in marker.args if shutil.which(str(name)) is None
    ]
    if not missing:
        return
    lacks(f"not on PATH: {', '.join(missing)}")


def lacks(what: str) -> NoReturn:
    """Skips the test that lacks something, or fails it where everything has to be there."""
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{what}; and {REQUIRE} is set", pytrace=False)
    pytest.skip(what)
