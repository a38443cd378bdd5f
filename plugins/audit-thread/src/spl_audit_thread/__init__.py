"""The local record store over HTTP: threads are read by their owner, and written by gateways that may."""

from spl_audit_thread.plugin import Plugin

__all__ = ["Plugin"]
