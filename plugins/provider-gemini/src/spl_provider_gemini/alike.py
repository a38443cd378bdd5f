"""Most events of a stream differ in three places alone: their text, and the two counts that grow with it. What else
stands in them is looked at once."""

import re
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from gateway_core.types import Run, Shape
from gateway_core.upstream.alike import AT_ONCE, STRING, said
from gateway_core.wire.untrusted import MOST_TOKENS, NONSENSE
from spl_provider_gemini.answer import Answer, Part, UsageMetadata, decode_answer, text_part, usage_of

_TEXT = re.compile(rb'"text"\s*:\s*' + STRING)
_SPOKEN = re.compile(rb'"candidatesTokenCount"\s*:\s*(\d{1,9})(?=[\s,}])')
_TOTAL = re.compile(rb'"totalTokenCount"\s*:\s*(\d{1,9})(?=[\s,}])')
_PROBE, _PROBED = b'"\\u2028 other text"', "\u2028 other text"
_OTHER_COUNT = 271_828
_counts = msgspec.json.Decoder(list[Annotated[int, Meta(ge=0, le=MOST_TOKENS)]]).decode
_join = b"".join


class Alike:
    """Events that were looked at whole, but for those three places.

    Whoever makes one has proved that whatever JSON string stands in the first is the text, whatever number in the
    second the count of what was said, and that nothing else depends on these or on the third.
    """

    __slots__ = ("_after", "_before", "_between", "_counts", "_middle", "_shape", "_spoken", "_token", "_total")

    def __init__(self, parts: tuple[bytes, bytes, bytes, bytes], shape: Shape, counts: UsageMetadata) -> None:
        """`parts` stand before, between and behind the three places; `counts` are one event's."""
        self._before, self._middle, self._between, self._after = parts
        self._shape = shape
        self._counts = counts
        # Where the places are, counted from the end: as in the last event whose counts had other lengths.
        self._token = self._spoken = self._total = slice(0)

    def run(self, events: Sequence[bytes], at: int) -> tuple[Run | None, int]:
        """The events from that place on that are alike, as one run; None where they must be read one by one.

        And how many they are.
        """
        tokens: list[bytes] = []
        spoken: list[bytes] = []
        totals: list[bytes] = []
        before, middle, between, after = self._before, self._middle, self._between, self._after
        for data in events[at : at + AT_ONCE] if at else events:
            token, said_so_far, in_all = data[self._token], data[self._spoken], data[self._total]
            if _join((before, token, middle, said_so_far, between, in_all, after)) != data:
                if not self.fits(data):
                    break
                token, said_so_far, in_all = data[self._token], data[self._spoken], data[self._total]
            tokens.append(token)
            spoken.append(said_so_far)
            totals.append(in_all)
        many = len(tokens)
        texts = said(tokens) if many else None
        if texts is None:
            return None, many
        try:
            counts = _counts(b"[%b]" % b",".join(spoken + totals))
        except NONSENSE:
            return None, many
        if len(counts) != 2 * many:
            return None, many
        last = msgspec.structs.replace(self._counts, candidates_token_count=counts[many - 1])
        return Run(self._shape, tokens, texts, usage_of(last)), many

    def fits(self, data: bytes) -> bool:
        """Whether an event has these parts, whatever the lengths of its counts; notes where its places are."""
        start, stop = len(self._before), len(data) - len(self._after)
        if start > stop or not data.startswith(self._before) or not data.endswith(self._after):
            return False
        _, found, counts = data[start:stop].partition(self._middle)
        spoken, found_too, total = counts.partition(self._between)
        if not found or not found_too:
            return False
        total_at = len(total) + len(self._after)
        spoken_end = total_at + len(self._between)
        spoken_at = spoken_end + len(spoken)
        self._total = slice(-total_at, -len(self._after))
        self._spoken = slice(-spoken_at, -spoken_end)
        self._token = slice(start, -spoken_at - len(self._middle))
        return True


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
    return Alike((before, middle, between, after), shape, event.usage_metadata)


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
