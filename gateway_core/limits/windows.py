"""All windows of a gateway: reserve, settle, cancel, forget. Deterministic under its clock, and never waits."""

from collections.abc import Iterator, Sequence

import msgspec

from gateway_core.errors import RateLimited
from gateway_core.limits.counters import SECOND, Bucket, Counter, Daily, Days, Sliding
from gateway_core.ports import Clock
from gateway_core.types import LimitState, Reservation, Window

_Name = tuple[str, str, int]
"""What a window is counted under: its key, its unit and its span in seconds, 0 for a UTC day."""

_Entry = tuple[Window, Counter, Bucket, int]
"""One thing that a call took. A list of them is its reservation's token: empty once that was settled or cancelled."""


class Saved(msgspec.Struct, frozen=True, array_like=True):
    """One window on disk: its name, and its buckets as (age in microseconds when it was saved, count)."""

    key: str
    unit: str
    seconds: int
    buckets: tuple[tuple[int, int], ...]


_NOTHING = Reservation()


class Windows:
    """Counters by window. What has been idle for its span is forgotten a little at a time, so that nothing stalls."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._monotonic = clock.monotonic
        self.days = Days()
        #: Sliding windows touched in this generation, and those last touched in the one before.
        self._young: dict[_Name, Sliding] = {}
        self._old: dict[_Name, Sliding] = {}
        self._today: dict[_Name, Daily] = {}
        self._forgotten: list[dict[_Name, Sliding] | dict[_Name, Daily]] = []
        self._longest = 60 * SECOND
        self._next_generation = 0

    def __len__(self) -> int:
        """Windows that are in memory."""
        return len(self._young) + len(self._old) + len(self._today) + sum(map(len, self._forgotten))

    def now(self) -> int:
        """Monotonic time in whole microseconds."""
        return int(self._monotonic() * 1e6 + 0.5)

    # ------------------------------------------------------------ a call

    def reserve(self, windows: Sequence[Window], tokens: int) -> Reservation:
        """Takes from every window or, raising RateLimited, from none."""
        if not windows:
            return _NOTHING
        now = int(self._monotonic() * 1e6 + 0.5)  # `now`, at each call
        if self._forgotten or now >= self._next_generation:
            self._forget(now)
        if tokens < 0:
            tokens = 0
        asked: list[tuple[Window, Counter, int]] = []
        for window in windows:
            amount = 1 if window.unit == "requests" else tokens
            name = (window.key, window.unit, window.seconds)
            counter: Counter | None = None if window.day else self._young.get(name)
            if counter is None:
                counter = self._counter(window, now)
            # A full window admits nothing, not even a call that reserves no tokens.
            if counter.used(now) + (amount or 1) > window.limit:
                raise self._refusal(windows, tokens, now)
            asked.append((window, counter, amount))
        entries: list[_Entry] = []
        states: list[LimitState] = []
        for window, counter, amount in asked:
            entries.append((window, counter, counter.take(now, amount), amount))
            # What was taken now counts for the whole of a sliding window.
            reset = -(-counter.rest(now) // 1000) if window.day or not amount else window.seconds * 1000
            states.append(LimitState(window, window.limit - counter.total, reset))
        return Reservation(tuple(states), entries)

    def settle(self, reservation: Reservation, tokens: int) -> None:
        """Gives back reserved tokens that were not used; what was used beyond them counts from now on."""
        entries: list[_Entry] = reservation.token or []
        if tokens < 0:
            tokens = 0
        for window, counter, bucket, amount in entries:
            if window.unit != "tokens" or tokens == amount:
                continue
            if tokens < amount:
                counter.give(bucket, amount - tokens)
            else:
                now = self.now()
                # The counter it came from may have been forgotten in the meantime: the debt is the window's.
                self._counter(window, now).take(now, tokens - amount)
        entries.clear()

    def cancel(self, reservation: Reservation) -> None:
        """Gives back everything."""
        entries: list[_Entry] = reservation.token or []
        for _, counter, bucket, amount in entries:
            counter.give(bucket, amount)
        entries.clear()

    def peek(self, windows: Sequence[Window]) -> tuple[LimitState, ...]:
        """The windows as they stand."""
        return self._states(windows, self.now())

    def state_of(self, name: _Name, now: int) -> LimitState | None:
        """A window that is counted, by name; None where nothing counts, or no call has said yet what its limit is."""
        counter = (self._young.get(name) or self._old.get(name)) if name[2] else self._today.get(name)
        if counter is None or counter.window is None or not counter.used(now):
            return None
        return _state(counter.window, counter, now)

    # ------------------------------------------------------------ refusals

    def _refusal(self, windows: Sequence[Window], tokens: int, now: int) -> RateLimited:
        """Why not, and when again: what can never be, then what can be tomorrow, then what must wait the longest.

        The first window in order is named; the wait is long enough for all of them.
        """
        full: list[tuple[Window, int]] = []
        for window in windows:
            amount = 1 if window.unit == "requests" else max(1, tokens)
            if amount > window.limit:
                return RateLimited(
                    _never(window, amount),
                    states=self._states(windows, now),
                    should_retry=False,
                    tier=window.tier or None,
                )
            counter = self._counter(window, now)
            excess = counter.used(now) + amount - window.limit
            if excess > 0:
                full.append((window, counter.wait(now, excess)))
        window = next((window for window, _ in full if window.day), full[0][0])
        seconds = max(1, -(-max(wait for _, wait in full) // SECOND))
        limit = f"{window.limit} {window.label}"
        return RateLimited(
            f"{limit}{_on(window)}; retry in {seconds}s",
            limit=limit,
            states=self._states(windows, now),
            retry_after=seconds,
            should_retry=False if window.day else None,
            tier=window.tier or None,
        )

    def _states(self, windows: Sequence[Window], now: int) -> tuple[LimitState, ...]:
        return tuple([_state(window, self._counter(window, now, keep=False), now) for window in windows])

    # ------------------------------------------------------------ counters come and go

    def _counter(self, window: Window, now: int, keep: bool = True) -> Counter:
        """The window's counter, a new one where there is none. `keep` remembers it."""
        if window.day:
            return self._daily(window, now, keep)
        name = (window.key, window.unit, window.seconds)
        counter = self._young.get(name)
        if counter is None:
            span = window.seconds * SECOND
            if not keep:
                return self._old.get(name) or Sliding(span)
            counter = self._old.pop(name, None) or Sliding(span)
            counter.window = window
            self._young[name] = counter
            if span > self._longest:
                self._longest = span
                self._next_generation = now + span + SECOND
        return counter

    def _daily(self, window: Window, now: int, keep: bool) -> Daily:
        if self.days.turn(now, self._clock.now_ms()):
            self._forgotten.append(self._today)
            self._today = {}
        name = (window.key, window.unit, 0)
        daily = self._today.get(name)
        if daily is None:
            daily = Daily(self.days)
            if keep:
                self._today[name] = daily
        if daily.window is None:
            daily.window = window
        return daily

    def _forget(self, now: int) -> None:
        """Lets go of windows that have been idle for a whole generation, a few with each call."""
        if now >= self._next_generation:
            self._forgotten.append(self._old)
            self._old, self._young = self._young, {}
            self._next_generation = now + self._longest + SECOND
        forgotten = self._forgotten
        while forgotten and not forgotten[-1]:
            forgotten.pop()
        if forgotten:
            for _ in range(min(16, len(forgotten[-1]))):
                forgotten[-1].popitem()

    # ------------------------------------------------------------ to disk and back

    def names(self) -> list[_Name]:
        """Every window that is counted, by name."""
        return [*self._young, *self._old, *self._today]

    def save(self, names: Sequence[_Name], at: int) -> Iterator[Saved]:
        """These windows as they stand, aged against `at`; empty ones are left out."""
        for name in names:
            if name[2]:
                sliding = self._young.get(name) or self._old.get(name)
                buckets = sliding.buckets if sliding else []
            else:
                daily = self._today.get(name)
                buckets = [daily.bucket] if daily else []
            kept = tuple((at - bucket.last, bucket.count) for bucket in buckets if bucket.count)
            if kept:
                yield Saved(*name, kept)

    def load(self, saved: Sequence[Saved], now: int, elapsed: int) -> None:
        """Puts windows back as if `elapsed` microseconds had passed since they were saved."""
        for window in saved:
            name = (window.key, window.unit, window.seconds)
            aged = [(max(0, age + elapsed), count) for age, count in window.buckets]
            if window.seconds:
                # Among the old ones: the first call that comes for it says what its limit is by now.
                sliding = self._old[name] = Sliding(window.seconds * SECOND)
                self._longest = max(self._longest, sliding.span)
                for age, count in aged:
                    sliding.buckets.append(Bucket((now - age) // SECOND, now - age, count))
                    sliding.total += count
            else:
                daily = self._today[name] = Daily(self.days)
                daily.bucket.count = sum(count for _, count in aged)
        self._next_generation = now + self._longest + SECOND


def _state(window: Window, counter: Counter, now: int) -> LimitState:
    return LimitState(window, max(0, window.limit - counter.used(now)), -(-counter.rest(now) // 1000))


def _on(window: Window) -> str:
    return f" on {window.tier} tier" if window.tier else ""


def _never(window: Window, amount: int) -> str:
    limit = f"{window.limit} {window.label}{_on(window)}"
    if window.unit == "requests" or not window.limit:
        return f"{limit}: no call is allowed"
    return (
        f"{limit}: this call alone would reserve {amount} tokens, its input and its output limit; "
        "shorten the input or lower max_completion_tokens"
    )
