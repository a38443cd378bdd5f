"""The marker `service`: skipped where the program is missing, and in CI a failure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway_core.testing.needs import REQUIRE

MODULE = """
import pytest

@pytest.mark.service("sh")
def test_with():
    assert True

@pytest.mark.service("sh", "no-such-program")
def test_without():
    assert True
"""


@pytest.mark.parametrize(("required", "outcome"), [("", "1 passed, 1 skipped"), ("1", "1 passed, 1 error")])
def test_a_missing_program(tmp_path: Path, required: str, outcome: str) -> None:
    (tmp_path / "test_it.py").write_text(MODULE)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    command = [sys.executable, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", str(tmp_path)]
    env = {**os.environ, REQUIRE: required}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert outcome in done.stdout
    assert "no-such-program" in done.stdout
