"""Most events of a stream are alike but for the text in them. What is alike is looked at once."""

import re

import msgspec

from spl_provider_openai.view import ChunkChoice

_TEXT = re.compile(rb'"content":\s*("(?:[^"\\]|\\.)*")')
_text = msgspec.json.Decoder(str).decode
_choices = msgspec.json.Decoder(list[ChunkChoice]).decode
_PROBE = b'"\\u2028 other text"'
_NOT_ALIKE = (msgspec.DecodeError, UnicodeDecodeError)


class Template:
    """An event that was looked at whole, but for its text: one that differs in nothing else needs no other look.

    Its bytes before the text and behind it are compared, and what stands between them must be one JSON text: so
    whatever was found in the first event holds for the next one.
    """

    __slots__ = ("_after", "_before", "_choices_at", "_choices_end")

    def __init__(self, before: bytes, after: bytes, choices_at: int, choices_end: int) -> None:
        self._before = before
        self._after = after
        self._choices_at = choices_at
        self._choices_end = choices_end

    def read(self, data: bytes) -> tuple[str, bytes] | None:
        """The text of an event that is alike, and its choices; None for any other event."""
        before, after = self._before, self._after
        if not data.startswith(before) or not data.endswith(after):
            return None
        try:
            return _text(data[len(before) : -len(after)]), data[self._choices_at : -self._choices_end]
        except _NOT_ALIKE:
            return None


def template_of(data: bytes, choices: bytes, text: str) -> Template | None:
    """The template of an event whose one choice has that text; None where its place is not found for certain."""
    choices_at = data.find(choices)
    found = _TEXT.search(choices)
    if found is None or data.find(choices, choices_at + 1) >= 0:
        return None
    at, end = found.span(1)
    try:
        same = _choices(choices)
        other = _choices(choices[:at] + _PROBE + choices[end:])
    except _NOT_ALIKE:
        return None
    for choice, said in ((same[0], text), (other[0], _text(_PROBE))):
        if choice.delta is None or choice.delta.content != said:
            return None
    return Template(
        data[: choices_at + at], data[choices_at + end :], choices_at, len(data) - choices_at - len(choices)
    )
