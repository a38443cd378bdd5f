"""A scripted upstream that runs as a process, from a test's side."""

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

from gateway_core.testing.server import PATIENCE


class ScriptedHandle:
    """The running upstream: its scripts and its log."""

    #: What a wire's `base_url` has behind host and port.
    path = ""

    def __init__(self, port: int, key: str) -> None:
        self.port = port
        self.key = key

    @property
    def base_url(self) -> str:
        """As a provider's `base_url` takes it."""
        return f"http://127.0.0.1:{self.port}{self.path}"

    def script(self, model: str, **fields: Any) -> None:
        """Says how requests for a model are answered from now on; several calls make a queue (`times`)."""
        self._call("POST", "/script", msgspec.json.encode({"model": model, **fields}))

    def log(self) -> list[dict[str, Any]]:
        """Every request so far: path, headers, body (None where it was refused), state, bytes sent, connection."""
        return [json.loads(line) for line in self._call("GET", "/log").splitlines()]

    def wait_for(
        self, condition: Callable[[list[dict[str, Any]]], bool], seconds: float = PATIENCE
    ) -> list[dict[str, Any]]:
        """The log once it has an entry and fulfils the condition; fails the test after `seconds`."""
        deadline = time.monotonic() + seconds
        while not ((log := self.log()) and condition(log)):
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
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310  # our own, on loopback
            read: bytes = answer.read()
        return read


@contextmanager
def module_running(module: str, key: str) -> Iterator[int]:
    """An upstream's module as a process while the block lasts; gives its port."""
    command = [sys.executable, "-m", module, "--port", "0", "--key", key]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        port = process.stdout.readline()
        assert port, f"{module} did not start"
        yield int(port)
        process.stdin.close()
        process.wait(PATIENCE)
