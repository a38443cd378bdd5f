"""Fixtures and contract suites for tests, ours and other people's."""
