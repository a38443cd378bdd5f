"""Templates, what they show amounts and times with, and the headers of every page."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import Response

from gateway_core.money import UNITS_PER_CENT, UNITS_PER_USD, parse_usd, usd, usd_to_cent
from gateway_core.ports import REQUEST_ID
from spl_console.assets import HERE, Assets
from spl_console.nav import NAV

if TYPE_CHECKING:
    from spl_console.page import Visit

THEMES = ("auto", "light", "dark")
THEME_COOKIE = "spl-console-theme"

_HEADERS = {
    # Icons of the style sheet are data; nothing else comes from anywhere but here.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # No other site learns of our addresses; with "no-referrer" a form's Origin would be "null" even here.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=()",
    "cache-control": "no-store",
}


class Renderer:
    """Makes pages."""

    def __init__(self, prefix: str, title: str, assets: Assets) -> None:
        self.prefix = prefix
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals.update(
            prefix=prefix, title=title, asset=assets.url, themes=THEMES, thousandths=thousandths, share=share
        )
        self._environment.filters.update(
            money=money,
            price=price,
            number=number,
            time=time,
            day=day,
            plural=plural,
            usd=usd,
            took=took,
            units=known_units,
            fixed=fixed,
        )

    def page(self, visit: "Visit", template: str, status: int, values: dict[str, Any]) -> Response:
        """One page for one visitor."""
        session = visit.signed_in
        notices: list[tuple[str, str]] = []
        if session is not None and not template.startswith("part/"):
            notices, session.notices = session.notices, []
        theme = visit.request.cookies.get(THEME_COOKIE, "auto")
        text = self._environment.get_template(template).render(
            visit=visit,
            csrf="" if session is None else session.csrf,
            notices=notices,
            known={each.path for each in NAV if visit.may(each.needs)},
            nav=[each for each in NAV if visit.may(each.needs)] if session is not None else [],
            here=visit.request.url.path,
            theme=theme if theme in THEMES else "auto",
            request_id=visit.request.scope[REQUEST_ID],
            **values,
        )
        return Response(text, status, _HEADERS, media_type="text/html")


# ---------------------------------------------------------------- amounts


def units_of(amount: int | str) -> int:
    """Units, from units or from USD as the API writes them."""
    if isinstance(amount, int):
        return amount
    return -parse_usd(amount[1:]) if amount.startswith("-") else parse_usd(amount)


def money(amount: int | str | None) -> Markup:
    """An amount for a person, the exact one on hover: cents where that is all of it or it is above a dollar, else
    every digit."""
    if amount is None:
        return Markup("–")
    units = units_of(amount)
    exact = usd(units)
    whole = units % UNITS_PER_CENT == 0 or abs(units) >= UNITS_PER_USD
    shown = usd_to_cent(units) if whole else exact
    return _amount(shown, exact)


def price(amount: int | str | None) -> Markup:
    """A price per 1M tokens as it is published, the exact one on hover."""
    if amount is None:
        return Markup("–")
    units = units_of(amount)
    return _amount(usd_to_cent(units), usd(units)) if units else Markup('<span class="free">free</span>')


def _amount(shown: str, exact: str) -> Markup:
    sign, shown = ("−", shown[1:]) if shown.startswith("-") else ("", shown)
    whole, point, fraction = shown.partition(".")
    shown = f"{int(whole):,}{point}{fraction}"
    return Markup('<data class="num" value="{}" title="{} USD">{}${}</data>').format(exact, exact, sign, shown)


def number(value: int | None) -> str:
    """A whole number in groups of three."""
    return "–" if value is None else f"{value:,}"


def places_of(amounts: Iterable[int | str]) -> int:
    """Decimals that all of these amounts of USD can be written with, two at least."""
    texts = [usd(units_of(amount)) for amount in amounts]
    return max([2, *[len(text.partition(".")[2]) for text in texts]])


def fixed(amount: int | str, places: int) -> str:
    """An amount of USD with that many decimals, exact: in a column the points stand below each other."""
    units = units_of(amount)
    whole, _, rest = usd(abs(units)).partition(".")
    return f"{'−' if units < 0 else ''}{int(whole):,}.{rest.ljust(places, '0')}"


def share(part: int, whole: int) -> str:
    """A share of a whole for a person, rounded half up to a tenth of a percent."""
    tenths = (max(0, part) * 2000 + whole) // (2 * whole) if whole > 0 else 0
    return f"{tenths // 10}.{tenths % 10} %"


def known_units(amount: str) -> int | None:
    """Units of an amount that a record names; None where that is none."""
    try:
        return units_of(amount)
    except ValueError:
        return None


def took(ms: int | None) -> str:
    """A span of time for a person."""
    if ms is None:
        return "–"
    return f"{ms:,} ms" if ms < 1000 else f"{ms / 1000:,.1f} s"


def plural(count: int, one: str, many: str | None = None) -> str:
    """A count and its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def thousandths(part: int, whole: int) -> int:
    """A share of a whole, 0 to 1000."""
    return 0 if whole <= 0 else max(0, min(1000, part * 1000 // whole))


# ---------------------------------------------------------------- times


def time(at: int | str | None, empty: str = "never") -> Markup:
    """An instant: in UTC as it is sent, in the reader's zone where scripts run, always UTC on hover."""
    if at is None:
        return Markup('<span class="none">{}</span>').format(empty)
    moment = _moment(at)
    machine = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    shown = f"{moment.day} {moment:%b %Y, %H:%M} UTC"
    return Markup('<time datetime="{}" title="{:%Y-%m-%d %H:%M:%S} UTC">{}</time>').format(machine, moment, shown)


def day(at: int | str | None, empty: str = "never") -> Markup:
    """An instant's day, else as `time`."""
    if at is None:
        return Markup('<span class="none">{}</span>').format(empty)
    moment = _moment(at)
    machine = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    shown = escape(f"{moment.day} {moment:%b %Y}")
    return Markup('<time data-day datetime="{}" title="{:%Y-%m-%d %H:%M:%S} UTC">{}</time>').format(
        machine, moment, shown
    )


def _moment(at: int | str) -> datetime:
    if isinstance(at, int):
        return datetime.fromtimestamp(at / 1000, UTC)
    return datetime.fromisoformat(at).astimezone(UTC)
