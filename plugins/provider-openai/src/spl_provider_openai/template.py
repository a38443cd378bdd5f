"""The place of an event's text, proved: what stands around it is looked at once, however many events are alike."""

import re
from collections.abc import Mapping

import msgspec

from gateway_core.types import Shape
from gateway_core.upstream.alike import STRING, Alike
from spl_provider_openai.view import ChunkChoice

_TEXT = re.compile(rb'"content":\s*' + STRING)
_choices = msgspec.json.Decoder(list[ChunkChoice]).decode
_PROBE = "\u2028 other text"
_PROBE_TOKEN = msgspec.json.encode(_PROBE)
_NOT_ALIKE = (msgspec.DecodeError, UnicodeDecodeError)


def alike_to(data: bytes, choices: bytes, choice: ChunkChoice, extra: Mapping[str, msgspec.Raw]) -> Alike | None:
    """What is alike to an event with that one choice; None where the place of its text is not found for certain:
    another text that is put there must be read as this choice with that text.

    `choices` as they stand in it, `extra`: its other fields.
    """
    choices_at = data.find(choices)
    found = _TEXT.search(choices)
    if found is None or data.find(choices, choices_at + 1) >= 0 or b"\n" in data or b"\r" in data:
        return None
    at, end = found.span(1)
    try:
        (other,) = _choices(choices[:at] + _PROBE_TOKEN + choices[end:])
    except _NOT_ALIKE:
        return None
    if choice.delta is None or other.delta is None or other.delta.content != _PROBE:
        return None
    other.delta.content = choice.delta.content
    if other != choice:
        return None
    shape = Shape(choices[:at], choices[end:], extra)
    return Alike(data[: choices_at + at], data[choices_at + end :], shape)
