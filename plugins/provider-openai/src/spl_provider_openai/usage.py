"""A server's count of tokens, believed only where it can be meant."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from gateway_core.types import Usage
from gateway_core.wire.untrusted import MOST_TOKENS, is_count

Count = Annotated[int, Meta(ge=0, le=MOST_TOKENS)]


class _PromptDetails(Struct):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None


class _OutputDetails(Struct):
    reasoning_tokens: Count | None = None


_ABSENT = Raw(b"")


class Report(Struct, forbid_unknown_fields=True):
    """A report as OpenAI writes it."""

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count
    prompt_tokens_details: Raw = _ABSENT
    completion_tokens_details: Raw = _ABSENT


Counted = tuple[Usage | None, dict[str, Raw] | None]
"""What is believed of a report, and its fields to pass on, all but the three counts; (None, None): it is missing or
cannot be meant."""

_report = msgspec.json.Decoder(Report).decode
_prompt_details = msgspec.json.Decoder(_PromptDetails | None).decode
_output_details = msgspec.json.Decoder(_OutputDetails | None).decode
_any = msgspec.json.Decoder().decode
_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_NO_PROMPT = _PromptDetails()
_NO_OUTPUT = _OutputDetails()
_NONE = (None, None)


def usage_of(raw: Raw | None) -> Counted:
    """What a server reports."""
    if raw is None:
        return _NONE
    try:
        return usage_in(_report(raw)) or of_any_report(raw)
    except msgspec.ValidationError:
        return of_any_report(raw)


def usage_in(report: Report) -> Counted | None:
    """The same of a report as OpenAI writes it. None, or a ValidationError: it has to be looked at more closely."""
    asked, answered = report.prompt_tokens, report.completion_tokens
    prompt, output = _NO_PROMPT, _NO_OUTPUT
    details: dict[str, Raw] = {}
    if (given := report.prompt_tokens_details) is not _ABSENT:
        details["prompt_tokens_details"] = given
        prompt = _prompt_details(given) or prompt
    if (given := report.completion_tokens_details) is not _ABSENT:
        details["completion_tokens_details"] = given
        output = _output_details(given) or output
    cached, written, reasoning = prompt.cached_tokens or 0, prompt.cache_write_tokens or 0, output.reasoning_tokens or 0
    # Its own sum says that nothing is counted beside the others, and no part is more than the whole.
    if not 0 < asked + answered == report.total_tokens or cached + written > asked or reasoning > answered:
        return None
    return Usage(asked, answered, cached, written, reasoning), details


def of_any_report(raw: Raw) -> Counted:
    """The same, whatever the server wrote."""
    report = _any(raw)
    if not isinstance(report, dict):
        return _NONE
    input_tokens, output_tokens = report.get("prompt_tokens"), report.get("completion_tokens")
    if not is_count(input_tokens) or not is_count(output_tokens) or input_tokens == output_tokens == 0:
        return _NONE
    prompt, output = _group(report, "prompt_tokens_details"), _group(report, "completion_tokens_details")
    cached_report = prompt.get("cached_tokens", report.get("prompt_cache_hit_tokens"))
    reasoning_report = output.get("reasoning_tokens")
    output_tokens += _apart(reasoning_report, report, input_tokens + output_tokens)
    cached, strange_cached = _part(cached_report, input_tokens)
    written, strange_written = _part(prompt.get("cache_write_tokens"), input_tokens - cached)
    reasoning, strange_reasoning = _part(reasoning_report, output_tokens)
    strange = strange_cached or strange_written or strange_reasoning
    usage = Usage(
        input=input_tokens,
        output=output_tokens,
        cached=cached,
        cache_write=written,
        reasoning=reasoning,
        estimated=strange,
    )
    # Details that the server gave in a place of its own are written anew, in OpenAI's.
    moved = cached > 0 and "cached_tokens" not in prompt
    return usage, None if strange or moved else _others(raw)


def _others(raw: Raw) -> dict[str, Raw]:
    """What is passed on as it is: the counts are always written anew."""
    fields = _fields(raw)
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        fields.pop(name, None)
    return fields


def _apart(reasoning: Any, report: dict[str, Any], counted: int) -> int:
    """Reasoning that the server counts beside the completion: its own sum says so."""
    if is_count(reasoning) and report.get("total_tokens") == counted + reasoning:
        return reasoning
    return 0


def _group(report: dict[str, Any], name: str) -> dict[str, Any]:
    details = report.get(name)
    return details if isinstance(details, dict) else {}


def _part(value: Any, most: int) -> tuple[int, bool]:
    """A count that is a part of another, held within it; whether it had to be."""
    if value is None:
        return 0, False
    if type(value) is int and 0 <= value <= most:
        return value, False
    return most if is_count(value) else 0, True
