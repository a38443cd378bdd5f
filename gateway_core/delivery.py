"""What of a stream was delivered, and what that makes of the provider's count."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from msgspec import Raw, Struct

from gateway_core.types import Batch, Checkpoint, Chunk, Hold, Route, Usage
from gateway_core.wire.answer import EVENT_END, is_event
from gateway_core.wire.untrusted import MOST_TOKENS

CHARS_PER_TOKEN = 4
"""The estimate for a checkpoint, which keeps counts and no text."""

_CHUNK_END = len(b"\r\n")
"""What HTTP puts behind each write."""


class Taken(Struct, frozen=True):
    """What became of a connection's bytes, counted from its first, when it was lost."""

    #: What the kernel has sent of them, at least.
    sent: int
    #: What its peer acknowledged of this answer; None where the system does not tell.
    acknowledged: int | None = None


class _Write(NamedTuple):
    """One write of some events: the connection's bytes and the pieces of text up to its end."""

    end: int
    pieces: int
    data: bytes
    batch: Batch

    def pieces_within(self, left: int) -> int:
        """Pieces of those of its events that are whole in the connection's first `left` bytes."""
        sent = left - (self.end - len(self.data) - _CHUNK_END)
        whole = self.data.count(EVENT_END, 0, max(sent, 0))
        of_each: list[int] = []
        for chunk in self.batch:
            if not isinstance(chunk, Chunk):  # a run: one in each of its events
                of_each += [1] * len(chunk.texts)
            elif is_event(chunk):
                of_each.append(len(chunk.texts))
        return sum(of_each[:whole])


class Delivery:
    """One stream's account of what its client was given.

    Text counts once it was accepted by the kernel: what still waits in the process when the connection is lost was
    not delivered, so the place of each write is remembered until its bytes have left.
    """

    __slots__ = (
        "_accepted",
        "_chars",
        "_counted",
        "_left",
        "_waiting",
        "choices",
        "finished",
        "first_at",
        "input_estimate",
        "last_at",
        "on_move",
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
        #: Told once when something is delivered or counted; whoever wants to be told again puts it here again.
        self.on_move: Callable[[], None] | None = None
        #: Their characters, as far as they were counted, and the pieces up to there.
        self._chars = 0
        self._counted = 0
        #: The writes that wait; while there are any, the connection's bytes and the pieces that have left whole.
        self._waiting: deque[_Write] = deque()
        self._left = 0
        self._accepted = 0

    @property
    def complete(self) -> bool:
        """Every choice's finish reason was written."""
        return self.finished >= self.choices

    @property
    def begun(self) -> bool:
        """Anything billable was written."""
        return bool(self.texts)

    def note_usage(self, batch: Batch) -> None:
        """Keeps the last cumulative count that came with a batch of which nothing is written."""
        for chunk in batch:
            if chunk.usage is not None:
                self.usage = chunk.usage
                self.usage_fields = chunk.usage_fields
                self._tell()

    def note_written(self, batch: Batch, data: bytes, written: int, unsent: int, now: float) -> None:
        """A batch came and was written, as these events. `written` counts the connection's bytes up to their end;
        `unsent` of these wait in the process."""
        self.last_at = now
        if self.on_move is not None:
            self._tell()
        if self.first_at is None:
            self.first_at = now
        for chunk in batch:
            self.texts += chunk.texts
            self.finished += chunk.finish
            if chunk.usage is not None:
                self.usage = chunk.usage
                self.usage_fields = chunk.usage_fields
        if unsent or self._waiting:  # else the kernel has taken all of it, as nearly always
            self._note_waiting(batch, data, written)
            self._note_left(written - unsent)

    def _tell(self) -> None:
        told, self.on_move = self.on_move, None
        if told is not None:
            told()

    def _note_waiting(self, batch: Batch, data: bytes, written: int) -> None:
        pieces = len(self.texts)
        if not self._waiting:
            self._accepted = pieces - sum([len(chunk.texts) for chunk in batch])
        self._waiting.append(_Write(written, pieces, data, batch))

    def _note_left(self, left: int) -> None:
        """Moves the line between what has left and what waits; so no more is kept than waits."""
        self._left = max(self._left, left)
        while self._waiting and self._waiting[0].end <= left:
            self._accepted = self._waiting.popleft().pieces

    def forget_unsent(self, taken: Taken | None) -> None:
        """The connection was lost: what the kernel had not taken was not delivered.

        That is what it had taken at the last write, and what it is known to have sent since.
        """
        if taken is not None:
            self._note_left(taken.sent)
        if self._waiting:
            accepted = self._accepted + self._waiting[0].pieces_within(self._left)
            del self.texts[accepted:]

    def checkpoint(self, hold: Hold, route: Route, ttft_ms: int | None) -> Checkpoint:
        """How far it has got, in counts."""
        usage = self.usage
        self._chars += sum(map(len, self.texts[self._counted :]))
        self._counted = len(self.texts)
        call, provider, model = hold.id, route.provider, route.model  # by position: by name it costs four times as much
        if usage is None:
            read = min(self.input_estimate, hold.input_tokens)
            written = min(-(-self._chars // CHARS_PER_TOKEN), hold.output_tokens)
            return Checkpoint(call, provider, model, read, written, 0, 0, 0, True, ttft_ms)
        whole(usage)
        cached, cache_write, reasoning = usage.cached, usage.cache_write, usage.reasoning
        read, written, estimated = usage.input, usage.output, usage.estimated
        return Checkpoint(call, provider, model, read, written, cached, cache_write, reasoning, estimated, ttft_ms)


def whole(usage: Usage) -> Usage:
    """The same. Raises TypeError or ValueError where a plugin counts in no whole numbers, or so many that nobody can
    mean it: no row takes these, nor gives them back, and sums of them fit no total."""
    read, written, reasoning = usage.input, usage.output, usage.reasoning
    cached, stored, most = usage.cached, usage.cache_write, MOST_TOKENS
    ours = type(read) is type(written) is type(reasoning) is type(cached) is type(stored) is int
    if not ours or type(usage.estimated) is not bool:
        raise TypeError("tokens are counted in whole numbers")
    meant = 0 <= read <= most and 0 <= written <= most and 0 <= reasoning <= most
    if not (meant and 0 <= cached <= most and 0 <= stored <= most):
        raise ValueError("so many tokens cannot be meant")
    return usage
