"""One call's answer for everybody who asks for it under one Idempotency-Key.

The pipeline writes to it as to one client. Each caller takes from it at its own pace, from the beginning: the first
as well as those that came while it ran. The call is cut when nobody is left who waits for it.
"""

import asyncio
import copy
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gateway_core.errors import Conflict, GatewayError, InternalError
from gateway_core.interrupt import Cut, Interrupt
from gateway_core.money import Units
from gateway_core.sealing import Answer
from gateway_core.store_ports import AnswerPlace, KeptAnswer
from gateway_core.types import LimitState
from gateway_core.wire.chat import KEEP_ALIVE

if TYPE_CHECKING:
    from gateway_core.clients import Client


class Caller:
    """One caller, and how many parts it was given."""

    __slots__ = ("at", "client", "first")

    def __init__(self, client: "Client", *, first: bool) -> None:
        self.client = client
        #: It is the one that the call was made for.
        self.first = first
        self.at = 0


class SharedAnswer:
    """The answer of one call: what there is of it, and who takes it. `clients.Listener`."""

    def __init__(
        self,
        place: AnswerPlace,
        client: "Client",
        keep: Callable[[AnswerPlace, Answer], KeptAnswer],
        most: int,
    ) -> None:
        self.place = place
        self.request_id = client.request_id
        self.credentials = client.credentials
        self.tier: str | None = client.tier
        self.limits: Sequence[LimitState] = client.limits
        #: Nobody waits for it any more: whoever comes now waits for its end, and begins anew.
        self.abandoned = False
        #: The call, as it runs for all of them.
        self.task: asyncio.Task[None]
        self._keep = keep
        self._most = most
        self._callers: set[Caller] = set()
        self._interrupt: Interrupt | None = None
        #: What was written and may still be asked for; the number of the first part; bytes of all.
        self._parts: deque[bytes] = deque()
        self._first = 0
        self._size = 0
        self._written = 0
        self._is_kept = False
        self._replayed = False
        self._body: bytes | None = None
        self._charge = Units(0)
        self._tail: bytes | None = None
        self._error: GatewayError | None = None
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()

    @property
    def delivered(self) -> bool:
        """Somebody may have got something of it."""
        return self._body is not None or self._tail is not None or self._end > 0

    # ------------------------------------------------------------ what the call makes of it

    def watch(self, interrupt: Interrupt) -> None:
        """From now on, cuts the call when the last caller goes."""
        self._interrupt = interrupt
        if not self._callers:
            interrupt.cut("client_disconnect")

    def keep(self, data: bytes) -> KeptAnswer | None:
        """The whole answer, which `data` ends, for its settlement; None where it is too large to be kept."""
        if self._first or self._size + len(data) > self._most:
            return None
        self._is_kept = True
        stream = self._end > 0
        # Comments kept a silent client alive: a replay is never silent.
        body = b"".join([part for part in self._parts if part != KEEP_ALIVE]) + data
        return self._keep(self.place, Answer(body, stream=stream or data.startswith(b"data:")))

    async def answer(self, body: bytes, charge: Units) -> bool:
        """The whole answer, at once. Where it is kept it reaches whoever asks again, even if nobody is there now."""
        self._body, self._charge = body, charge
        self._wake()
        return self._is_kept or bool(self._callers)

    def line(self) -> None:
        """None: the fastest caller is waited for."""

    async def write(self, data: bytes) -> bool:
        """A part of a stream. Returns when the fastest caller was given it; False where nobody is left."""
        if not self._callers:
            return False
        self._parts.append(data)
        self._size += len(data)
        self._written += len(data)
        end = self._end
        self._trim()
        self._wake()
        while self._callers and self._furthest() < end:
            await self._taken.wait()
        return bool(self._callers)

    def written(self) -> int:
        """Bytes of all parts so far."""
        return self._written

    def hang_up(self) -> None:
        """Nobody is left: what became of each caller's bytes is not told apart."""

    def unsent(self) -> int:
        """Bytes that not even the fastest caller's connection has taken."""
        furthest = self._furthest()
        waiting = list(self._parts)[furthest - self._first :] if furthest < self._end else []
        return sum(map(len, waiting)) + min(
            (each.client.unsent() for each in self._callers if each.at == furthest), default=0
        )

    async def finish(self, data: bytes) -> None:
        """The stream's last part."""
        self._tail = data
        self._wake()

    def replay(self, request_id: str, answer: Answer) -> None:
        """An earlier call's answer, instead of a call."""
        self.request_id, self._replayed = request_id, True
        if answer.stream:
            self._tail = answer.body
        else:
            self._body = answer.body
        self._wake()

    def fail(self, error: GatewayError) -> None:
        """The call was refused, failed, or broke off: every caller is told the same."""
        self._error = error
        self._wake()

    def close(self) -> None:
        """The call is over: whoever still waits was forgotten."""
        if self._body is None and self._tail is None:
            self.fail(failed())

    @property
    def _end(self) -> int:
        return self._first + len(self._parts)

    def _furthest(self) -> int:
        return max((caller.at for caller in self._callers), default=self._end)

    def _trim(self) -> None:
        """Lets go of the oldest parts beyond the bound; never of one that nobody was given yet."""
        furthest = self._furthest()
        while self._size > self._most and self._first < furthest:
            self._size -= len(self._parts.popleft())
            self._first += 1

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # ------------------------------------------------------------ who takes it

    async def give(self, client: "Client", *, first: bool) -> None:
        """Gives it to a caller, who has all of it or is gone when this returns. Raises what the call ended with."""
        caller = Caller(client, first=first)
        self._callers.add(caller)
        interrupt = Interrupt()
        client.watch(interrupt)
        try:
            with interrupt:
                await self._give(caller)
        except Cut:
            pass  # it has gone
        finally:
            self._leave(caller)
        if self.abandoned:
            await asyncio.shield(self.task)  # a shutdown waits for its callers: the last one stays for the settlement

    async def _give(self, caller: Caller) -> None:
        client = caller.client
        while True:
            changed = self._changed
            while caller.at < self._end:
                if caller.at < self._first:
                    raise too_large(self.request_id, self._most)
                self._introduce(caller)
                if not await client.write(self._parts[caller.at - self._first]):
                    return
                caller.at += 1
                self._take()
            if self._body is not None:
                self._introduce(caller)
                await client.answer(self._body, self._charge if caller.first else Units(0))
                return
            if self._tail is not None:
                self._introduce(caller)
                await client.finish(self._tail)
                return
            if self._error is not None:
                client.tier, client.limits = self.tier, self.limits
                raise copy.copy(self._error)
            await changed.wait()

    def _introduce(self, caller: Caller) -> None:
        """What the answer's head says, before its first byte."""
        client = caller.client
        if not self._replayed:
            client.tier, client.limits = self.tier, self.limits
        if self._replayed or not caller.first:
            client.replays(self.request_id)

    def _take(self) -> None:
        self._taken.set()
        self._taken = asyncio.Event()

    def _leave(self, caller: Caller) -> None:
        self._callers.discard(caller)
        self._take()
        if not self._callers and self._body is None and self._tail is None and self._error is None:
            self.abandoned = True
            if self._interrupt is not None:
                self._interrupt.cut("client_disconnect")


def too_large(request_id: str, most: int) -> Conflict:
    """What a duplicate is told whose answer is not there to be given again."""
    return Conflict(
        f"The answer to this Idempotency-Key is not kept: an answer is kept up to {most} bytes, and an account's up to "
        f"its bounds. The call is made and charged once, as {request_id}; another key makes a new one."
    )


def interrupted(request_id: str) -> Conflict:
    """What a duplicate is told whose call ended after a part of its answer was delivered."""
    return Conflict(
        f"The call under this Idempotency-Key ended after a part of its answer was delivered and charged, as "
        f"{request_id}; it is not made twice. Another key makes a new call."
    )


def failed() -> InternalError:
    """What callers are told of a failure that is ours."""
    return InternalError("The gateway failed; its log says why, under this request's id.")
