"""What of a stream was delivered, and what that makes of the provider's count."""

from collections import deque
from collections.abc import Mapping, Sequence

from msgspec import Raw

from gateway_core.types import Checkpoint, Chunk, Hold, Route, Usage

CHARS_PER_TOKEN = 4
"""The estimate for a checkpoint, which keeps counts and no text."""


class Delivery:
    """One stream's account of what its client was given.

    Text counts once it was accepted by the kernel: what still waits in the process when the connection is lost was
    not delivered, so the place of each write is remembered until its bytes have left.
    """

    __slots__ = (
        "_accepted",
        "_chars",
        "_marks",
        "_unsent",
        "_written",
        "choices",
        "finished",
        "first_at",
        "input_estimate",
        "last_at",
        "texts",
        "usage",
        "usage_fields",
    )

    def __init__(self, choices: int, input_estimate: int) -> None:
        self.choices = choices
        #: Input tokens as far as they are known without the provider's word.
        self.input_estimate = input_estimate
        self.finished = 0
        #: The provider's last cumulative count.
        self.usage: Usage | None = None
        self.usage_fields: Mapping[str, Raw] | None = None
        #: Monotonic seconds of the first write.
        self.first_at: float | None = None
        #: Monotonic seconds of the last one.
        self.last_at = 0.0
        #: The billable pieces that were written.
        self.texts: list[str] = []
        self._chars = 0
        self._written = 0
        self._unsent = 0
        #: Pieces that have left, and (bytes, pieces) after each write that waits.
        self._accepted = 0
        self._marks: deque[tuple[int, int]] = deque()

    @property
    def complete(self) -> bool:
        """Every choice's finish reason was written."""
        return self.finished >= self.choices

    @property
    def begun(self) -> bool:
        """Anything billable was written."""
        return bool(self.texts)

    def note_usage(self, chunks: Sequence[Chunk]) -> None:
        """Keeps the last cumulative count that came with these chunks."""
        for chunk in chunks:
            if chunk.usage is not None:
                self.usage = chunk.usage
                self.usage_fields = chunk.usage_fields

    def note_written(self, chunks: Sequence[Chunk], size: int, unsent: int, now: float) -> None:
        """These chunks were written as `size` bytes; `unsent` bytes of all so far wait in the process."""
        self.last_at = now
        if self.first_at is None:
            self.first_at = now
        for chunk in chunks:
            for text in chunk.texts:
                self.texts.append(text)
                self._chars += len(text)
            self.finished += chunk.finish
        self._written += size
        self._unsent = unsent
        self._marks.append((self._written, len(self.texts)))
        self._trim()

    def _trim(self) -> None:
        """Moves the line between what has left and what waits; so no more marks are kept than writes wait."""
        left = self._written - self._unsent
        while self._marks and self._marks[0][0] <= left:
            self._accepted = self._marks.popleft()[1]

    def forget_unsent(self) -> None:
        """The connection was lost: what had not left the process at the last write was not delivered."""
        del self.texts[self._accepted :]

    def checkpoint(self, hold: Hold, route: Route, ttft_ms: int | None) -> Checkpoint:
        """How far it has got, in counts."""
        usage = self.usage
        output = usage.output if usage else min(-(-self._chars // CHARS_PER_TOKEN), hold.output_tokens)
        return Checkpoint(
            id=hold.id,
            provider=route.provider,
            upstream_model=route.model,
            input=usage.input if usage else min(self.input_estimate, hold.input_tokens),
            output=output,
            cached=usage.cached if usage else 0,
            cache_write=usage.cache_write if usage else 0,
            reasoning=usage.reasoning if usage else 0,
            estimated=usage is None or usage.estimated,
            ttft_ms=ttft_ms,
        )
