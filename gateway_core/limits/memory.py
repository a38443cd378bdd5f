"""The limiter in memory, and how its windows survive a restart.

A snapshot is written when windows have changed: at `close`, and before that about a second after the first change,
with pauses of 20 times what the last one took. After `kill -9` the windows are those of the last snapshot: what was
admitted since, about a second's worth, is not counted again. A reservation that was open then stays taken until its
window has passed.
"""

import asyncio
import heapq
import logging
import time
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from gateway_core.errors import ConfigError, StoreError
from gateway_core.limits.windows import Saved, Windows
from gateway_core.ports import Clock
from gateway_core.store_ports import Store
from gateway_core.types import LimitState, Reservation, Window

log = logging.getLogger(__name__)

STATE = "limits.memory"
"""The snapshot's name in the store."""

PAUSE = 1.0
"""Seconds between a change and the snapshot that has it, at least."""

SLICE = 500
"""Windows that are written without letting others run."""

VERSION = 1


class _Head(msgspec.Struct, frozen=True):
    """A snapshot's first line: when it was taken by both clocks, and its day. Lists of windows follow, one a line."""

    version: int
    wall_ms: int
    monotonic_us: int
    day: int
    #: How long that day had been counted.
    day_age_us: int


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_slice = msgspec.json.Decoder(list[Saved]).decode
_encode = msgspec.json.Encoder().encode


class MemoryLimiter:
    """Windows of one process. `open` reads what the last run left; the first call does where nobody did."""

    def __init__(self, url: str, store: Store, clock: Clock) -> None:
        if url not in ("memory", "memory://"):
            raise ConfigError(f'{url!r} is no place for limits in memory; write "memory"', where="[limits] url")
        self._store = store
        self._clock = clock
        self._windows = Windows(clock)
        self._opened = False
        self._opening = asyncio.Lock()
        self._saver: asyncio.Task[None] | None = None
        self._changed = False
        self._pause = PAUSE

    def __len__(self) -> int:
        """Windows that are in memory."""
        return len(self._windows)

    # ------------------------------------------------------------ the port

    def reserve_now(self, windows: Sequence[Window], tokens: int) -> Reservation | None:
        """`reserve`, once the last snapshot was read; None until then."""
        if not self._opened:
            return None
        reservation = self._windows.reserve(windows, tokens)
        if not self._changed and reservation.token is not None:
            self._note_change()
        return reservation

    async def reserve(self, windows: Sequence[Window], tokens: int) -> Reservation:
        """Takes 1 request and `tokens` tokens from each window, or nothing at all and raises RateLimited."""
        while (reservation := self.reserve_now(windows, tokens)) is None:
            await self.open()
        return reservation

    def settle(self, reservation: Reservation, tokens: int) -> None:
        """Says what was used of the reserved tokens, once; an overrun becomes a debt in the window."""
        self._windows.settle(reservation, tokens)
        if not self._changed and reservation.token is not None:
            self._note_change()

    def cancel(self, reservation: Reservation) -> None:
        """Gives back all of it, unless it was settled."""
        self._windows.cancel(reservation)
        if not self._changed and reservation.token is not None:
            self._note_change()

    async def peek(self, windows: Sequence[Window]) -> tuple[LimitState, ...]:
        """The windows as they stand, taking nothing."""
        if not self._opened:
            await self.open()
        return self._windows.peek(windows)

    async def busiest(self, most: int) -> tuple[LimitState, ...]:
        """The windows that are nearest to their limits, a slice of them at a time."""
        if not self._opened:
            await self.open()
        windows, found = self._windows, list[LimitState]()
        names = windows.names()
        for start in range(0, len(names), SLICE):
            now = windows.now()
            states = [windows.state_of(name, now) for name in names[start : start + SLICE]]
            found = heapq.nlargest(most, [*found, *[state for state in states if state is not None]], key=_share)
            await asyncio.sleep(0)
        return tuple(found)

    async def close(self) -> None:
        """Puts the windows where a restart finds them."""
        saver, self._saver = self._saver, None
        if saver is not None:
            saver.cancel()
            with suppress(asyncio.CancelledError):
                await saver
        if self._opened:
            await self._save()

    # ------------------------------------------------------------ snapshots

    async def open(self) -> None:
        """Reads the last snapshot; does nothing where that has been done."""
        async with self._opening:
            if self._opened:
                return
            data = await self._store.get_state(STATE)
            if data is not None:
                try:
                    self._load(data)
                except (msgspec.DecodeError, ValueError) as error:
                    log.warning("the saved limits cannot be read, and windows begin empty: %s", error)
                    self._windows = Windows(self._clock)
            self._opened = True

    def _load(self, data: bytes) -> None:
        head_line, *lines = data.splitlines()
        head = _decode_head(head_line)
        if head.version != VERSION:
            raise ValueError(f"version {head.version} of their format is not known here")
        now = self._windows.now()
        elapsed = max(0, self._clock.now_ms() - head.wall_ms) * 1000
        # Without a reboot in between the monotonic clock knows better; after one it can only be too careful.
        if now >= head.monotonic_us:
            elapsed = min(elapsed, now - head.monotonic_us)
        days = self._windows.days
        days.day, days.since = head.day, now - head.day_age_us - elapsed
        for line in lines:
            self._windows.load(_decode_slice(line), now, elapsed)

    def _note_change(self) -> None:
        """What is to be saved has changed: a reservation that took something did that."""
        self._changed = True
        if self._saver is None:
            loop = asyncio.get_running_loop()
            self._saver = loop.create_task(self._save_while_changing(), name="limits-snapshot")

    async def _save_while_changing(self) -> None:
        """Saves, and goes on until nothing has changed during a pause."""
        try:
            while self._changed:
                await asyncio.sleep(self._pause)
                try:
                    await self._save()
                except StoreError as error:
                    self._changed = True
                    log.warning("the limits could not be saved and will be again: %s", error)
        finally:
            if self._saver is asyncio.current_task():
                self._saver, self._changed = None, False  # the next change begins another

    async def _save(self) -> None:
        self._changed = False
        began = time.monotonic()
        await self._store.put_state(STATE, await self._snapshot())
        self._pause = max(PAUSE, 20 * (time.monotonic() - began))

    async def _snapshot(self) -> bytes:
        windows, at = self._windows, self._windows.now()
        days = windows.days
        lines = [_encode(_Head(VERSION, self._clock.now_ms(), at, days.day, at - days.since))]
        names = windows.names()
        for start in range(0, len(names), SLICE):
            lines.append(_encode(list(windows.save(names[start : start + SLICE], at))))
            await asyncio.sleep(0)
        return b"\n".join(lines)


def _share(state: LimitState) -> float:
    """How much of a window is taken."""
    return 1 - state.remaining / state.window.limit if state.window.limit else 1.0
