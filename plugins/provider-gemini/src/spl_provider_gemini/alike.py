"""Most events of a stream differ in three places alone: their text, and the two counts that grow with it. What else
stands in them is looked at once."""

import re
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from gateway_core.types import Run, Shape, Usage
from gateway_core.upstream.alike import AT_ONCE, STRING, said
from gateway_core.wire.untrusted import MOST_TOKENS, NONSENSE
from spl_provider_gemini.answer import Answer, Part, UsageMetadata, decode_answer, text_part, usage_of

_TEXT = re.compile(rb'"text"\s*:\s*' + STRING)
_SPOKEN = re.compile(rb'"candidatesTokenCount"\s*:\s*(\d{1,9})(?=[\s,}])')
_TOTAL = re.compile(rb'"totalTokenCount"\s*:\s*(\d{1,9})(?=[\s,}])')
_DIGITS = b"0123456789"
_PROBE, _PROBED = b'"\\u2028 other text"', "\u2028 other text"
_OTHER_COUNT = 271_828
_counts = msgspec.json.Decoder(list[Annotated[int, Meta(ge=0, le=MOST_TOKENS)]]).decode
_join = b"".join


class Alike:
    """Events that were looked at whole, but for those three places.

    Whoever makes one has proved that whatever JSON string stands in the first is the text, whatever number in the
    second the count of what was said, and that nothing else depends on these or on the third.
    """

    __slots__ = (
        "_after",
        "_before",
        "_between",
        "_middle",
        "_shape",
        "_spoken",
        "_token",
        "_total",
        "_unspoken",
        "_usage",
    )

    def __init__(
        self, parts: tuple[bytes, bytes, bytes, bytes], shape: Shape, usage: Usage | None, spoken: int
    ) -> None:
        """`parts` stand before, between and behind the three places; `usage` is of an event that counts `spoken`."""
        self._before, self._middle, self._between, self._after = parts
        self._shape = shape
        self._usage = usage
        #: Of the output's tokens, those that are thought.
        self._unspoken = 0 if usage is None else usage.output - spoken
        # Where the places are, counted from the end: as in the last event whose counts had other lengths.
        self._token = self._spoken = self._total = slice(0)

    def run(self, events: Sequence[bytes], at: int) -> tuple[Run | None, int]:
        """The events from that place on that are alike, as one run; None where they must be read one by one.

        And how many they are.
        """
        tokens: list[bytes] = []
        numbers: list[bytes] = []
        before, middle, between, after = self._before, self._middle, self._between, self._after
        for data in events[at : at + AT_ONCE] if at else events:
            token, spoken, total = data[self._token], data[self._spoken], data[self._total]
            if _join((before, token, middle, spoken, between, total, after)) != data:
                if not self.fits(data):
                    break
                token, spoken, total = data[self._token], data[self._spoken], data[self._total]
            tokens.append(token)
            numbers += (spoken, total)
        many = len(tokens)
        texts = said(tokens) if many else None
        if texts is None:
            return None, many
        try:
            counts = _counts(b"[%b]" % b",".join(numbers))
        except NONSENSE:
            return None, many
        if len(counts) != 2 * many:
            return None, many
        usage = self._usage
        if usage is not None:
            usage = msgspec.structs.replace(usage, output=counts[-2] + self._unspoken)
        return Run(self._shape, tokens, texts, usage), many

    def fits(self, data: bytes) -> bool:
        """Whether an event has these parts, whatever the lengths of its counts; notes where its places are."""
        before_total = data[: -len(self._after)].rstrip(_DIGITS)
        before_spoken = before_total[: -len(self._between)].rstrip(_DIGITS)
        total_at, spoken_at = len(before_total) - len(data), len(before_spoken) - len(data)
        self._total = total = slice(total_at, -len(self._after))
        self._spoken = spoken = slice(spoken_at, total_at - len(self._between))
        self._token = token = slice(len(self._before), spoken_at - len(self._middle))
        parts = (self._before, data[token], self._middle, data[spoken], self._between, data[total], self._after)
        return _join(parts) == data


def alike_to(data: bytes, event: Answer, index: int) -> Alike | None:
    """What is alike to an event whose one candidate, of that index, is nothing but a text: None where one of the three
    places is not found for certain."""
    text = _TEXT.search(data)
    spoken = _SPOKEN.search(data, text.end()) if text is not None else None
    total = _TOTAL.search(data, spoken.end()) if spoken is not None else None
    if text is None or spoken is None or total is None or event.usage_metadata is None:
        return None
    (text_at, text_end), (spoken_at, spoken_end), (total_at, total_end) = text.span(1), spoken.span(1), total.span(1)
    before, middle = data[:text_at], data[text_end:spoken_at]
    between, after = data[spoken_end:total_at], data[total_end:]
    other_count = b"%d" % _OTHER_COUNT
    try:
        probe = decode_answer(_join((before, _PROBE, middle, other_count, between, other_count, after)))
    except NONSENSE:
        return None
    if not _is_probe_of(event, probe):
        return None
    shape = Shape(b'[{"index":%d,"delta":{"content":' % index, b'},"finish_reason":null}]')
    return Alike((before, middle, between, after), shape, usage_of(event.usage_metadata), int(spoken[1]))


def _is_probe_of(event: Answer, probe: Answer) -> bool:
    """Whether the probe has its own text and its own count, and else nothing that the event has not. Changes it."""
    ours, theirs = _places(probe), _places(event)
    if ours is None or theirs is None or ours[0].text != _PROBED or ours[1].candidates_token_count != _OTHER_COUNT:
        return False
    ours[0].text, ours[1].candidates_token_count = theirs[0].text, theirs[1].candidates_token_count
    return probe == event


def _places(event: Answer) -> tuple[Part, UsageMetadata] | None:
    candidates, counts = event.candidates, event.usage_metadata
    part = text_part(candidates[0]) if candidates and len(candidates) == 1 else None
    return None if part is None or counts is None else (part, counts)
