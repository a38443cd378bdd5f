"""Who gets a call's answer, as the pipeline sees it: the edge's connections, and several callers as one."""

from collections.abc import Sequence
from typing import Protocol

from gateway_core.delivery import Taken
from gateway_core.interrupt import Interrupt
from gateway_core.money import Units
from gateway_core.store_ports import KeptAnswer
from gateway_core.types import Credentials, LimitState


class Line(Protocol):
    """A client's connection that takes a stream's bytes at once, and waits only when it is asked to."""

    def put(self, data: bytes) -> tuple[int, int] | None:
        """Sends a part of a stream, its head first; None where the connection is gone and nothing was written.

        Else the bytes that were given to the connection since it began, and how many of them the kernel has not taken.
        """

    def full(self) -> bool:
        """Whether so much waits that nothing more should be put before it is `drained`."""

    async def drained(self) -> None:
        """Returns when little waits."""


class Listener(Protocol):
    """Who gets a call's answer."""

    request_id: str
    credentials: Credentials
    #: Set as soon as they are known: the answer's headers name them, an error's too.
    tier: str | None
    limits: Sequence[LimitState]

    def watch(self, interrupt: Interrupt) -> None:
        """From now on, cuts the call when the client goes."""

    def keep(self, data: bytes) -> KeptAnswer | None:
        """What the settlement is to keep of the whole answer, which `data` ends."""

    async def answer(self, body: bytes, charge: Units) -> bool:
        """Sends a whole answer; False where the connection was gone."""

    def line(self) -> Line | None:
        """The way to write at once, where there is one; else each write is waited for."""

    async def write(self, data: bytes) -> bool:
        """Sends a part of a stream, its head first; False where the connection is gone and nothing was written."""

    def written(self) -> int:
        """Bytes that were given to the connection since it began."""

    def unsent(self) -> int:
        """Bytes written that the kernel has not taken yet."""

    def hang_up(self) -> Taken | None:
        """Ends the connection at once; what the kernel had taken, None where that is not known."""

    async def finish(self, data: bytes) -> None:
        """Sends the last part and ends the stream properly."""


class Client(Listener, Protocol):
    """The caller's end of the connection, as the edge gives it to the pipeline."""

    @property
    def here(self) -> bytes | None:
        """The request's body, where it came with its head and nothing of it is left to look at; None: `body` knows."""

    @property
    def has_body(self) -> bool:
        """Whether the request's body has come: reading it waits for nothing."""

    async def body(self) -> bytes:
        """The request's body; raises RequestTooLarge before reading beyond the cap."""

    def idempotency_key(self) -> str | None:
        """The Idempotency-Key header; raises InvalidRequest for one that is none."""

    def replays(self, request_id: str) -> None:
        """The answer that follows is that call's, and the caller is told so in its head."""
