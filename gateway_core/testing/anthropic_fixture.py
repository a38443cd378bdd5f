"""The fixture `anthropic_upstream`: the strict Anthropic-wire upstream as a process of its own."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway_core.testing.upstream_handle import ScriptedHandle, module_running

KEY = "sk-ant-upstream-test"


class AnthropicHandle(ScriptedHandle):
    """The running upstream; its scripts are `anthropic_script.AnthropicScript`s."""


@contextmanager
def anthropic_running() -> Iterator[AnthropicHandle]:
    """The upstream as a process while the block lasts."""
    with module_running("gateway_core.testing.anthropic_upstream", KEY) as port:
        yield AnthropicHandle(port, KEY)


@pytest.fixture(scope="session")
def anthropic_upstream_process() -> Iterator[AnthropicHandle]:
    """One process for the whole session."""
    with anthropic_running() as upstream:
        yield upstream


@pytest.fixture
def anthropic_upstream(anthropic_upstream_process: AnthropicHandle) -> AnthropicHandle:
    """A strict Anthropic-wire upstream on a port of its own, its scripts and its log empty."""
    anthropic_upstream_process.reset()
    return anthropic_upstream_process
