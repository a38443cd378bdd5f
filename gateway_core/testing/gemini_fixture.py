"""The fixture `gemini_upstream`: the strict Gemini-wire upstream as a process of its own."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway_core.testing.upstream_handle import ScriptedHandle, module_running

KEY = "AIza-upstream-test"


class GeminiHandle(ScriptedHandle):
    """The running upstream; its scripts are `gemini_script.GeminiScript`s."""


@contextmanager
def gemini_running() -> Iterator[GeminiHandle]:
    """The upstream as a process while the block lasts."""
    with module_running("gateway_core.testing.gemini_upstream", KEY) as port:
        yield GeminiHandle(port, KEY)


@pytest.fixture(scope="session")
def gemini_upstream_process() -> Iterator[GeminiHandle]:
    """One process for the whole session."""
    with gemini_running() as upstream:
        yield upstream


@pytest.fixture
def gemini_upstream(gemini_upstream_process: GeminiHandle) -> GeminiHandle:
    """A strict Gemini-wire upstream on a port of its own, its scripts and its log empty."""
    gemini_upstream_process.reset()
    return gemini_upstream_process
