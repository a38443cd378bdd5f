"""What the query of an endpoint may hold: the parameters' names, and what the API's document says of them."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

MAX_PAGE = 1000
DEFAULT_PAGE = 100

MONTH = r"^[0-9]{4}-(0[1-9]|1[0-2])$"
DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"

After = Annotated[str, Meta(description="The `next_after` of the page before.")]
AccountName = Annotated[str, Meta(description="An account, by name or id. Another than the key's own: operators only.")]
Month = Annotated[str, Meta(pattern=MONTH, description="A UTC month.", examples=["2026-11"])]
Day = Annotated[str, Meta(pattern=DAY, description="A UTC day; it is included.", examples=["2026-11-22"])]


class PageQuery(msgspec.Struct, frozen=True):
    """A page of a list."""

    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE, description="Rows of a page.")] = DEFAULT_PAGE
    after: After | UnsetType = UNSET


class AccountPageQuery(PageQuery, frozen=True):
    """A page of a list, of one account."""

    account: AccountName | UnsetType = UNSET


class AccountQuery(msgspec.Struct, frozen=True):
    """Of one account."""

    account: AccountName | UnsetType = UNSET


class UsageQuery(msgspec.Struct, frozen=True, rename={"since": "from", "until": "to"}):
    """Which days, grouped by what."""

    account: AccountName | UnsetType = UNSET
    since: Day | UnsetType = UNSET
    until: Day | UnsetType = UNSET
    month: Month | UnsetType = UNSET
    group_by: (
        Annotated[str, Meta(description="What totals are of, with commas between.", examples=["day,model"])] | UnsetType
    ) = UNSET
