"""Charts as SVG: one or more series over a logarithmic x, y from zero. For light and dark pages."""

import math
from collections.abc import Mapping, Sequence
from html import escape

import msgspec

Point = tuple[float, float]

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 28, 40, 48
COLOURS = ("#0b6bcb", "#c4501b", "#2e8540", "#7a4fbf")
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#333}.title{font-weight:600;font-size:14px}"
    ".grid{stroke:#8884}.axis{stroke:#888}polyline{fill:none;stroke-width:2}"
    "@media(prefers-color-scheme:dark){text{fill:#ccc}}"
)


class Chart(msgspec.Struct, frozen=True):
    """What a chart shows: each series by its name, as (x, y) with x above 0."""

    title: str
    x: str
    series: Mapping[str, Sequence[Point]]


def nice_step(largest: float, steps: int = 5) -> float:
    """A distance of grid lines, 1, 2 or 5 times a power of ten, so that about `steps` of them reach the largest."""
    rough = max(largest, 1e-9) / steps
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def short(number: float) -> str:
    """1,000,000 as 1M, 10,000 as 10k."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"


def svg(chart: Chart) -> str:
    """The whole file."""
    points = [point for series in chart.series.values() for point in series]
    xs = sorted({x for x, _ in points})
    step = nice_step(max(y for _, y in points))
    top = step * max(1, math.ceil(max(y for _, y in points) / step))
    low, high = math.log10(xs[0]), math.log10(xs[-1])

    def at_x(x: float) -> float:
        return LEFT + (math.log10(x) - low) / (high - low or 1) * (WIDTH - LEFT - RIGHT)

    def at_y(y: float) -> float:
        return HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(chart.title)}</title><style>{STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="16">{escape(chart.title)}</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(chart.x)}</text>',
    ]
    for number in range(round(top / step) + 1):
        y = at_y(number * step)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{number * step:,g}</text>')
    parts += [f'<text x="{at_x(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{short(x)}</text>' for x in xs]
    left = LEFT
    for colour, (name, series) in zip(COLOURS, chart.series.items(), strict=False):
        line = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in series)
        parts.append(f'<polyline points="{line}" stroke="{colour}"/>')
        parts += [f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="3" fill="{colour}"/>' for x, y in series]
        parts.append(f'<rect x="{left}" y="24" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{left + 14}" y="33">{escape(name)}</text>')
        left += 30 + 7 * len(name)
    return "\n".join([*parts, "</svg>"]) + "\n"
