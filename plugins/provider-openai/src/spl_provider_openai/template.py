"""The place of an event's text, proved: what stands around it is looked at once, however many events are alike."""

import re
from collections.abc import Mapping

import msgspec

from gateway_core.types import Shape
from gateway_core.upstream.alike import Alike
from spl_provider_openai.view import ChunkChoice

_TEXT = re.compile(rb'"content":\s*("(?:[^"\\]|\\.)*")')
_text = msgspec.json.Decoder(str).decode
_choices = msgspec.json.Decoder(list[ChunkChoice]).decode
_PROBE = b'"\\u2028 other text"'
_NOT_ALIKE = (msgspec.DecodeError, UnicodeDecodeError)


def alike_to(data: bytes, choices: bytes, text: str, extra: Mapping[str, msgspec.Raw]) -> Alike | None:
    """What is alike to an event whose one choice has that text; None where its place is not found for certain.

    `choices` as they stand in it, `extra`: its other fields.
    """
    choices_at = data.find(choices)
    found = _TEXT.search(choices)
    if found is None or data.find(choices, choices_at + 1) >= 0 or b"\n" in data or b"\r" in data:
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
    shape = Shape(choices[:at], choices[end:], extra)
    return Alike(data[: choices_at + at], data[choices_at + end :], shape)
