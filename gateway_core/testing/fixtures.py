"""The pytest plugin that comes with the gateway: its hooks and fixtures, each from a module of its own."""

from gateway_core.testing.needs import pytest_configure, pytest_runtest_setup

__all__ = ["pytest_configure", "pytest_runtest_setup"]
