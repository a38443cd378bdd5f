"""What a request to an endpoint says: its body, checked strictly, and its query."""

import re
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
from starlette.requests import Request

from gateway_core.config_decode import nearest
from gateway_core.edge.guard import read_body
from gateway_core.edge.queries import DEFAULT_PAGE, MAX_PAGE
from gateway_core.errors import InvalidRequest
from gateway_core.money import Units, parse_usd
from gateway_core.wire.json_checks import check_depth, check_duplicates, check_nodes, too_deep

T = TypeVar("T", bound=msgspec.Struct)

MAX_BODY = 256 * 1024
"""The largest body of anything but a call."""

_MAX_NAME = 200
_MAX_DIGITS = 18
"""Of a number in a query: what fits 64 bits."""

_PLACE = re.compile(r"(.*?)(?: - at `(?:key in )?\$\.?(.*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_REQUIRED = re.compile(r"Object missing required field `(.*)`")
_MONTH = re.compile(r"(?!0000|9999)\d{4}-(0[1-9]|1[0-2])", re.ASCII)
_SPAN = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)
_LATEST = 253_402_300_799_999
"""The last millisecond that RFC 3339 can write: 9999-12-31T23:59:59.999Z."""
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


async def decoded(request: Request, kind: type[T], limit: int = MAX_BODY) -> T:
    """The body as a struct. Raises InvalidRequest naming the field, and the nearest known one for an unknown; a body
    of more than `limit` bytes is refused before it is read on."""
    body = await read_body(request.scope, request.receive, limit)
    value = _json_object(body or b"{}")
    unknown = [name for name in value if name not in kind.__struct_encode_fields__]
    if unknown:
        hint = nearest(unknown[0], kind.__struct_encode_fields__)
        raise InvalidRequest(f"There is no field '{_shown(unknown[0])}' here{hint}", param=_shown(unknown[0]))
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from None


def _json_object(body: bytes) -> dict[str, object]:
    check_nodes(body)
    try:
        value = msgspec.json.decode(body)
        encoded = msgspec.json.encode(value)
    except RecursionError:
        raise too_deep() from None
    except (msgspec.MsgspecError, UnicodeError, ValueError):
        raise InvalidRequest("The request's body is not valid JSON.") from None
    if not isinstance(value, dict):
        raise InvalidRequest("The request's body must be a JSON object.")
    check_depth(value, body)
    check_duplicates(body, encoded.count(b":"))
    return value


def _refusal(complaint: str) -> InvalidRequest:
    match = _PLACE.fullmatch(complaint)
    reason, path = (match[1], match[2] or "") if match else (complaint, "")
    if required := _REQUIRED.fullmatch(reason):
        name = f"{path}.{required[1]}" if path else required[1]
        return InvalidRequest(f"Missing required parameter: '{name}'.", param=name)
    if unknown := _UNKNOWN.fullmatch(reason):
        name = f"{path}.{_shown(unknown[1])}"
        return InvalidRequest(f"There is no field '{name}' here.", param=name)
    if reason.startswith("Invalid"):
        reason = "it is none of the values allowed here"
    return InvalidRequest(f"Invalid value for '{_shown(path)}': {reason}.", param=_shown(path) or None)


def _shown(text: str) -> str:
    return "".join([character if character.isprintable() else "?" for character in text[:100]])


# ---------------------------------------------------------------- single values


def name_of(text: str, param: str = "name") -> str:
    """A name for a person to read: 1 to 200 characters that print."""
    text = text.strip()
    if not text or len(text) > _MAX_NAME or not text.isprintable():
        raise InvalidRequest(f"'{param}' must be 1 to {_MAX_NAME} characters that can be printed.", param=param)
    return text


def amount(text: str | None, param: str) -> Units | None:
    """An amount of USD as text, such as "12.50". Raises InvalidRequest for anything else."""
    if text is None:
        return None
    try:
        return parse_usd(text)
    except ValueError as error:
        raise InvalidRequest(f"Invalid value for '{param}': {error}.", param=param) from None


def month_name(text: str, param: str = "month") -> str:
    """A UTC month such as "2026-11". Raises InvalidRequest for anything else."""
    if not _MONTH.fullmatch(text):
        raise InvalidRequest(f"Invalid value for '{param}': give a month such as \"2026-11\".", param=param)
    return text


def instant(text: str, now_ms: int, param: str) -> int:
    """Milliseconds since the epoch, from a date or a time (UTC where it names no zone), or a span from now: "30d"."""
    span = _SPAN.fullmatch(text)
    at = _from_iso(text) if span is None else now_ms + int(span[1]) * _SECONDS[span[2]] * 1000
    if at is None or not 0 <= at <= _LATEST:
        raise InvalidRequest(
            f'Invalid value for \'{param}\': give a span such as "30d" or "12h", or a date such as "2026-12-31".',
            param=param,
        )
    return at


def _from_iso(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


# ---------------------------------------------------------------- query


def checked_query(request: Request, kind: type[msgspec.Struct]) -> dict[str, str]:
    """The query's parameters, named as the fields of `kind`. One that is unknown, empty or given twice is an
    InvalidRequest."""
    found: dict[str, str] = {}
    known = kind.__struct_encode_fields__
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise InvalidRequest(
                f"There is no parameter '{_shown(name)}' here{nearest(name, known)}", param=_shown(name)
            )
        if name in found or not value or len(value) > _MAX_NAME or not value.isprintable():
            raise InvalidRequest(f"Invalid value for '{name}'.", param=name)
        found[name] = value
    return found


def page_size(query: dict[str, str]) -> int:
    """How many rows a page has."""
    text = query.get("limit", str(DEFAULT_PAGE))
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS or not 1 <= int(text) <= MAX_PAGE:
        raise InvalidRequest(f"'limit' must be a whole number from 1 to {MAX_PAGE}.", param="limit")
    return int(text)


def position(query: dict[str, str]) -> int | None:
    """The row after which a page begins whose rows are numbered; None for the first page."""
    text = query.get("after")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS:
        raise InvalidRequest("'after' must be the 'next_after' of the page before.", param="after")
    return int(text)
