"""Long trials of the real program: `scripts/crash`, `scripts/soak`. The tests run short ones."""
