"""Bytes ↔ types: pure functions without I/O."""
