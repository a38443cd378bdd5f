"""A server's count of tokens, believed only where it can be meant."""

from typing import Any

import msgspec
from msgspec import Raw

from gateway_core.types import Usage
from gateway_core.wire.untrusted import is_count

_any = msgspec.json.Decoder().decode
_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_NONE = (None, None)


def usage_of(raw: Raw | None) -> tuple[Usage | None, dict[str, Raw] | None]:
    """The report with the fields to pass on; (None, None) where it is missing or cannot be meant."""
    report = _any(raw) if raw is not None else None
    if raw is None or not isinstance(report, dict):
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
