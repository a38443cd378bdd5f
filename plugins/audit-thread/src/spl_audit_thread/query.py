"""What a request for records asks for, checked."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway_core.errors import InvalidRequest
from gateway_core.store_ports import RecordQuery

MAX_PAGE = 1000
_DEFAULT_PAGE = 100
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])", re.ASCII)
_NUMBER = re.compile(r"\d{1,15}", re.ASCII)

Account = Annotated[str, Meta(description="An account, by name or id. Another than the key's own: operators only.")]
Instant = Annotated[str, Meta(description="A date, a time (UTC where it names no zone), or milliseconds since 1970.")]
Month = Annotated[str, Meta(pattern="^[0-9]{4}-(0[1-9]|1[0-2])$", description="A UTC month.", examples=["2026-11"])]


class AccountParameter(msgspec.Struct, frozen=True):
    """Whose records."""

    account: Account | UnsetType = UNSET


class Place(msgspec.Struct, frozen=True):
    """Where a page of records begins, and how long it is."""

    after: Annotated[int, Meta(ge=0, description="The sequence after which it begins.")] = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE, description="Records of a page.")] = _DEFAULT_PAGE


class AccountPlace(Place, frozen=True):
    """A page of an account's records."""

    account: Account | UnsetType = UNSET


class Parameters(AccountPlace, frozen=True):
    """A page of an account's records, and which."""

    model: Annotated[str, Meta(description="Only calls of this model.")] | UnsetType = UNSET
    month: Month | UnsetType = UNSET
    since: Instant | UnsetType = UNSET
    until: Instant | UnsetType = UNSET


def checked(pairs: Iterable[tuple[str, str]], kind: type[msgspec.Struct] = Parameters) -> dict[str, str]:
    """The query's parameters, named as the fields of `kind`. Raises InvalidRequest for one that is unknown, empty or
    given twice."""
    found: dict[str, str] = {}
    names = sorted(kind.__struct_fields__)
    for name, value in pairs:
        if name not in names:
            known = ", ".join(names)
            raise InvalidRequest(f"There is no such parameter here; there are {known}.", param=_shown(name))
        if name in found or not value or len(value) > 200 or not value.isprintable():
            raise InvalidRequest(f"Invalid value for '{name}'.", param=name)
        found[name] = value
    return found


def record_query(parameters: dict[str, str], account_id: str, thread: str | None) -> RecordQuery:
    """The records that are asked for, of one thread or of all. Raises InvalidRequest naming the parameter."""
    since, until = _period(parameters)
    return RecordQuery(
        account_id=account_id,
        thread=thread,
        after=_number(parameters, "after", 0, None),
        limit=_number(parameters, "limit", _DEFAULT_PAGE, MAX_PAGE),
        since=since,
        until=until,
        model=parameters.get("model"),
    )


def _period(parameters: dict[str, str]) -> tuple[int | None, int | None]:
    month = parameters.get("month")
    if month is None:
        return _instant(parameters, "since"), _instant(parameters, "until")
    if "since" in parameters or "until" in parameters:
        raise InvalidRequest("Give either 'month' or 'since' and 'until'.", param="month")
    if not _MONTH.fullmatch(month) or month.startswith(("0000", "9999")):
        raise InvalidRequest("Invalid value for 'month': give one such as \"2026-11\".", param="month")
    first = datetime.fromisoformat(f"{month}-01").replace(tzinfo=UTC)
    return _ms(first), _ms((first + timedelta(days=31)).replace(day=1))


def _number(parameters: dict[str, str], name: str, absent: int, largest: int | None) -> int:
    text = parameters.get(name)
    if text is None:
        return absent
    smallest = 0 if largest is None else 1
    if not _NUMBER.fullmatch(text) or int(text) < smallest or (largest is not None and int(text) > largest):
        bound = "a whole number" if largest is None else f"a whole number from {smallest} to {largest}"
        raise InvalidRequest(f"Invalid value for '{name}': give {bound}.", param=name)
    return int(text)


def _instant(parameters: dict[str, str], name: str) -> int | None:
    text = parameters.get(name)
    if text is None:
        return None
    if _NUMBER.fullmatch(text):
        return int(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(
            f"Invalid value for '{name}': give a date or time such as \"2026-11-22T08:00:00Z\".", param=name
        ) from None
    return _ms(at if at.tzinfo else at.replace(tzinfo=UTC))


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _shown(name: str) -> str:
    return "".join([character if character.isprintable() else "?" for character in name[:50]])
