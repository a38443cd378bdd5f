"""Cutting a call short from outside: a client that left, a revoked key, a shutdown.

A reason may arrive at any moment, but it may only end the waiting on an upstream, never the settlement that must
follow. So the pipeline marks where it may be cut:

    with interrupt:
        answer = await provider.complete(...)      # raises Cut where a reason arrived
"""

import asyncio
from types import TracebackType

from gateway_core.types import StreamState


class Cut(Exception):
    """The marked section was cut, for this reason. No error: it is how a cut call goes on to its settlement."""

    def __init__(self, reason: StreamState) -> None:
        super().__init__(reason)
        self.reason: StreamState = reason


class Interrupt:
    """One call's handle for being cut. Made in the call's own task; `cut` may come from anywhere in the loop."""

    __slots__ = ("_armed", "reason", "task")

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "an Interrupt belongs to a task"  # noqa: S101  # a bug of ours, not a condition
        #: The one that waits for an upstream in a marked section.
        self.task = task
        self._armed = False
        self.reason: StreamState | None = None

    def cut(self, reason: StreamState) -> None:
        """Ends the marked section now, or keeps the next one from starting. The first reason stands."""
        if self.reason is None:
            self.reason = reason
            if self._armed:
                self.task.cancel()

    def __enter__(self) -> None:
        if self.reason is not None:
            raise Cut(self.reason)
        self._armed = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._armed = False
        # The cancellation was ours if nobody else has asked for one.
        if self.reason is not None and isinstance(error, asyncio.CancelledError) and not self.task.uncancel():
            raise Cut(self.reason) from None
