"""A sink of audit records: one line of JSON each, in a file that rotates."""

from spl_audit_jsonl.plugin import Plugin

__all__ = ["Plugin"]
