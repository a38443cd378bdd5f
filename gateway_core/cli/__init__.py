"""`spl`, the operator's command: one file a noun, each a thin client of the API that everyone uses."""

from gateway_core.cli.root import main

__all__ = ["main"]
