"""An answer's head as it came, once a parser has found it sound: its lines are looked for when one is asked for.

A provider sends twenty of them, and a call reads one or two.
"""

from collections.abc import Iterator, Mapping

_BLANK = b" \t"


def begins(name: str) -> bytes:
    """What a line of that name begins with in a head in lower case. It stands nowhere else: a parser takes no line
    break in a value, and no space before the colon."""
    return b"\r\n%b:" % name.lower().encode("latin-1")


ENCODED = begins("content-encoding")


class Headers(Mapping[str, str]):
    """The lines of a head by their names, in any case; those of one name are joined by commas.

    `text`: from its first line to the last, without the line break behind that; `lower`: the same in lower case.
    """

    __slots__ = ("_lower", "_text")

    def __init__(self, text: bytes, lower: bytes) -> None:
        self._text = text
        self._lower = lower

    def have(self, beginning: bytes) -> bool:
        """Whether a line begins so: `begins`, or with a part of it."""
        return self._lower.find(beginning) >= 0

    def __getitem__(self, name: str) -> str:
        line = begins(name)
        values = []
        at = self._lower.find(line)
        while at >= 0:
            end = self._text.find(b"\r\n", at + 2)
            values.append(self._text[at + len(line) : end if end >= 0 else None].strip(_BLANK))
            at = self._lower.find(line, at + 2)
        if not values:
            raise KeyError(name)
        return b", ".join(values).decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        lines = self._lower.split(b"\r\n")[1:]
        return iter(dict.fromkeys(line.partition(b":")[0].decode("latin-1") for line in lines))

    def __len__(self) -> int:
        return sum(1 for _ in self)
