"""How endpoints answer: JSON, and listings a page at a time."""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

import msgspec
from starlette.responses import Response

_encode = msgspec.json.Encoder().encode
T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Rows of a list. `next_after` is what the next page's `after` is; null on the last."""

    data: Sequence[T]
    has_more: bool
    next_after: str | int | None
    object: Literal["list"] = "list"


def json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer. What an endpoint says is its caller's alone, so nothing on the way may keep it."""
    return Response(
        _encode(value), status, {"cache-control": "no-store", **(headers or {})}, media_type="application/json"
    )


def page(rows: Sequence[Mapping[str, Any]], size: int, next_after: Any) -> Response:
    """A page of at most `size` rows, out of one row more where there are more.

    `next_after(row)` is what to give as `after` for the page that follows that row.
    """
    shown, more = rows[:size], len(rows) > size
    following = next_after(shown[-1]) if more else None
    return json(Page(shown, more, following))


def listing(rows: Sequence[Mapping[str, Any]]) -> Response:
    """All rows at once, of something that the configuration bounds."""
    return json(Page(rows, has_more=False, next_after=None))
