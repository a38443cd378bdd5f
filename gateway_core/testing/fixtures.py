"""The pytest plugin that comes with the gateway: its hooks and fixtures, each from a module of its own."""

from gateway_core.testing.anthropic_fixture import anthropic_upstream, anthropic_upstream_process
from gateway_core.testing.gemini_fixture import gemini_upstream, gemini_upstream_process
from gateway_core.testing.needs import pytest_configure, pytest_runtest_setup
from gateway_core.testing.openai_fixture import openai_upstream, openai_upstream_process
from gateway_core.testing.profiles import vendors, vendors_process

__all__ = [
    "anthropic_upstream",
    "anthropic_upstream_process",
    "gemini_upstream",
    "gemini_upstream_process",
    "openai_upstream",
    "openai_upstream_process",
    "pytest_configure",
    "pytest_runtest_setup",
    "vendors",
    "vendors_process",
]
