"""The measuring: `scripts/bench`. measure.py and fake_upstream.c are the shared measuring stick, kept as they came."""
