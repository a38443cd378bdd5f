"""UTC days and months, as rollups and invoices name them."""

from datetime import UTC, date, datetime, timedelta

from gateway_core.errors import InvalidRequest

MOST_DAYS = 366


def day_of(at_ms: int) -> str:
    """The UTC day of an instant, e.g. "2026-11-22"."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()


def begins(day: str) -> int:
    """The day's first millisecond. Raises InvalidRequest for what is no day."""
    try:
        return int(datetime.combine(_day(day), datetime.min.time(), UTC).timestamp()) * 1000
    except OverflowError:
        raise InvalidRequest("That day cannot be looked for.") from None


def ends(day: str) -> int:
    """The first millisecond after the day."""
    return begins(day) + 86_400_000


def days_between(since: str, until: str) -> list[str]:
    """Every day from the first to the last. Raises InvalidRequest where they are too many, or the wrong way round."""
    first, last = _day(since), _day(until)
    if first > last:
        raise InvalidRequest("The first day must not be after the last.", param="from")
    count = (last - first).days + 1
    if count > MOST_DAYS:
        raise InvalidRequest(f"Ask for at most {MOST_DAYS} days at once.", param="from")
    return [(first + timedelta(days=each)).isoformat() for each in range(count)]


def days_before(day: str, count: int) -> str:
    """The day so many days earlier."""
    return (_day(day) - timedelta(days=count)).isoformat()


def _day(text: str) -> date:
    try:
        if len(text) == 10:
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise InvalidRequest('Give a day such as "2026-11-22".', param="from")
