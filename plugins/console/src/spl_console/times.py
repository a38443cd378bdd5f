"""UTC days, as rollups name them."""

from datetime import UTC, datetime


def day_of(at_ms: int) -> str:
    """The UTC day of an instant, e.g. "2026-11-22"."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()
