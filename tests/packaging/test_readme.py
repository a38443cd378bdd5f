"""What the README says works as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway_core.config_file import load
from gateway_core.testing.needs import lacks
from gateway_core.testing.server import SPL, ServedGateway

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def block(language: str, containing: str) -> str:
    """The one code block of this language that has this text in it."""
    (found,) = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if containing in text]
    return str(found)


def example(language: str, server: ServedGateway) -> str:
    """An example, with this server's address and key in place of its own."""
    code = block(language, "OpenAI(")
    for written, actual in (("http://127.0.0.1:8700", server.url), ("sk-the-key-that-was-printed", server.key)):
        assert written in code
        code = code.replace(written, actual)
    return code


@pytest.fixture
def python_ran(running_server: ServedGateway) -> str:
    """What the Python example prints."""
    code = example("python", running_server)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_example_runs(python_ran: str) -> None:
    plain, _, streamed = python_ran.partition("\n")
    assert plain
    assert streamed


@pytest.mark.service("node")
def test_the_node_example_runs(running_server: ServedGateway) -> None:
    clients = ROOT / "tests" / "clients" / "node"
    if not (clients / "node_modules" / ".set-up").exists():
        lacks("openai-node is not set up: scripts/test does that, where its package registry can be reached")
    command = ["node", "--input-type=module", "-e", example("js", running_server)]
    done = subprocess.run(command, cwd=clients, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.service("jq")
def test_the_line_that_reads_records_works_as_written(running_server: ServedGateway, python_ran: str) -> None:
    line = block("sh", "jq").strip()
    env = {"PATH": f"{SPL.parent}:/usr/local/bin:/usr/bin:/bin", "SPL_HOME": str(running_server.home)}
    done = subprocess.run(["sh", "-c", line], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"cost_usd"') >= 2
    assert '"model": "demo"' in done.stdout


def test_the_configuration_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(block("toml", "[providers.local]"))
    assert "llama3.2" in load(file).config.models
