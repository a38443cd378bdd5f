"""The table fidelity id × column × tests: which entry is held by what, and whether it holds."""
