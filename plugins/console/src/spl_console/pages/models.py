"""Models: what each costs, what it can, how fast it may be called and what is left of that right now."""

from typing import Any

from starlette.responses import Response

from spl_console.page import Page, Visit

FEATURES = {
    "stream": "streams",
    "tools": "tools",
    "vision": "images",
    "json_schema": "JSON schema",
    "reasoning": "reasoning",
}
"""What a capability is called on the page; others by their own name."""


async def index(visit: Visit) -> Response:
    """All that this key may call first, then the others."""
    rows = await capabilities(visit)
    for place, row in enumerate(rows):
        row["place"] = place
        row["shown_features"] = [FEATURES.get(name, name) for name in row["features"]]
    usable = [row for row in rows if row["available"]]
    limited = any(row[limit] for row in usable for limit in _LIMITS)
    return visit.render(
        "models.html", usable=usable, others=[row for row in rows if not row["available"]], limited=limited
    )


async def limits(visit: Visit) -> Response:
    """What is left of each limit, for the page that shows it already."""
    rows = await capabilities(visit)
    return visit.render("part/limits.html", rows=list(enumerate(rows)))


async def capabilities(visit: Visit) -> list[dict[str, Any]]:
    """Every model, as this key has it."""
    found: list[dict[str, Any]] = (await visit.ask("GET", "/v1/capabilities"))["data"]
    return found


_LIMITS = ("requests_per_minute", "tokens_per_minute", "requests_per_day")

PAGES = (
    Page("GET", "/models", "inference", index, "Models with prices and limits."),
    Page("GET", "/models/limits", "inference", limits, "What is left of each limit.", script=True),
)
