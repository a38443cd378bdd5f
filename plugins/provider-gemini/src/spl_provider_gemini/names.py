"""Names of functions: what OpenAI allows and Google does not is renamed, and back."""

import re

_ALLOWED = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_LONGEST = 64


class Names:
    """The names of one request. `back` has those that were changed: as sent → as the client knows it."""

    __slots__ = ("_sent", "back")

    def __init__(self) -> None:
        self._sent: dict[str, str] = {}
        self.back: dict[str, str] = {}

    def sent(self, name: str) -> str:
        """The name as it goes out: its own nearly always."""
        known = self._sent.get(name)
        if known is not None:
            return known
        sent = name if _ALLOWED.fullmatch(name) and name not in self.back else self._renamed(name)
        self._sent[name] = sent
        return sent

    def _renamed(self, name: str) -> str:
        clean = "_" + re.sub(r"[^A-Za-z0-9_-]", "_", name)
        number = 0
        while True:
            end = f"_{number}" if number else ""
            sent = clean[: _LONGEST - len(end)] + end
            if sent not in self.back and sent not in self._sent:
                self.back[sent] = name
                return sent
            number += 1
