"""Figures of all rounds → medians, ratios, and the table that people read."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Rows = Sequence[Mapping[str, Any]]

FIGURES: tuple[tuple[str, str, str, float], ...] = (
    # key, what the table calls it, section.field of the stick's JSON, factor
    ("plain", "CPU µs per plain call, 16 at once", "wrk_c16.gw_cpu_s_per_1000", 1000),
    ("plain_64", "CPU µs per plain call, 64 at once", "wrk_c64.gw_cpu_s_per_1000", 1000),
    ("stream", "CPU µs per stream, no gaps, 16 at once", "stream_c16.gw_cpu_s_per_1000", 1000),
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
    ("idle_mb", "memory idle, MB", "idle.rss_mb", 1),
    ("after_mb", "memory after load, MB", "after_load.rss_mb", 1),
)
RATIOS = ("plain", "plain_64", "stream", "stream_gaps", "stream_gaps_200")
SECTIONS_WITH_FAILURES = {"seq": "bad", "seq_ttfb": "bad", "wrk": "errors", "stream": "bad", "slow": "bad"}


def value(row: Mapping[str, Any], path: str) -> float | None:
    """One figure of one run of the stick."""
    found: Any = row
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, int | float) else None


def figures(rows: Rows) -> dict[str, dict[str, float]]:
    """For each figure the median of all rounds, the smallest and the largest."""
    result = {}
    for key, _, path, factor in FIGURES:
        seen = [found * factor for row in rows if (found := value(row, path)) is not None]
        if seen:
            result[key] = {
                "median": round(statistics.median(seen), 3),
                "min": round(min(seen), 3),
                "max": round(max(seen), 3),
            }
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


def ratios(measured: Mapping[str, Mapping[str, Mapping[str, float]]], against: str) -> dict[str, float]:
    """The gateway's CPU a call over another's, of the same run."""
    ours, theirs = measured.get("gateway", {}), measured.get(against, {})
    return {
        key: round(ours[key]["median"] / theirs[key]["median"], 3)
        for key in RATIOS
        if key in ours and key in theirs and theirs[key]["median"]
    }


def table(measured: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """The figures side by side, and under them the ratios."""
    names = list(measured)
    lines = [f"{'':44}" + "".join(f"{name:>24}" for name in names)]
    for key, title, _, _ in FIGURES:
        cells = [measured[name].get(key) for name in names]
        if any(cells):
            lines.append(f"{title:44}" + "".join(f"{spread(cell):>24}" for cell in cells))
    for against in ("floor", "relay"):
        found = ratios(measured, against)
        if found:
            text = " · ".join(f"{key} {ratio:.2f}×" for key, ratio in found.items())
            lines.append(f"gateway / {against}: {text}")
    return "\n".join(lines)


def spread(cell: Mapping[str, float] | None) -> str:
    """Median, and the range where rounds differ."""
    if cell is None:
        return "–"
    middle, low, high = (
        format(cell[name], ",.0f" if cell[name] >= 1000 else ".4g") for name in ("median", "min", "max")
    )
    return middle if low == high else f"{middle} ({low}–{high})"
