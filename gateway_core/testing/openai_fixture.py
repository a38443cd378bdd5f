"""The fixture `openai_upstream`: the strict OpenAI-wire upstream as a process of its own."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from gateway_core.testing.openai_script import Script

KEY = "sk-upstream-test"


class UpstreamHandle:
    """The running upstream: where it is, its scripts and its log."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.key = KEY
        #: As a provider's `base_url` takes it.
        self.base_url = f"http://127.0.0.1:{port}/v1"

    def script(self, model: str, **fields: Any) -> None:
        """Says how requests for a model are answered from now on; several calls make a queue (`times`)."""
        self._call("POST", "/script", msgspec.json.encode(Script(model=model, **fields)))

    def log(self) -> list[dict[str, Any]]:
        """Every request so far: headers, body (None where it was refused), state, bytes sent, connection."""
        return [json.loads(line) for line in self._call("GET", "/log").splitlines()]

    def wait_for(self, condition: Callable[[list[dict[str, Any]]], bool], seconds: float = 5.0) -> list[dict[str, Any]]:
        """The log once it fulfils the condition; fails the test after `seconds`."""
        deadline = time.monotonic() + seconds
        while not condition(log := self.log()):
            if time.monotonic() > deadline:
                pytest.fail(f"the upstream's log never came to fulfil the condition: {log}")
            time.sleep(0.01)
        return log

    def reset(self) -> None:
        """Forgets scripts and log."""
        self._call("DELETE", "/script")
        self._call("DELETE", "/log")

    def _call(self, method: str, path: str, body: bytes = b"") -> bytes:
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, data=body, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  # our own, on loopback
            read: bytes = answer.read()
        return read


@contextmanager
def upstream_running() -> Iterator[UpstreamHandle]:
    """The upstream as a process while the block lasts."""
    command = [sys.executable, "-m", "gateway_core.testing.openai_upstream", "--port", "0", "--key", KEY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        port = process.stdout.readline()
        assert port, "the upstream did not start"
        yield UpstreamHandle(int(port))
        process.stdin.close()
        process.wait(10)


@pytest.fixture(scope="session")
def openai_upstream_process() -> Iterator[UpstreamHandle]:
    """One process for the whole session."""
    with upstream_running() as upstream:
        yield upstream


@pytest.fixture
def openai_upstream(openai_upstream_process: UpstreamHandle) -> UpstreamHandle:
    """A strict OpenAI-wire upstream on a port of its own, its scripts and its log empty."""
    openai_upstream_process.reset()
    return openai_upstream_process
