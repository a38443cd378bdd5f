"""The fixture `openai_upstream`: the strict OpenAI-wire upstream as a process of its own."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway_core.testing.upstream_handle import ScriptedHandle, module_running

KEY = "sk-upstream-test"


class UpstreamHandle(ScriptedHandle):
    """The running upstream; its scripts are `openai_script.Script`s."""

    path = "/v1"


@contextmanager
def upstream_running() -> Iterator[UpstreamHandle]:
    """The upstream as a process while the block lasts."""
    with module_running("gateway_core.testing.openai_upstream", KEY) as port:
        yield UpstreamHandle(port, KEY)


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
