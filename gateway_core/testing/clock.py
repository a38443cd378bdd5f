"""A clock that only tests turn."""


class ManualClock:
    """Wall time and monotonic time that stand still until they are moved."""

    def __init__(self, now_ms: int = 1_795_305_600_000, monotonic: float = 1000.0) -> None:
        self.wall_ms = now_ms
        self.seconds = monotonic

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return self.wall_ms

    def monotonic(self) -> float:
        """Seconds that never go backwards."""
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Lets time pass, on both clocks."""
        self.seconds += seconds
        self.wall_ms += round(seconds * 1000)

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.wall_ms += round(seconds * 1000)
