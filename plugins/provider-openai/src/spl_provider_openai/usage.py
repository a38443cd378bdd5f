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


class _Report(Struct):
    """A report as OpenAI writes it."""

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    prompt_cache_hit_tokens: None = None


_NO_PROMPT = _PromptDetails()
_NO_OUTPUT = _OutputDetails()
_ordinary = msgspec.json.Decoder(_Report).decode
_any = msgspec.json.Decoder().decode
_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_NONE = (None, None)


def usage_of(raw: Raw | None) -> tuple[Usage | None, dict[str, Raw] | None]:
    """The report with the fields to pass on; (None, None) where it is missing or cannot be meant."""
    if raw is None:
        return _NONE
    try:
        report = _ordinary(raw)
    except msgspec.ValidationError:
        return of_any_report(raw)
    counted = report.prompt_tokens + report.completion_tokens
    prompt, output = report.prompt_tokens_details or _NO_PROMPT, report.completion_tokens_details or _NO_OUTPUT
    cached, written, reasoning = prompt.cached_tokens or 0, prompt.cache_write_tokens or 0, output.reasoning_tokens or 0
    # Its own sum says that nothing is counted beside the others, and no part is more than the whole.
    if not 0 < counted == report.total_tokens or cached + written > report.prompt_tokens:
        return of_any_report(raw)
    if reasoning > report.completion_tokens:
        return of_any_report(raw)
    return Usage(report.prompt_tokens, report.completion_tokens, cached, written, reasoning), _fields(raw)


def of_any_report(raw: Raw) -> tuple[Usage | None, dict[str, Raw] | None]:
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
    return usage, None if strange or moved else _fields(raw)


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
