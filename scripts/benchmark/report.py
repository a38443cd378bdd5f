"""Figures of all rounds → medians, ratios, and the table that people read."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

Rows = Sequence[Mapping[str, Any]]

FIGURES: tuple[tuple[str, str, str, float], ...] = (
    # key, what the table calls it, section.field of the stick's JSON, factor
    ("plain", "CPU µs per plain call, 16 at once", "wrk_c16.gw_cpu_s_per_1000", 1000),
    ("plain_64", "CPU µs per plain call, 64 at once", "wrk_c64.gw_cpu_s_per_1000", 1000),
    ("stream", "CPU µs per stream, no gaps, 16 at once", "stream_c16.gw_cpu_s_per_1000", 1000),
    ("stream_anthropic", "CPU µs per Anthropic stream, no gaps", "stream_anthropic_c16.gw_cpu_s_per_1000", 1000),
    ("stream_gemini", "CPU µs per Gemini stream, no gaps", "stream_gemini_c16.gw_cpu_s_per_1000", 1000),
    ("stream_gaps", "CPU µs per stream, 10 ms gaps, 20 at once", "slow_c20.gw_cpu_s_per_1000", 1000),
    ("stream_gaps_200", "CPU µs per stream, 10 ms gaps, 200 at once", "slow_c200.gw_cpu_s_per_1000", 1000),
    ("rps", "calls/s, 16 at once", "wrk_c16.rps", 1),
    ("rps_64", "calls/s, 64 at once", "wrk_c64.rps", 1),
    ("p50_64_ms", "p50 ms, 64 at once", "wrk_c64.p50_ms", 1),
    ("p99_64_ms", "p99 ms, 64 at once", "wrk_c64.p99_ms", 1),
    ("added_p50_ms", "added p50 ms, one connection", "seq.added_p50_ms", 1),
    ("added_p99_ms", "added p99 ms, one connection", "seq.added_p99_ms", 1),
    ("first_byte_ms", "added first byte p50 ms, one connection", "seq_ttfb.added_p50_ms", 1),
    ("cold_start_s", "start to first 200, s", "cold_start_s", 1),
    ("idle_mb", "memory idle, MB", "idle_mb", 1),
    ("after_mb", "memory after load, MB", "after_mb", 1),
)
RATIOS = {
    # each ratio, and what of the other's it is a ratio to: a translated stream is held to a plain one
    "plain": "plain",
    "plain_64": "plain_64",
    "stream": "stream",
    "stream_anthropic": "stream",
    "stream_gemini": "stream",
    "stream_gaps": "stream_gaps",
    "stream_gaps_200": "stream_gaps_200",
}
PATHS = {key: path for key, _, path, _ in FIGURES}
SECTIONS_WITH_FAILURES = {
    "seq": "bad",
    "seq_ttfb": "bad",
    "wrk": "errors",
    "stream": "bad",
    "stream_anthropic": "bad",
    "stream_gemini": "bad",
    "slow": "bad",
}


class Spread(TypedDict):
    """A figure of several rounds."""

    median: float
    min: float
    max: float


def spread(seen: Sequence[float]) -> Spread:
    """The median, the smallest and the largest."""
    return {"median": round(statistics.median(seen), 3), "min": round(min(seen), 3), "max": round(max(seen), 3)}


def value(row: Mapping[str, Any], path: str) -> float | None:
    """One figure of one run of the stick."""
    found: Any = row
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, int | float) else None


def figures(rows: Rows) -> dict[str, Spread]:
    """For each figure the median of all rounds, the smallest and the largest."""
    result = {}
    for key, _, path, factor in FIGURES:
        if seen := [found * factor for row in rows if (found := value(row, path)) is not None]:
            result[key] = spread(seen)
    return result


def ratios(ours: Rows, theirs: Rows) -> dict[str, Spread]:
    """One's CPU a call over another's, round by round: what moves both of a round moves no ratio."""
    result = {}
    for key, base in RATIOS.items():
        pairs = [(value(one, PATHS[key]), value(other, PATHS[base])) for one, other in zip(ours, theirs, strict=False)]
        if seen := [mine / other for mine, other in pairs if mine and other]:
            result[key] = spread(seen)
    return result


def failures(rows: Rows) -> int:
    """Calls that did not end as they should: such a run measures nothing."""
    total = 0
    for row in rows:
        for key, section in row.items():
            field = SECTIONS_WITH_FAILURES.get(key.split("_c")[0])
            if field and isinstance(section, Mapping):
                total += int(section.get(field) or 0) + ("error" in section)
    return total


def busy(rows: Rows) -> dict[str, float]:
    """What others took of the machine meanwhile, in cores: `foreign` processes, and `steal` by the host."""
    seen: dict[str, list[float]] = {"foreign": [], "steal": []}
    for row in rows:
        for section in row.values():
            if isinstance(section, Mapping) and "wall_s" in section:
                for name, values in seen.items():
                    values.append(section[f"{name}_cpu_util" if name == "foreign" else "steal_util"])
    return {name: round(statistics.mean(values or [0.0]), 3) for name, values in seen.items()}


def table(measured: Mapping[str, Mapping[str, Spread]], to_floor: Mapping[str, Mapping[str, Spread]]) -> str:
    """The figures side by side, each target a column, and under them the ratios to the floor."""
    lines = [_line("", measured)]
    for key, title, _, _ in FIGURES:
        cells = [measured[name].get(key) for name in measured]
        if any(cells):
            lines.append(_line(title, [_cell(cell) for cell in cells]))
    if to_floor:
        lines.append("")
        for key in RATIOS:
            ratios_of = [to_floor.get(name, {}).get(key) for name in measured]
            if any(ratios_of):
                lines.append(_line(f"× the floor: {key}", [_cell(cell) for cell in ratios_of]))
    return "\n".join(lines)


def _line(title: str, cells: Iterable[str]) -> str:
    return f"{title:43}" + "".join(f"{cell:>25}" for cell in cells)


def _cell(cell: Spread | None) -> str:
    """Median, and the range where rounds differ."""
    if cell is None:
        return "–"
    middle, low, high = (format(x, ",.0f" if x >= 1000 else ".3g") for x in (cell["median"], cell["min"], cell["max"]))
    return middle if low == high else f"{middle} ({low}–{high})"
