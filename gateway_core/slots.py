"""Things by when they are to be looked at: a look costs what is due, and nothing for what is not."""

import heapq
from typing import Generic, TypeVar

T = TypeVar("T")


class Slots(Generic[T]):
    """Each thing stands in one slot of `width` seconds, under the time that it was put with."""

    __slots__ = ("_order", "_slots", "_width")

    def __init__(self, width: float) -> None:
        self._width = width
        self._slots: dict[int, set[T]] = {}
        #: A heap of their numbers.
        self._order: list[int] = []

    def put(self, thing: T, when: float) -> None:
        """To be looked at once that has passed. `when` is finite."""
        slot = int(when / self._width)
        things = self._slots.get(slot)
        if things is None:
            things = self._slots[slot] = set()
            heapq.heappush(self._order, slot)
        things.add(thing)

    def drop(self, thing: T, when: float) -> None:
        """Takes it out again, which was put with this time. Does nothing where it was taken."""
        things = self._slots.get(int(when / self._width))
        if things is not None:
            things.discard(thing)

    def next_end(self) -> float | None:
        """When the first slot is over, and so all that stands in it due; None where nothing stands in any."""
        order, slots = self._order, self._slots
        while order and not slots[order[0]]:
            del slots[heapq.heappop(order)]
        return (order[0] + 1) * self._width if order else None

    def take(self, now: float) -> list[T]:
        """Takes out what stands in every slot that has begun: of the last one some may not be due yet."""
        last = int(now / self._width)
        taken: list[T] = []
        while self._order and self._order[0] <= last:
            taken += self._slots.pop(heapq.heappop(self._order))
        return taken
