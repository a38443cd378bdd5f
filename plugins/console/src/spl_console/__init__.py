"""The console: what a person opens in a browser."""

from spl_console.plugin import Plugin

__all__ = ["Plugin"]
