"""Ids of tool calls: whatever a history brings, as the API takes them, the same in call and result."""

import re

_GOOD = re.compile(r"[a-zA-Z0-9_-]+")
_BAD = re.compile(r"[^a-zA-Z0-9_-]")


class CallIds:
    """Gives each call of a conversation an id of its own, its client's wherever that can be."""

    __slots__ = ("_numbers", "_used")

    def __init__(self) -> None:
        self._used: set[str] = set()
        #: Wanted id → the last number that was put after it.
        self._numbers: dict[str, int] = {}

    def assign(self, client_id: str) -> str:
        """The id that the call has upstream."""
        wanted = client_id if _GOOD.fullmatch(client_id) else _BAD.sub("_", client_id) or "call"
        name, number = wanted, self._numbers.get(wanted, 1)
        while name in self._used:
            number += 1
            name = f"{wanted}_{number}"
        if number > 1:
            self._numbers[wanted] = number
        self._used.add(name)
        return name
