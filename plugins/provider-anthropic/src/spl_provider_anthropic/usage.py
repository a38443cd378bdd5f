"""Counts: Anthropic's three kinds of input as one prompt with parts of it."""

from typing import Any

import msgspec

from gateway_core.types import Usage
from gateway_core.wire.untrusted import is_count


class Report(msgspec.Struct):
    """A usage report; the types are not checked before they are looked at."""

    input_tokens: Any = None
    output_tokens: Any = None
    cache_read_input_tokens: Any = None
    cache_creation_input_tokens: Any = None
    output_tokens_details: Any = None


class Counts:
    """The counts of one answer. A stream's later reports are cumulative: each replaces what it names."""

    __slots__ = ("cached", "fresh", "output", "reasoning", "strange", "written")

    def __init__(self) -> None:
        self.fresh: int | None = None
        self.cached = 0
        self.written = 0
        self.output: int | None = None
        self.reasoning = 0
        self.strange = False

    def note(self, report: Report) -> None:
        """Takes over what a report names."""
        self.fresh = self._count(report.input_tokens, self.fresh)
        self.cached = self._count(report.cache_read_input_tokens, self.cached) or 0
        self.written = self._count(report.cache_creation_input_tokens, self.written) or 0
        self.output = self._count(report.output_tokens, self.output)
        details = report.output_tokens_details
        if isinstance(details, dict):
            self.reasoning = self._count(details.get("thinking_tokens"), self.reasoning) or 0

    def _count(self, value: Any, before: int | None) -> int | None:
        if value is None:
            return before
        if is_count(value):
            return value
        self.strange = True
        return before

    @property
    def prompt(self) -> int:
        """All input tokens."""
        return (self.fresh or 0) + self.cached + self.written

    def usage(self) -> Usage | None:
        """The usage; None where it was not reported, or cannot be meant."""
        if self.fresh is None or self.output is None or self.prompt == self.output == 0:
            return None
        return Usage(
            input=self.prompt,
            output=self.output,
            cached=self.cached,
            cache_write=self.written,
            reasoning=min(self.reasoning, self.output),
            estimated=self.strange or self.reasoning > self.output,
        )


def total(usages: list[Usage | None]) -> Usage | None:
    """The sum over answers to one prompt, each of which was billed with all of it; None where one is missing."""
    known = [usage for usage in usages if usage is not None]
    if len(known) < len(usages) or not known:
        return None
    return Usage(
        input=sum(usage.input for usage in known),
        output=sum(usage.output for usage in known),
        cached=sum(usage.cached for usage in known),
        cache_write=sum(usage.cache_write for usage in known),
        reasoning=sum(usage.reasoning for usage in known),
        estimated=any(usage.estimated for usage in known),
    )
