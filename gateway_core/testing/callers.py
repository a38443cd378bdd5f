"""Callers without a connection, for tests of what stands between them and the pipeline."""

import asyncio
from collections.abc import Sequence

from gateway_core.delivery import Taken
from gateway_core.interrupt import Interrupt
from gateway_core.money import Units
from gateway_core.store_ports import KeptAnswer
from gateway_core.types import Credentials, LimitState


class Caller:
    """A caller in memory: `clients.Client`. A `slow` one takes each part of a stream when its `turn` is released."""

    def __init__(self, *, slow: bool = False, request_id: str = "req_1") -> None:
        self.request_id = request_id
        self.credentials = Credentials(None, "")
        self.here: bytes | None = None
        self.has_body = True
        self.tier: str | None = None
        self.limits: Sequence[LimitState] = ()
        self.got: list[bytes] = []
        self.charge: Units | None = None
        self.original: str | None = None
        self.ended = False
        self.waiting = 0
        self.turn = asyncio.Semaphore(0 if slow else 10_000)
        self.interrupt: Interrupt | None = None

    async def body(self) -> bytes:
        """None."""
        return b""

    def idempotency_key(self) -> str | None:
        """Any."""
        return "k"

    def watch(self, interrupt: Interrupt) -> None:
        """Keeps it, for `leave`."""
        self.interrupt = interrupt

    def keep(self, data: bytes) -> KeptAnswer | None:  # noqa: ARG002  # it never asks again
        """Nothing."""
        return None

    def replays(self, request_id: str) -> None:
        """Keeps whose answer it is."""
        self.original = request_id

    async def answer(self, body: bytes, charge: Units) -> bool:
        """Takes a whole answer."""
        self.got.append(body)
        self.charge, self.ended = charge, True
        return True

    def line(self) -> None:
        """None."""

    async def write(self, data: bytes) -> bool:
        """Takes a part, in its turn."""
        await self.turn.acquire()
        self.got.append(data)
        return True

    def written(self) -> int:
        """Bytes that it was given."""
        return sum(map(len, self.got))

    def hang_up(self) -> Taken | None:
        """Nothing is known."""
        return None

    def unsent(self) -> int:
        """As set."""
        return self.waiting

    async def finish(self, data: bytes) -> None:
        """Takes the last part."""
        self.got.append(data)
        self.ended = True

    def leave(self) -> None:
        """Hangs up."""
        assert self.interrupt is not None
        self.interrupt.cut("client_disconnect")
